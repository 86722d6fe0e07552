//! The three promises of the allocator: even, distinct in a row, little moved.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::view::plan::{movement, replica_arcs};

type Shares = BTreeMap<NodeId, Share>;

fn share(weight: u32, zone: usize) -> Share {
    Share { weight, zone: format!("z{zone}") }
}

fn alike(count: u16) -> Shares {
    (1..=count).map(|node| (NodeId(node), share(1, 0))).collect()
}

/// Who must be distinct in a row: the nodes of each zone, or each node by itself.
fn groups(shares: &Shares, window: usize) -> Vec<Vec<NodeId>> {
    let mut zones: BTreeMap<&str, Vec<NodeId>> = BTreeMap::new();
    for (node, share) in shares {
        zones.entry(&share.zone).or_default().push(*node);
    }
    match zones.len() >= window {
        true => zones.into_values().collect(),
        false => shares.keys().map(|node| vec![*node]).collect(),
    }
}

/// Each node's part of all points: by weight, with no group above one in `window`. Told here in
/// floating point and one group at a time, not as the allocator does it.
fn feasible(shares: &Shares, replicas: usize) -> BTreeMap<NodeId, f64> {
    let window = replicas.clamp(1, shares.len());
    let groups = groups(shares, window);
    let weight =
        |nodes: &[NodeId]| -> f64 { nodes.iter().map(|n| f64::from(shares[n].weight)).sum() };
    let cap = 1.0 / window as f64;
    let mut parts: Vec<Option<f64>> = vec![None; groups.len()];
    loop {
        let free = || (0..groups.len()).filter(|group| parts[*group].is_none());
        let sum: f64 = free().map(|group| weight(&groups[group])).sum();
        let left = 1.0 - parts.iter().flatten().sum::<f64>();
        let part = |group: usize| weight(&groups[group]) / sum * left;
        match free().find(|group| part(*group) > cap + 1e-9) {
            Some(over) => parts[over] = Some(cap),
            None => {
                let rest: Vec<(usize, f64)> = free().map(|group| (group, part(group))).collect();
                rest.into_iter().for_each(|(group, part)| parts[group] = Some(part));
                break;
            }
        }
    }
    let mut result = BTreeMap::new();
    for (nodes, part) in groups.iter().zip(parts) {
        for node in nodes {
            let of_group = f64::from(shares[node].weight) / weight(nodes);
            result.insert(*node, part.unwrap_or_default() * of_group);
        }
    }
    result
}

/// Points that repeat a node, or a zone where there are enough, in the same window.
fn repeats(ring: &Ring, shares: &Shares, replicas: usize) -> usize {
    let window = replicas.clamp(1, shares.len());
    let groups = groups(shares, window);
    let group = |node: NodeId| groups.iter().position(|nodes| nodes.contains(&node));
    let of: Vec<Option<usize>> = (0..ring.len()).map(|point| group(ring.owner(point))).collect();
    let len = ring.len();
    let repeats =
        |point: &usize| (1..window).any(|step| of[*point] == of[(point + len - step) % len]);
    (0..len).filter(repeats).count()
}

/// A ring must be even and have distinct nodes in a row wherever arithmetic allows it.
fn check(ring: &Ring, shares: &Shares, replicas: usize) {
    let window = replicas.clamp(1, shares.len());
    let groups = groups(shares, window).len();
    let rigid = groups == window && !ring.len().is_multiple_of(window);
    let repeated = repeats(ring, shares, replicas);
    let allowed = if rigid { window } else { 0 };
    assert!(repeated <= allowed, "{repeated} repeats, {groups} groups of {window}: {shares:?}");
    let feasible = feasible(shares, replicas);
    for (node, arcs) in replica_arcs(ring, window) {
        let target = feasible[&node] * (ring.len() * window) as f64;
        // 5 %, and what rounding to points and the place where the circle closes can cost.
        let most = target * 1.05 + (2 * window) as f64;
        assert!(arcs as f64 <= most, "node {node}: {arcs} arcs of {target:.1}: {shares:?}");
    }
}

/// Copies that any allocation must move for each node to get what it should have, and to give up
/// what it should not.
fn least_moved(before: &Ring, shares: &Shares, replicas: usize) -> usize {
    let window = replicas.clamp(1, shares.len());
    let held: BTreeMap<NodeId, usize> = replica_arcs(before, replicas).into_iter().collect();
    let feasible = feasible(shares, replicas);
    let target = |node: &NodeId| feasible.get(node).unwrap_or(&0.0) * before.len() as f64;
    let grows = feasible.keys().map(|node| {
        let least = target(node).floor() as usize * window;
        least.saturating_sub(held.get(node).copied().unwrap_or(0))
    });
    let shrinks =
        held.iter().map(|(node, arcs)| arcs.saturating_sub(target(node).ceil() as usize * window));
    grows.sum::<usize>().max(shrinks.sum())
}

/// Changes the ring, checks it, and answers copies moved and how many had to be.
fn change(ring: &mut Ring, shares: &Shares, replicas: usize) -> (usize, usize) {
    let next = allocate(Some(ring), shares, ring.len(), replicas);
    check(&next, shares, replicas);
    assert_eq!(next, allocate(Some(ring), shares, ring.len(), replicas), "not deterministic");
    let moved = movement(ring, &next, replicas).replica_arcs_moved;
    let least = least_moved(ring, shares, replicas);
    *ring = next;
    (moved, least)
}

#[test]
fn from_one_node_to_a_thousand() {
    for count in [1, 2, 3, 4, 5, 7, 12, 50, 250, 1000] {
        let mut shares = alike(count);
        let mut ring = allocate(None, &shares, 8192, 3);
        check(&ring, &shares, 3);
        shares.insert(NodeId(count + 1), share(1, 0));
        let (moved, least) = change(&mut ring, &shares, 3);
        assert!(moved * 10 <= least * 11 + 30, "{count} nodes and one more: {moved} of {least}");
        shares.remove(&NodeId(1));
        let (moved, least) = change(&mut ring, &shares, 3);
        assert!(moved * 10 <= least * 13 + 30, "{count} nodes and one less: {moved} of {least}");
    }
}

#[test]
fn nothing_moves_when_nothing_changes() {
    for (count, zones) in [(3, 1), (10, 1), (20, 5), (40, 8)] {
        let shares = (0..count)
            .map(|node| (NodeId(node), share(1 + u32::from(node) % 3, usize::from(node) % zones)));
        let shares = shares.collect();
        let ring = allocate(None, &shares, 4096, 3);
        assert_eq!(allocate(Some(&ring), &shares, 4096, 3), ring);
    }
}

/// A hundred nodes in zones of 40, 25, 15, 12 and 8: twenty changes. The greedy prototype broke
/// windows here and moved up to 1.65 times what was needed.
#[test]
fn five_unequal_zones() {
    let zone = |node: u16| match node % 20 {
        0..=7 => 0,
        8..=12 => 1,
        13..=15 => 2,
        16..=17 => 3,
        _ => 4,
    };
    let mut shares: Shares = (1..=100).map(|node| (NodeId(node), share(1, zone(node)))).collect();
    let mut ring = allocate(None, &shares, 4096, 3);
    check(&ring, &shares, 3);
    let (mut moved, mut least) = (0, 0);
    for step in 0..20_u16 {
        if step % 2 == 0 {
            shares.insert(NodeId(101 + step), share(1, usize::from(step / 2 % 5)));
        } else {
            shares.remove(&NodeId(step * 5));
        }
        let (of_step, at_least) = change(&mut ring, &shares, 3);
        assert!(of_step * 2 <= at_least * 3 + 30, "step {step}: {of_step} of {at_least}");
        (moved, least) = (moved + of_step, least + at_least);
    }
    assert!(moved * 10 <= least * 12, "{moved} of {least}");
}

#[test]
fn the_points_of_a_lost_node_go_to_many() {
    let shares = alike(50);
    let ring = allocate(None, &shares, 8192, 3);
    let next = |point: usize| ring.owner((point + 1) % ring.len());
    let after: BTreeSet<NodeId> =
        (0..ring.len()).filter(|point| ring.owner(*point) == NodeId(7)).map(next).collect();
    assert!(after.len() > 40, "{} nodes", after.len());
}

#[test]
fn odd_requests_are_answered() {
    assert!(allocate(None, &Shares::new(), 64, 3).is_empty());
    assert_eq!(allocate(None, &alike(1), 0, 0).len(), POINTS_MIN);
    assert_eq!(allocate(None, &alike(3), 1 << 20, 3).len(), POINTS_MAX);
    // More nodes than points: as many as there are points.
    assert_eq!(allocate(None, &alike(40), 32, 3).node_count(), 32);
    let weightless = [(NodeId(1), share(0, 0)), (NodeId(2), share(u32::MAX, 1))].into();
    assert_eq!(allocate(None, &weightless, 64, 1).node_count(), 2);
}

/// Nodes that come (with a weight and a zone) and go.
fn changes(zones: std::ops::Range<usize>) -> impl Strategy<Value = Vec<(bool, u32, usize)>> {
    prop::collection::vec((any::<bool>(), 1_u32..=4, zones), 1..5)
}

fn run(mut shares: Shares, changes: Vec<(bool, u32, usize)>, replicas: usize) -> (usize, usize) {
    let mut ring = allocate(None, &shares, 2048, replicas);
    check(&ring, &shares, replicas);
    let (mut moved, mut least) = (0, 0);
    for (step, (comes, weight, zone)) in changes.into_iter().enumerate() {
        if comes || shares.len() < 2 {
            shares.insert(NodeId(1000 + step as u16), share(weight, zone));
        } else {
            let gone = shares.keys().nth(zone * 31 % shares.len()).copied();
            gone.map(|gone| shares.remove(&gone));
        }
        let (of_step, at_least) = change(&mut ring, &shares, replicas);
        (moved, least) = (moved + of_step, least + at_least);
    }
    (moved, least)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn nodes_come_and_go(
        weights in prop::collection::vec(1_u32..=4, 1..40),
        replicas in 1_usize..=4,
        changes in changes(0..1),
    ) {
        let is_roomy = weights.len() > 2 * replicas + changes.len();
        let nodes = weights.into_iter().enumerate();
        let shares = nodes.map(|(node, weight)| (NodeId(node as u16 + 1), share(weight, 0)));
        let steps = changes.len();
        let (moved, least) = run(shares.collect(), changes, replicas);
        if is_roomy {
            prop_assert!(moved * 2 <= least * 3 + 40 * steps, "{} of {}", moved, least);
        }
    }

    /// Zones at a distance from the cap of one point in R: a zone that grows towards it has to shift
    /// its other points too, and no allocation moves little then.
    #[test]
    fn nodes_come_and_go_in_zones(
        zones in 6_usize..10,
        weights in prop::collection::vec(1_u32..=2, 40..60),
        changes in changes(0..5),
    ) {
        let nodes = weights.into_iter().enumerate();
        let shares = nodes.map(|(node, weight)| (NodeId(node as u16 + 1), share(weight, node % zones)));
        let steps = changes.len();
        let (moved, least) = run(shares.collect(), changes, 3);
        prop_assert!(moved * 2 <= least * 3 + 40 * steps, "{} of {}", moved, least);
    }

    /// Few zones of any weights, down to one: here only evenness and distinctness are promised.
    #[test]
    fn few_zones_of_any_size(
        nodes in prop::collection::vec((1_u32..=20, 0_usize..5), 1..12),
        replicas in 1_usize..=3,
        changes in changes(0..5),
    ) {
        let nodes = nodes.into_iter().enumerate();
        let shares = nodes.map(|(node, (weight, zone))| (NodeId(node as u16 + 1), share(weight, zone)));
        run(shares.collect(), changes, replicas);
    }
}
