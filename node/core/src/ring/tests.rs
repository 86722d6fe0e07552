//! Algorithms 1 and 2 against the plain reading of them, and the paper's Figures 6 and 9.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::{
    allocator::{Share, allocate},
    *,
};
use crate::{Algorithm, view::plan};

fn zones(names: &[(u16, &str)]) -> BTreeMap<NodeId, String> {
    names.iter().map(|(node, zone)| (NodeId(*node), (*zone).to_owned())).collect()
}

fn assigned(owners: &[u16], names: &[(u16, &str)]) -> Ring {
    let owners = owners.iter().copied().map(NodeId).collect();
    Ring::new(Points::Assigned { owners }, zones(names))
}

fn ids(nodes: &[u16]) -> Vec<NodeId> {
    nodes.iter().copied().map(NodeId).collect()
}

/// The walk as its doc has it, with everything in sight: each node once in clockwise order; with
/// enough zones first those of a zone that no admitted node before them has, then the rest.
fn plain_walk(ring: &Ring, point: usize, count: usize, up: &BTreeSet<NodeId>) -> Vec<NodeId> {
    let mut clockwise: Vec<NodeId> = Vec::new();
    for step in 0..ring.len() {
        let node = ring.owner((point + step) % ring.len());
        if up.contains(&node) && !clockwise.contains(&node) {
            clockwise.push(node);
        }
    }
    let zone = |node: &NodeId| &ring.zones()[node];
    let names: BTreeSet<&String> = ring.zones().values().collect();
    if names.len() < count {
        clockwise.truncate(count);
        return clockwise;
    }
    let (mut first, mut rest): (Vec<NodeId>, Vec<NodeId>) = (vec![], vec![]);
    for node in clockwise {
        let is_there = first.iter().any(|other| zone(other) == zone(&node));
        if is_there { rest.push(node) } else { first.push(node) }
    }
    first.extend(rest);
    first.truncate(count);
    first
}

#[test]
fn a_digest_belongs_to_the_first_point_at_or_after_it() {
    let ring = assigned(&[1, 2, 3, 4], &[]);
    let mut place = [0; 32];
    assert_eq!(ring.point_at(&place), 0);
    place[31] = 1;
    assert_eq!(ring.point_at(&place), 1);
    (place[0], place[31]) = (0x40, 0);
    assert_eq!(ring.point_at(&place), 1);
    place[17] = 1;
    assert_eq!(ring.point_at(&place), 2);
    assert_eq!(ring.point_at(&[0xff; 32]), 0);
    for point in 0..4 {
        assert_eq!(ring.point_at(&ring.place(point)), point);
    }
    let full = assigned(&vec![1; POINTS_MAX], &[]);
    for point in [0, 1, 77, 65_535] {
        assert_eq!(full.point_at(&full.place(point)), point);
    }
    assert_eq!(full.point_at(&[0xff; 32]), 0);
}

#[test]
fn zones_are_spread_first() {
    let names = [(1, "a"), (2, "a"), (3, "b"), (4, "b"), (5, "c")];
    let ring = assigned(&[1, 2, 3, 4, 5, 1, 2, 3], &names);
    assert_eq!(ring.walk(0, 3, |_| true), ids(&[1, 3, 5]));
    assert_eq!(ring.walk(1, 2, |_| true), ids(&[2, 3]));
    // More copies than zones: only nodes are told apart.
    assert_eq!(ring.walk(0, 4, |_| true), ids(&[1, 2, 3, 4]));
    // Nobody of zone c is up: two of one zone after all.
    assert_eq!(ring.walk(0, 3, |node| node.0 != 5), ids(&[1, 3, 2]));
    assert_eq!(ring.walk(0, 3, |_| false), []);
    assert_eq!(ring.walk(0, 9, |_| true).len(), 5);
    assert_eq!(ring.walk(0, 0, |_| true), []);
}

#[test]
fn points_that_make_no_ring_are_refused() {
    let owners = |count| Points::Assigned { owners: vec![NodeId(1); count] };
    for count in [0, 1, 3, 1 << 17] {
        let refused = Ring::checked(owners(count), BTreeMap::new());
        assert_eq!(refused, Err(InvalidRing::Count(count)));
    }
    let hashed = |identities| Ring::checked(Points::Paper { identities }, BTreeMap::new());
    assert_eq!(hashed(vec![]), Err(InvalidRing::Empty));
    let (low, high) = (([1; 32], NodeId(1)), ([2; 32], NodeId(2)));
    assert_eq!(hashed(vec![high, low]), Err(InvalidRing::Unsorted));
    assert_eq!(hashed(vec![low, low]), Err(InvalidRing::Unsorted));
    assert!(hashed(vec![low, high]).is_ok());
    // What is read back from a disk passes the same door.
    let bytes = postcard::to_stdvec(&assigned(&[1, 2, 1, 2], &[(1, "a")])).unwrap();
    let back: Ring = postcard::from_bytes(&bytes).unwrap();
    assert_eq!(back, assigned(&[1, 2, 1, 2], &[(1, "a"), (2, ""), (9, "no point")]));
    let bytes = postcard::to_stdvec(&Stored { points: owners(3), zones: BTreeMap::new() }).unwrap();
    assert!(postcard::from_bytes::<Ring>(&bytes).is_err());
}

proptest! {
    #[test]
    fn the_walk_is_the_plain_one(
        owners in prop::collection::vec(1_u16..12, 64),
        zone_of in prop::collection::vec(0_u8..5, 12),
        down in prop::collection::btree_set(1_u16..12, 0..8),
        point in 0_usize..64,
        count in 0_usize..6,
    ) {
        let zones = (1..12_u16).map(|node| (NodeId(node), zone_of[usize::from(node)].to_string()));
        let owners = owners.into_iter().map(NodeId).collect();
        let ring = Ring::new(Points::Assigned { owners }, zones.collect());
        let up: BTreeSet<NodeId> = ring.nodes().filter(|node| !down.contains(&node.0)).collect();
        let walk = ring.walk(point, count, |node| up.contains(&node));
        prop_assert_eq!(walk, plain_walk(&ring, point, count, &up));
    }

    #[test]
    fn both_searches_agree(place in any::<[u8; 32]>(), bits in 1_u32..=12) {
        // The same points as hashed identities: the search by bits must find what bisection finds.
        let grid = assigned(&vec![1; 1 << bits], &[]);
        let places = (0..grid.len()).map(|point| (grid.place(point), NodeId(1)));
        let sorted = Ring::new(Points::Paper { identities: places.collect() }, BTreeMap::new());
        prop_assert_eq!(grid.point_at(&place), sorted.point_at(&place));
    }
}

/// A place whose first byte is `head`, as the paper's figures write it.
fn at(head: u8) -> Position {
    let mut place = [0; 32];
    place[0] = head;
    place
}

/// The ring of Figure 6: one identity for each node, the node named like its place.
fn figure6(heads: &[u8]) -> Ring {
    let identities = heads.iter().map(|head| (at(*head), NodeId(u16::from(*head)))).collect();
    paper::of_identities(identities, BTreeMap::new())
}

fn owners(ring: &Ring, head: u8) -> Vec<u16> {
    let found = ring.walk(ring.point_at(&at(head)), 2, |_| true);
    found.iter().map(|node| node.0).collect()
}

const FIGURE6: [u8; 7] = [0x20, 0x40, 0x60, 0x80, 0xA0, 0xC0, 0xE0];

#[test]
fn figure_6_a_node_joins() {
    let before = figure6(&FIGURE6);
    let after = figure6(&[&FIGURE6[..], &[0x50]].concat());
    // 0x50 joins; layer 0x41, whose master was 0x60, is handed to it. 0x60 stays as the replica.
    assert_eq!(owners(&before, 0x41), [0x60, 0x80]);
    assert_eq!(owners(&after, 0x41), [0x50, 0x60]);
    let moved = plan::arcs_moved(&before, &after, 2);
    let arc = moved.iter().find(|arc| arc.range.contains(&at(0x41))).unwrap();
    assert_eq!((arc.range.after, arc.range.upto), (at(0x40), at(0x50)));
    assert_eq!((&arc.to, &arc.from), (&ids(&[0x50]), &ids(&[0x80])));
    // It also becomes the replica of what 0x40 is the master of; nothing else moves.
    let replica = moved.iter().find(|arc| arc.range.contains(&at(0x21))).unwrap();
    assert_eq!((&replica.to, &replica.from), (&ids(&[0x50]), &ids(&[0x60])));
    assert_eq!(moved.len(), 2);
}

#[test]
fn figure_6_a_node_leaves() {
    let before = figure6(&FIGURE6);
    let after = figure6(&[0x20, 0x40, 0x60, 0x80, 0xA0, 0xE0]);
    // 0xC0 leaves: its replica 0xE0 becomes the master and holds the layer already; 0x20, over the
    // end of the circle, is the new replica and fetches it.
    assert_eq!(owners(&before, 0xB1), [0xC0, 0xE0]);
    assert_eq!(owners(&after, 0xB1), [0xE0, 0x20]);
    let moved = plan::arcs_moved(&before, &after, 2);
    let arc = moved.iter().find(|arc| arc.range.contains(&at(0xB1))).unwrap();
    assert_eq!((&arc.to, &arc.from), (&ids(&[0x20]), &ids(&[0xC0])));
    // What 0xA0 is the master of loses its replica too: 0xE0 fetches that.
    let other = moved.iter().find(|arc| arc.range.contains(&at(0x91))).unwrap();
    assert_eq!((&other.to, &other.from), (&ids(&[0xE0]), &ids(&[0xC0])));
    assert_eq!(moved.len(), 2);
}

/// Largest minus smallest share of the masters of 100,000 digests, in percent of all.
fn spread(ring: &Ring) -> f64 {
    let mut counts: BTreeMap<NodeId, u32> = BTreeMap::new();
    for seed in 0_u32..100_000 {
        let digest = Digest::of(Algorithm::Sha256, &seed.to_be_bytes());
        *counts.entry(ring.owner(ring.point_at(&position(&digest)))).or_default() += 1;
    }
    assert_eq!(counts.len(), 6);
    let (most, least) = (counts.values().max().unwrap(), counts.values().min().unwrap());
    f64::from(most - least) / 1000.0
}

#[test]
fn figure_9_six_nodes_share_alike() {
    for (set, first) in [("node", 1), ("registry", 11), ("10.0.0.", 201)] {
        let numbers = first..first + 6;
        let shares =
            numbers.clone().map(|node| (NodeId(node), Share { weight: 100, zone: String::new() }));
        let even = spread(&allocate(None, &shares.collect(), POINTS_MAX, 3));
        assert!(even <= 1.0, "{set}: {even}");
        let names =
            numbers.map(|node| (NodeId(node), (format!("{set}{node}:5000"), String::new())));
        let hashed = spread(&paper::ring(&names.collect(), paper::IDENTITIES));
        println!("{set}: assigned {even:.2}, paper {hashed:.2} percentage points");
        assert!(hashed > even);
    }
}
