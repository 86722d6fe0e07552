//! Who owns which assigned point.
//!
//! Three things are wanted at once: every node's number of points follows its weight; any R points
//! in a row belong to distinct nodes, and to distinct zones when there are R zones; and a change of
//! the nodes moves as few points as possible. The second makes the first two worth having: then a
//! node holds copies of exactly R times the arcs that it has points, and a point that changes hands
//! moves exactly R copies.
//!
//! What must be distinct in a row are *classes*: the zones, or the nodes themselves when there are
//! fewer zones than R. The points are first given to classes ([`sequence`]), the hard part; then,
//! inside each class, to its nodes, where nothing but the number matters.
//!
//! Everything is integers and a generator with a fixed seed, so that the same input gives the same
//! ring anywhere. Nothing depends on that for safety: the result is what a view carries.
//!
//! Why not more hashed identities: 1,024 per node still leave the largest of 1,000 nodes 10 % above
//! the mean, and replicas of unequal zones further off.

use std::collections::BTreeMap;

use super::{NodeId, POINTS_MAX, POINTS_MIN, Points, Ring};

mod deal;
mod greedy;
mod path;
mod random;
mod sequence;
mod targets;
#[cfg(test)]
mod tests;

/// What a node brings to the ring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// Its share of the points, relative to others; 0 counts as 1.
    pub weight: u32,
    /// Replicas are spread over zones.
    pub zone: String,
}

/// A ring of `points` points for these nodes, with as little moved from `current` as can be.
///
/// `points` is rounded up to a power of two that a ring can have. A node gets at least one point;
/// of more nodes than points the last ones are left out. A ring of another number of points, or a
/// paper ring, counts as none.
pub fn allocate(
    current: Option<&Ring>,
    nodes: &BTreeMap<NodeId, Share>,
    points: usize,
    replicas: usize,
) -> Ring {
    let points = points.clamp(POINTS_MIN, POINTS_MAX).next_power_of_two();
    let nodes: BTreeMap<NodeId, &Share> =
        nodes.iter().take(points).map(|(node, share)| (*node, share)).collect();
    if nodes.is_empty() {
        return Ring::new(Points::Assigned { owners: Vec::new() }, BTreeMap::new());
    }
    let mut owners: Vec<Option<NodeId>> = match current.map(Ring::points) {
        Some(Points::Assigned { owners }) if owners.len() == points => {
            owners.iter().map(|owner| nodes.contains_key(owner).then_some(*owner)).collect()
        }
        _ => vec![None; points],
    };
    let classes = Classes::new(&nodes, replicas);
    let after = sequence::arrange(&classes.before(&owners, &nodes), classes.window);
    for (class, members) in classes.members.iter().enumerate() {
        let points = (0..points).filter(|point| usize::from(after[*point]) == class).collect();
        deal::deal(&mut owners, points, members, &nodes, class as u64);
    }
    let owners = owners.into_iter().flatten().collect();
    let zones = nodes.iter().map(|(node, share)| (*node, share.zone.clone())).collect();
    Ring::new(Points::Assigned { owners }, zones)
}

/// What must be distinct in a row, numbered from 0.
struct Classes {
    of: BTreeMap<NodeId, u16>,
    members: Vec<Vec<NodeId>>,
    /// How many points in a row must have distinct classes.
    window: usize,
}

impl Classes {
    fn new(nodes: &BTreeMap<NodeId, &Share>, replicas: usize) -> Classes {
        let window = replicas.clamp(1, nodes.len());
        let mut zones: BTreeMap<&str, Vec<NodeId>> = BTreeMap::new();
        for (node, share) in nodes {
            zones.entry(share.zone.as_str()).or_default().push(*node);
        }
        let members: Vec<Vec<NodeId>> = if zones.len() >= window {
            zones.into_values().collect()
        } else {
            nodes.keys().map(|node| vec![*node]).collect()
        };
        let numbered = members.iter().zip(0_u16..);
        let of = numbered.flat_map(|(nodes, class)| nodes.iter().map(move |node| (*node, class)));
        Classes { of: of.collect(), window, members }
    }

    /// The classes as they stand, with what they and their nodes should have.
    fn before(
        &self,
        owners: &[Option<NodeId>],
        nodes: &BTreeMap<NodeId, &Share>,
    ) -> sequence::Before {
        let class = |owner: &Option<NodeId>| owner.map_or(sequence::NONE, |node| self.of[&node]);
        let at: Vec<u16> = owners.iter().map(class).collect();
        let weight = |node: &NodeId| u64::from(nodes[node].weight.max(1));
        let weights = self.members.iter().map(|members| members.iter().map(weight).sum());
        let weights: Vec<u64> = weights.collect();
        let counts = sequence::counts(&at, weights.len());
        let targets = targets::for_window(&weights, at.len(), self.window, &counts);

        let mut spare: BTreeMap<NodeId, usize> = nodes.keys().map(|node| (*node, 0)).collect();
        owners.iter().flatten().for_each(|owner| *spare.entry(*owner).or_default() += 1);
        for (members, target) in self.members.iter().zip(&targets) {
            let held: Vec<usize> = members.iter().map(|node| spare[node]).collect();
            let weights: Vec<u64> = members.iter().map(weight).collect();
            let wanted = targets::apportion(&weights, *target, *target, &held);
            for ((node, held), wanted) in members.iter().zip(held).zip(wanted) {
                spare.insert(*node, held.saturating_sub(wanted));
            }
        }
        let number: BTreeMap<NodeId, usize> = nodes.keys().copied().zip(0..).collect();
        let holder = owners.iter().map(|owner| owner.map_or(nodes.len(), |node| number[&node]));
        let holder = holder.collect();
        // The last one stands for "nobody".
        let spare = spare.into_values().chain([0]).collect();
        sequence::Before { at, counts, targets, holder, spare }
    }
}
