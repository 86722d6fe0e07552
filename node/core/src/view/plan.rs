//! What a change of the ring costs, for operators to see before they commit it.

use std::collections::BTreeSet;

use super::{
    NodeId,
    arcs::{ArcRange, arc_range},
};
use crate::ring::{Position, Ring};

/// A piece of the circle whose copies belong elsewhere after a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MovedArc {
    /// Where it is.
    pub range: ArcRange,
    /// Nodes that must fetch it.
    pub to: Vec<NodeId>,
    /// Nodes that need not hold it any more.
    pub from: Vec<NodeId>,
}

/// How much of the circle moves, in points of the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Movement {
    /// Points with another owner.
    pub points_changed: usize,
    /// Copies of arcs that must be fetched: what is really sent.
    pub replica_arcs_moved: usize,
    /// Copies that would be fetched if every node fetched just what its share grew by.
    pub lower_bound: usize,
}

/// The arcs that change hands between two rings, in the order of the circle.
pub fn arcs_moved(old: &Ring, new: &Ring, replicas: usize) -> Vec<MovedArc> {
    let mut moved = Vec::new();
    for range in common_arcs(old, new) {
        let owners = |ring: &Ring| ring.walk(ring.point_at(&range.upto), replicas, |_| true);
        let (before, after) = (owners(old), owners(new));
        let missing = |these: &[NodeId], those: &[NodeId]| -> Vec<NodeId> {
            these.iter().copied().filter(|node| !those.contains(node)).collect()
        };
        let (to, from) = (missing(&after, &before), missing(&before, &after));
        if !to.is_empty() || !from.is_empty() {
            moved.push(MovedArc { range, to, from });
        }
    }
    moved
}

/// What a change between two rings with the same number of points costs; arcs of paper rings count
/// as one each, however long they are.
pub fn movement(old: &Ring, new: &Ring, replicas: usize) -> Movement {
    let points = old.len().min(new.len());
    let points_changed = (0..points).filter(|point| old.owner(*point) != new.owner(*point)).count();
    let moved = arcs_moved(old, new, replicas);
    let replica_arcs_moved = moved.iter().map(|arc| arc.to.len()).sum();
    let (before, after) = (replica_arcs(old, replicas), replica_arcs(new, replicas));
    let grown = after.iter().map(|(node, count)| {
        count.saturating_sub(before.iter().find(|(other, _)| other == node).map_or(0, |it| it.1))
    });
    Movement { points_changed, replica_arcs_moved, lower_bound: grown.sum() }
}

/// For each node of a ring, the number of arcs it holds a copy of.
pub fn replica_arcs(ring: &Ring, replicas: usize) -> Vec<(NodeId, usize)> {
    let mut counts: std::collections::BTreeMap<NodeId, usize> =
        ring.nodes().map(|node| (node, 0)).collect();
    for point in 0..ring.len() {
        for node in ring.walk(point, replicas, |_| true) {
            *counts.entry(node).or_default() += 1;
        }
    }
    counts.into_iter().collect()
}

/// The arcs that the points of both rings cut the circle into.
fn common_arcs(old: &Ring, new: &Ring) -> Vec<ArcRange> {
    if old.len() == new.len() && (0..old.len()).all(|point| old.place(point) == new.place(point)) {
        return (0..new.len()).map(|index| arc_range(new, index)).collect();
    }
    let places =
        |ring: &Ring| -> Vec<Position> { (0..ring.len()).map(|at| ring.place(at)).collect() };
    let ends: BTreeSet<Position> = places(old).into_iter().chain(places(new)).collect();
    let ends: Vec<Position> = ends.into_iter().collect();
    let starts = ends.iter().rev().take(1).chain(&ends);
    starts.zip(&ends).map(|(after, upto)| ArcRange { after: *after, upto: *upto }).collect()
}
