//! Points of one class among its nodes: only the number matters, so nothing moves that need not.

use std::collections::BTreeMap;

use super::{NodeId, Share, random::Random, targets::apportion};

/// Gives `points` to `members`. Points that belong to a member stay with it as far as its number
/// allows; which ones it gives up, and who gets them, is mixed, so that many share the load of one
/// that fails.
pub(super) fn deal(
    owners: &mut [Option<NodeId>],
    points: Vec<usize>,
    members: &[NodeId],
    nodes: &BTreeMap<NodeId, &Share>,
    seed: u64,
) {
    let mut held: BTreeMap<NodeId, Vec<usize>> =
        members.iter().map(|node| (*node, vec![])).collect();
    let total = points.len();
    let mut vacant = Vec::new();
    for point in points {
        match owners[point].and_then(|owner| held.get_mut(&owner)) {
            Some(list) => list.push(point),
            None => vacant.push(point),
        }
    }
    let weights: Vec<u64> =
        members.iter().map(|node| u64::from(nodes[node].weight.max(1))).collect();
    let current: Vec<usize> = members.iter().map(|node| held[node].len()).collect();
    let targets = apportion(&weights, total, total, &current);

    let mut random = Random::new(seed);
    let mut wanting = Vec::new();
    for (node, target) in members.iter().zip(&targets) {
        let Some(list) = held.get_mut(node) else { continue };
        wanting.extend(std::iter::repeat_n(*node, target.saturating_sub(list.len())));
        if list.len() > *target {
            random.shuffle(list);
            vacant.extend(list.drain(*target..));
        }
    }
    random.shuffle(&mut vacant);
    for (point, node) in vacant.into_iter().zip(wanting) {
        owners[point] = Some(node);
    }
}
