//! Views as a keeper makes them: stories; random histories are in `histories`.

use std::collections::BTreeSet;

use super::*;
use crate::Algorithm;

mod histories;

pub(crate) fn member(name: &str) -> Member {
    Member {
        name: name.to_owned(),
        incarnation: 1,
        http: format!("{name}:5000"),
        grpc: format!("{name}:5001"),
        zone: String::new(),
        weight: 100,
        state: MemberState::Up,
    }
}

fn record(node: u16) -> MemberRecord {
    MemberRecord {
        name: format!("n{node}"),
        http: format!("n{node}:5000"),
        grpc: format!("n{node}:5001"),
        zone: String::new(),
        weight: 100,
        intent: Intent::In,
    }
}

fn registration(node: u16, incarnation: u64) -> Registration {
    Registration { incarnation, http: format!("n{node}:5000"), grpc: format!("n{node}:5001") }
}

impl Facts {
    fn comes(&mut self, node: u16) {
        self.members.entry(NodeId(node)).or_insert_with(|| record(node));
        self.registered.insert(NodeId(node), registration(node, 1));
        self.down_too_long.remove(&NodeId(node));
    }
}

/// A cluster under the hands of a keeper.
pub(crate) struct Keeper {
    pub(crate) view: View,
    pub(crate) facts: Facts,
}

impl Keeper {
    /// Node 1 alone.
    pub(crate) fn new(replicas: u8, points: u32) -> Keeper {
        let mode = RingMode::Assigned { points };
        let view = View::first("c".to_owned(), replicas, mode, NodeId(1), member("n1"));
        let mut keeper = Keeper { view, facts: Facts::default() };
        keeper.comes(1);
        keeper
    }

    /// Nodes 1 to `count`, all in the ring and synced.
    pub(crate) fn settled(replicas: u8, points: u32, count: u16) -> Keeper {
        let mut keeper = Keeper::new(replicas, points);
        (2..=count).for_each(|node| keeper.comes(node));
        keeper.settle();
        assert_eq!(keeper.view.ring.node_count(), usize::from(count));
        keeper
    }

    pub(crate) fn comes(&mut self, node: u16) {
        self.facts.comes(node);
    }

    pub(crate) fn goes(&mut self, node: u16) {
        self.facts.registered.remove(&NodeId(node));
    }

    pub(crate) fn intends(&mut self, node: u16, intent: Intent) {
        if let Some(record) = self.facts.members.get_mut(&NodeId(node)) {
            record.intent = intent;
        }
    }

    /// Every node that is there reports for the present view.
    pub(crate) fn all_sync(&mut self) {
        for node in self.facts.registered.keys() {
            self.facts.synced.insert(*node, self.view.epoch);
        }
    }

    /// One step; answers whether there was a new view.
    pub(crate) fn step(&mut self) -> bool {
        let Some(view) = next(&self.view, &self.facts) else { return false };
        self.view = view;
        true
    }

    /// Steps until nothing changes, nobody reporting anything.
    pub(crate) fn turn(&mut self) {
        for _ in 0..10 {
            if !self.step() {
                return;
            }
        }
        panic!("no fixed point: {:?}", self.view.open.len());
    }

    /// Steps and reports until nothing changes.
    pub(crate) fn settle(&mut self) {
        for _ in 0..100 {
            self.turn();
            self.all_sync();
            if !self.step() {
                return;
            }
        }
        panic!("no fixed point: {} open", self.view.open.len());
    }

    fn state(&self, node: u16) -> MemberState {
        self.view.members[&NodeId(node)].state
    }
}

pub(crate) fn digests() -> impl Iterator<Item = Digest> {
    (0_u32..200).map(|seed| Digest::of(Algorithm::Sha256, &seed.to_be_bytes()))
}

fn ids(nodes: &[u16]) -> BTreeSet<NodeId> {
    nodes.iter().copied().map(NodeId).collect()
}

#[test]
fn the_first_node_is_alone_and_needs_nobody() {
    let mut keeper = Keeper::new(3, 64);
    assert!(!keeper.step() || keeper.view.open.is_empty());
    assert_eq!((keeper.view.copies(), keeper.view.write_quorum()), (1, 1));
    assert!(digests().all(|digest| keeper.view.acting(&digest) == [NodeId(1)]));
    assert_eq!(keeper.view.next_node, NodeId(2));
}

#[test]
fn a_node_that_joins_takes_points_and_the_old_owners_stay_open() {
    let mut keeper = Keeper::settled(1, 64, 2);
    keeper.comes(3);
    keeper.turn();
    assert_eq!(keeper.state(3), MemberState::Up);
    assert_eq!(keeper.view.open.len(), 1);
    let moved: Vec<Digest> =
        digests().filter(|digest| keeper.view.acting(digest) == [NodeId(3)]).collect();
    assert!(!moved.is_empty());
    for digest in &moved {
        let open = keeper.view.open_sets(digest);
        assert_eq!(open.len(), 1);
        assert_ne!(open[0], [NodeId(3)]);
    }
    // What did not move has nobody else to ask.
    let stayed = digests()
        .find(|digest| !moved.contains(digest) && keeper.view.open_sets(digest).is_empty());
    assert!(stayed.is_some());
}

#[test]
fn only_one_plan_at_a_time_but_leaving_is_not_delayed() {
    let mut keeper = Keeper::settled(2, 64, 4);
    keeper.comes(5);
    keeper.turn();
    keeper.comes(6);
    keeper.turn();
    assert_eq!(keeper.state(6), MemberState::Joining);
    assert!(!keeper.view.ring.contains(NodeId(6)));
    keeper.intends(1, Intent::Draining);
    keeper.turn();
    assert_eq!(keeper.state(1), MemberState::Draining);
    assert!(!keeper.view.ring.contains(NodeId(1)));
    assert_eq!(keeper.view.open.len(), 2);
    keeper.settle();
    assert_eq!(keeper.state(6), MemberState::Up);
    assert!(keeper.view.open.is_empty());
}

#[test]
fn a_report_for_an_earlier_configuration_finalises_nothing() {
    let mut keeper = Keeper::settled(2, 64, 4);
    keeper.comes(5);
    keeper.turn();
    let before = keeper.view.epoch;
    keeper.goes(2);
    keeper.turn();
    assert!(keeper.view.since > before);
    for node in 1..=5 {
        keeper.facts.synced.insert(NodeId(node), before);
    }
    assert!(!keeper.step());
    assert_eq!(keeper.view.open.len(), 2);
    // All but one are synced: still open. The last one: finalised.
    for node in [1, 3, 4] {
        keeper.facts.synced.insert(NodeId(node), keeper.view.since);
    }
    assert!(!keeper.step());
    keeper.facts.synced.insert(NodeId(5), keeper.view.since);
    assert!(keeper.step());
    assert!(keeper.view.open.is_empty());
}

#[test]
fn a_new_address_is_a_new_view_but_asks_nobody_to_sync_again() {
    let mut keeper = Keeper::settled(2, 64, 3);
    let since = keeper.view.since;
    keeper.facts.registered.insert(
        NodeId(2),
        Registration {
            incarnation: 2,
            http: "elsewhere:1".to_owned(),
            grpc: "elsewhere:2".to_owned(),
        },
    );
    assert!(keeper.step());
    assert_eq!(keeper.view.since, since);
    assert_eq!(keeper.view.members[&NodeId(2)].incarnation, 2);
    assert_eq!(keeper.view.members[&NodeId(2)].grpc, "elsewhere:2");
    assert!(!keeper.step());
}

#[test]
fn down_is_not_out_until_it_lasts() {
    let mut keeper = Keeper::settled(3, 64, 5);
    let ring = keeper.view.ring.clone();
    keeper.goes(2);
    keeper.turn();
    assert_eq!(keeper.state(2), MemberState::Down);
    assert_eq!(keeper.view.ring, ring);
    assert!(digests().all(|digest| {
        let acting = keeper.view.acting(&digest);
        acting.len() == 3 && !acting.contains(&NodeId(2))
    }));
    keeper.facts.down_too_long = ids(&[2]);
    keeper.turn();
    assert!(!keeper.view.ring.contains(NodeId(2)));
    assert!(keeper.view.members.contains_key(&NodeId(2)));
    keeper.settle();
    // It returns, and comes in again by the same rule as anyone.
    keeper.comes(2);
    keeper.settle();
    assert!(keeper.view.ring.contains(NodeId(2)));
    assert_eq!(keeper.state(2), MemberState::Up);
}

#[test]
fn a_down_node_stays_in_the_ring_when_nobody_could_take_its_copies() {
    let mut keeper = Keeper::settled(3, 64, 3);
    keeper.goes(2);
    keeper.facts.down_too_long = ids(&[2]);
    keeper.settle();
    assert!(keeper.view.ring.contains(NodeId(2)));
    assert_eq!((keeper.view.copies(), keeper.view.write_quorum()), (3, 2));
    assert!(keeper.view.open.is_empty());
}

/// Who waits to come in cannot take over yet: the ring must not shrink on their account.
#[test]
fn nodes_that_wait_outside_replace_nobody_while_points_move() {
    let mut keeper = Keeper::settled(3, 64, 3);
    keeper.comes(4);
    keeper.turn();
    assert!(keeper.view.ring.contains(NodeId(4)) && !keeper.view.open.is_empty());
    [2, 3, 4].into_iter().for_each(|node| keeper.goes(node));
    [5, 6].into_iter().for_each(|node| keeper.comes(node));
    keeper.facts.down_too_long = ids(&[2, 3, 4]);
    keeper.turn();
    assert_eq!(keeper.view.ring.nodes().collect::<BTreeSet<_>>(), ids(&[1, 2, 3, 4]));
    assert_eq!(keeper.view.write_quorum(), 2);
}

#[test]
fn a_node_that_returns_before_anything_was_finalised_opens_its_absence_only() {
    let mut keeper = Keeper::settled(2, 64, 4);
    keeper.goes(2);
    keeper.turn();
    let without = keeper.view.ring_up();
    keeper.comes(2);
    keeper.turn();
    // The configuration it left is the present one again; what was written meanwhile is elsewhere.
    assert_eq!(keeper.view.open.len(), 1);
    assert_eq!(keeper.view.open[0].up, without);
    for digest in digests() {
        let open = keeper.view.open_sets(&digest);
        assert_eq!(open.is_empty(), !keeper.view.acting(&digest).contains(&NodeId(2)));
    }
}

#[test]
fn a_removed_member_is_forgotten_when_nothing_depends_on_it() {
    let mut keeper = Keeper::settled(2, 64, 4);
    keeper.intends(3, Intent::Removed);
    keeper.turn();
    assert!(!keeper.view.ring.contains(NodeId(3)));
    assert_eq!(keeper.state(3), MemberState::Draining);
    keeper.settle();
    assert!(!keeper.view.members.contains_key(&NodeId(3)));
    // Its session may outlive it.
    assert!(!keeper.step());
    assert_eq!(keeper.view.next_node, NodeId(5));
}

#[test]
fn the_last_node_cannot_be_drained() {
    let mut keeper = Keeper::settled(2, 64, 1);
    keeper.intends(1, Intent::Draining);
    keeper.turn();
    assert!(keeper.view.ring.contains(NodeId(1)));
    assert_eq!(keeper.state(1), MemberState::Up);
}

#[test]
fn too_few_nodes_finalise_nothing() {
    let mut keeper = Keeper::settled(3, 64, 3);
    keeper.goes(2);
    keeper.goes(3);
    keeper.turn();
    keeper.all_sync();
    keeper.turn();
    assert_eq!(keeper.view.open.len(), 1);
    // One answer of two that are needed: nobody may say "absent".
    let digest = digests().next().unwrap();
    let sets = keeper.view.absence_sets(&digest);
    assert_eq!(
        sets.iter().map(|set| (set.nodes.len(), set.negatives)).collect::<Vec<_>>(),
        [(1, 1), (3, 2)]
    );
}

#[test]
fn with_too_many_open_configurations_nobody_comes_up_but_going_down_is_never_held_back() {
    let mut keeper = Keeper::settled(1, 64, 6);
    // Another set of nodes is up each time, and nobody reports.
    for step in 1_u16.. {
        let node = 1 + step.trailing_zeros() as u16;
        let is_up = keeper.facts.registered.contains_key(&NodeId(node));
        let is_full = keeper.view.open.len() >= next::OPEN_MAX;
        if is_up {
            keeper.goes(node)
        } else {
            keeper.comes(node)
        }
        keeper.turn();
        assert_eq!(keeper.state(node) == MemberState::Down, is_up || is_full);
        if is_full && !is_up {
            break;
        }
    }
    keeper.settle();
    assert!(keeper.view.open.is_empty() && keeper.view.members.values().any(Member::is_up));
}

#[test]
fn a_change_of_weight_moves_points() {
    let mut keeper = Keeper::settled(1, 64, 3);
    keeper.facts.members.get_mut(&NodeId(2)).unwrap().weight = 200;
    keeper.settle();
    assert_eq!(keeper.view.members[&NodeId(2)].weight, 200);
    let of_2 = (0..64).filter(|point| keeper.view.ring.owner(*point) == NodeId(2)).count();
    assert_eq!(of_2, 32);
}

#[test]
fn a_paper_ring_keeps_the_identities_of_those_who_stay() {
    let mode = RingMode::Paper { identities: 5 };
    let view = View::first("c".to_owned(), 2, mode, NodeId(1), member("n1"));
    let mut keeper = Keeper { view, facts: Facts::default() };
    (1..=3).for_each(|node| keeper.comes(node));
    keeper.settle();
    assert_eq!(keeper.view.ring.len(), 15);
    let places = |ring: &Ring, node: u16| -> Vec<Position> {
        let of = |point: &usize| ring.owner(*point) == NodeId(node);
        (0..ring.len()).filter(of).map(|point| ring.place(point)).collect()
    };
    let (before, ring) = (places(&keeper.view.ring, 2), keeper.view.ring.clone());
    keeper.intends(3, Intent::Removed);
    keeper.facts.members.get_mut(&NodeId(2)).unwrap().http = "moved:1".to_owned();
    keeper.turn();
    assert_eq!(keeper.view.ring.len(), 10);
    assert_eq!(places(&keeper.view.ring, 2), before);
    assert_eq!(keeper.view.open[0].ring, ring);
    assert_eq!(View::decode(&keeper.view.encode()), Ok(keeper.view.clone()));
    // The pieces of an arc end where any ring has a point.
    let pieces: usize =
        (0..10).map(|arc| keeper.view.pieces(keeper.view.arc_range(arc)).len()).sum();
    assert_eq!(pieces, 15);
}

#[test]
fn damaged_bytes_are_no_view() {
    let bytes = Keeper::settled(2, 64, 3).view.encode();
    assert_eq!(View::decode(&[]), Err(InvalidView::Version(None)));
    assert_eq!(View::decode(&[9]), Err(InvalidView::Version(Some(9))));
    for cut in 1..bytes.len() {
        assert!(View::decode(&bytes[..cut]).is_err());
    }
}

#[test]
fn a_view_with_many_open_rings_stays_small() {
    let mut keeper = Keeper::settled(3, 65_536, 12);
    for node in 2..=9 {
        keeper.intends(node, Intent::Draining);
        keeper.turn();
    }
    assert_eq!(keeper.view.open.len(), 8);
    let bytes = keeper.view.encode();
    assert!(bytes.len() < 600_000, "{} bytes", bytes.len());
    let decoded = View::decode(&bytes).unwrap();
    assert_eq!((decoded.hash(), &decoded), (keeper.view.hash(), &keeper.view));
}
