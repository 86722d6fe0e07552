//! The rules of repair on small clusters.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use proptest::prelude::*;

use super::*;
use crate::view::{Configuration, Epoch, Member, MemberState};

const POINTS: usize = 64;

fn ring(nodes: &[u16]) -> Arc<Ring> {
    let owners = (0..POINTS).map(|at| NodeId(nodes[at % nodes.len()])).collect();
    let zones = nodes.iter().map(|node| (NodeId(*node), String::new())).collect();
    Arc::new(Ring::new(Points::Assigned { owners }, zones))
}

fn nodes(up: &[u16]) -> BTreeSet<NodeId> {
    up.iter().copied().map(NodeId).collect()
}

fn view(ring_of: &[u16], up: &[u16], open: &[(&[u16], &[u16])]) -> View {
    let member = |node: &u16| Member {
        name: format!("n{node}"),
        incarnation: 1,
        http: String::new(),
        grpc: String::new(),
        zone: String::new(),
        weight: 1,
        state: if up.contains(node) { MemberState::Up } else { MemberState::Down },
    };
    let all: BTreeSet<u16> =
        ring_of.iter().chain(open.iter().flat_map(|(ring, _)| ring.iter())).copied().collect();
    let configuration = |(ring_of, up): &(&[u16], &[u16])| Configuration {
        since: Epoch(1),
        ring: ring(ring_of),
        up: nodes(up),
    };
    View {
        replicas: 3,
        epoch: Epoch(9),
        members: all.iter().map(|node| (NodeId(*node), member(node))).collect(),
        ring: ring(ring_of),
        open: open.iter().map(configuration).collect(),
        ..View::founding_for_tests()
    }
}

#[test]
fn nothing_open_is_nothing_to_do() {
    let sync = Sync::new(&view(&[1, 2, 3, 4], &[1, 2, 3, 4], &[]), NodeId(1));
    assert!(sync.sources().is_empty() && sync.may_report());
}

#[test]
fn a_new_owner_scans_two_of_the_three_that_owned_before() {
    let view = view(&[1, 2, 3, 4], &[1, 2, 3, 4], &[(&[1, 2, 3], &[1, 2, 3])]);
    let mut sync = Sync::new(&view, NodeId(4));
    assert_eq!(sync.sources().keys().copied().collect::<BTreeSet<_>>(), nodes(&[1, 2, 3]));
    sync.handle_scanned(NodeId(1));
    assert!(!sync.is_complete());
    sync.handle_scanned(NodeId(3));
    assert!(sync.may_report());
}

#[test]
fn an_old_owner_counts_itself() {
    let view = view(&[1, 2, 3, 4], &[1, 2, 3, 4], &[(&[1, 2, 3], &[1, 2, 3])]);
    let mut sync = Sync::new(&view, NodeId(1));
    sync.handle_scanned(NodeId(2));
    assert!(sync.may_report());
}

#[test]
fn who_stands_in_for_a_node_that_is_down_never_reports() {
    let view = view(&[1, 2, 3, 4], &[1, 2, 3], &[(&[1, 2, 3, 4], &[1, 2, 3, 4])]);
    let mut sync = Sync::new(&view, NodeId(1));
    for source in sync.sources().into_keys() {
        sync.handle_scanned(source);
    }
    assert!(sync.is_complete() && !sync.may_report());
}

#[test]
fn a_set_too_small_to_have_taken_a_write_asks_for_nothing() {
    // Two of three were down: W = 2 was out of reach.
    let view = view(&[1, 2, 3], &[1, 2, 3], &[(&[1, 2, 3], &[1])]);
    assert!(Sync::new(&view, NodeId(2)).may_report());
}

#[test]
fn co_owners_share_the_cells_of_their_arcs() {
    let view = view(&[1, 2, 3, 4, 5], &[1, 2, 3, 4], &[]);
    let shared = co_owners(&view, NodeId(1));
    assert_eq!(shared.keys().copied().collect::<BTreeSet<_>>(), nodes(&[2, 3, 4]));
    for (node, cells) in shared {
        for cell in cells {
            let (_, last) = Cells::of(&view).range(cell);
            let owners = view.placement_at(&last);
            assert!(owners.contains(&node) && owners.contains(&NodeId(1)));
        }
    }
}

fn subset(of: &'static [u16]) -> impl Strategy<Value = Vec<u16>> {
    proptest::sample::subsequence(of, 1..=of.len())
}

const ALL: &[u16] = &[1, 2, 3, 4, 5, 6];

proptest! {
    #[test]
    fn cells_cover_the_circle(bits in 1_u32..=16, bytes: [u8; 32]) {
        let cells = Cells::new(1 << bits).unwrap();
        let (first, last) = cells.range(cells.cell_at(&bytes));
        prop_assert!(first <= bytes && bytes <= last);
        prop_assert_eq!(cells.cell_at(&first), cells.cell_at(&last));
    }

    /// Whatever was acknowledged by W of an open set, one of them was scanned for every cell that the
    /// node is placed in.
    #[test]
    fn what_is_complete_has_met_every_write(
        ring_of in subset(ALL),
        old_ring in subset(ALL),
        old_up in subset(ALL),
        up in subset(ALL),
        order in Just(ALL.to_vec()).prop_shuffle(),
        me in proptest::sample::select(ALL),
    ) {
        let view = view(&ring_of, &up, &[(&old_ring, &old_up)]);
        let me = NodeId(me);
        let mut sync = Sync::new(&view, me);
        let mut scanned = BTreeSet::from([me]);
        for node in order.into_iter().map(NodeId) {
            if sync.is_complete() {
                break;
            }
            if sync.sources().contains_key(&node) {
                sync.handle_scanned(node);
                scanned.insert(node);
            }
        }
        prop_assume!(sync.is_complete());
        let open = &view.open[0];
        let copies = usize::from(view.replicas).min(open.ring.nodes().count());
        for cell in Cells::of(&view).iter() {
            let (_, last) = Cells::of(&view).range(cell);
            if !view.placement_at(&last).contains(&me) {
                continue;
            }
            let acting =
                open.ring.walk(open.ring.point_at(&last), copies, |node| open.up.contains(&node));
            let unscanned = acting.iter().filter(|node| !scanned.contains(node)).count();
            prop_assert!(unscanned < copies / 2 + 1, "{unscanned} of {acting:?} could hide a write");
        }
    }

    #[test]
    fn paper_cells_are_asked_at_every_end_of_an_arc(mut at in proptest::collection::vec(any::<[u8; 32]>(), 1..40)) {
        at.sort();
        let identities: Vec<_> =
            at.iter().enumerate().map(|(n, at)| (*at, NodeId(n as u16 % 5 + 1))).collect();
        let zones: BTreeMap<_, _> = (1..=5).map(|n| (NodeId(n), String::new())).collect();
        let ring = Ring::new(Points::Paper { identities: identities.clone() }, zones);
        let cells = Cells::new(16).unwrap();
        for (position, _) in identities {
            prop_assert!(cells.ends(cells.cell_at(&position), &[&ring]).contains(&position));
        }
    }
}
