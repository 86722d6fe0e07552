//! The walk clockwise (Algorithm 2): a short way that nearly always suffices, and the whole rule.
//!
//! With as many zones as nodes are looked for, nodes that bring a zone not yet seen come first, as the
//! walk meets them, then the nodes that were passed over. With fewer zones only nodes are told apart:
//! otherwise a lone node in the smaller of two zones would hold a copy of everything. A ring from
//! the allocator has what is asked for at any R consecutive points, so the short way reads it off. The long way stops as soon as
//! nothing it could still meet would change the answer: on the path of a request it must not go
//! round 65,536 points because one node of three is down.

use std::collections::{BTreeMap, BTreeSet};

use super::{NodeId, Ring};

/// Zones as small numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ZoneIndex {
    /// The zone of a node, by the node's number. Numbers that own no point hold 0 and are not met.
    zone_of: Vec<u16>,
    /// Number of nodes in each zone.
    sizes: Vec<u32>,
}

impl ZoneIndex {
    pub(super) fn new(zones: &BTreeMap<NodeId, String>) -> ZoneIndex {
        let names: BTreeSet<&String> = zones.values().collect();
        let numbers: BTreeMap<&String, u16> = names.into_iter().zip(0..).collect();
        let len = zones.keys().next_back().map_or(0, |last| usize::from(last.0) + 1);
        let mut index = ZoneIndex { zone_of: vec![0; len], sizes: vec![0; numbers.len()] };
        for (node, name) in zones {
            let zone = numbers[name];
            index.zone_of[usize::from(node.0)] = zone;
            index.sizes[usize::from(zone)] += 1;
        }
        index
    }

    fn zone(&self, node: NodeId) -> usize {
        usize::from(self.zone_of[usize::from(node.0)])
    }

    /// Do zones matter to a walk to `count` nodes?
    fn are_enough_for(&self, count: usize) -> bool {
        self.sizes.len() >= count.max(2)
    }
}

/// The next `count` points when they are as a good ring has them: admitted, distinct, and of
/// distinct zones if there are enough.
pub(super) fn straight(
    ring: &Ring,
    point: usize,
    count: usize,
    admits: &impl Fn(NodeId) -> bool,
) -> Option<Vec<NodeId>> {
    if count > ring.len() {
        return None;
    }
    let by_zone = ring.index.are_enough_for(count);
    let mut found: Vec<NodeId> = Vec::with_capacity(count);
    for step in 0..count {
        let node = ring.owner((point + step) % ring.len());
        let repeats = |other: &NodeId| {
            *other == node || (by_zone && ring.index.zone(*other) == ring.index.zone(node))
        };
        if found.iter().any(repeats) || !admits(node) {
            return None;
        }
        found.push(node);
    }
    Some(found)
}

/// The whole rule.
pub(super) fn spread(
    ring: &Ring,
    point: usize,
    count: usize,
    admits: &impl Fn(NodeId) -> bool,
) -> Vec<NodeId> {
    let by_zone = ring.index.are_enough_for(count);
    let mut walk = Walk::new(ring, by_zone);
    for step in 0..ring.len() {
        if walk.is_settled(count) {
            break;
        }
        let node = ring.owner((point + step) % ring.len());
        if walk.sees_first(node) {
            let zone = if by_zone { ring.index.zone(node) } else { 0 };
            walk.visit(zone, node, admits(node));
        }
    }
    walk.into_nodes(count)
}

/// What a walk has met so far.
struct Walk {
    /// One bit per node number.
    seen: Vec<u64>,
    nodes_left: usize,
    /// Nodes of each zone that were not met yet; 0 for a zone that is already there.
    left: Vec<u32>,
    /// Zones that may still come.
    zones_left: usize,
    found: Vec<NodeId>,
    passed: Vec<NodeId>,
}

impl Walk {
    fn new(ring: &Ring, by_zone: bool) -> Walk {
        let nodes = ring.node_count();
        let left = if by_zone { ring.index.sizes.clone() } else { vec![nodes as u32] };
        Walk {
            seen: vec![0; ring.index.zone_of.len().div_ceil(64)],
            nodes_left: nodes,
            zones_left: left.len(),
            left,
            found: Vec::new(),
            passed: Vec::new(),
        }
    }

    /// Would nothing that could still be met change the first `count`?
    fn is_settled(&self, count: usize) -> bool {
        self.found.len() >= count
            || self.nodes_left == 0
            || (self.zones_left == 0 && self.found.len() + self.passed.len() >= count)
    }

    fn sees_first(&mut self, node: NodeId) -> bool {
        let (word, bit) = (usize::from(node.0) / 64, 1 << (node.0 % 64));
        let first = self.seen[word] & bit == 0;
        self.seen[word] |= bit;
        self.nodes_left -= usize::from(first);
        first
    }

    fn visit(&mut self, zone: usize, node: NodeId, admitted: bool) {
        let is_there = self.left[zone] == 0;
        if is_there {
            if admitted {
                self.passed.push(node);
            }
            return;
        }
        self.left[zone] = if admitted { 0 } else { self.left[zone] - 1 };
        self.zones_left -= usize::from(self.left[zone] == 0);
        if admitted {
            self.found.push(node);
        }
    }

    fn into_nodes(self, count: usize) -> Vec<NodeId> {
        let mut nodes = self.found;
        nodes.extend(self.passed);
        nodes.truncate(count);
        nodes
    }
}
