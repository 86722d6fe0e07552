//! Orders, plans and tallies against views of a handful of nodes.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::view::{
    Intent, NodeId,
    tests::{Keeper, digests},
};

fn none() -> BTreeSet<NodeId> {
    BTreeSet::new()
}

#[test]
fn everyone_asks_the_same_owner_first_unless_it_has_the_blob_itself() {
    let view = Keeper::settled(3, 256, 6).view;
    let mut firsts = BTreeSet::new();
    for digest in digests() {
        let acting = view.acting(&digest);
        let first = preferred(&view, &digest).unwrap();
        firsts.insert(acting.iter().position(|node| *node == first));
        for me in (1..=6).map(NodeId) {
            let order = read_order(&view, &digest, me, &none());
            let expected = if acting.contains(&me) { me } else { first };
            assert_eq!(order[0], expected);
            assert_eq!(order.iter().collect::<BTreeSet<_>>(), acting.iter().collect());
            let suspected = read_order(&view, &digest, NodeId(9), &[first].into());
            assert_eq!(suspected.last(), Some(&first));
        }
    }
    assert_eq!(firsts.len(), 3, "master and replicas are all preferred for some digest");
}

#[test]
fn members_of_open_sets_are_asked_after_the_owners() {
    let mut keeper = Keeper::settled(2, 256, 4);
    keeper.intends(2, Intent::Draining);
    keeper.turn();
    let mut seen = 0;
    for digest in digests() {
        let order = read_order(&keeper.view, &digest, NodeId(9), &none());
        let acting = keeper.view.acting(&digest);
        assert_eq!(order[..2].iter().collect::<BTreeSet<_>>(), acting.iter().collect());
        let open = keeper.view.open_sets(&digest).concat();
        assert!(open.iter().all(|node| order.contains(node)));
        seen += usize::from(order.len() > 2);
    }
    assert!(seen > 0);
}

fn tally(nodes: u16, down: &[u16]) -> (WritePlan, WriteTally) {
    let mut keeper = Keeper::settled(3, 256, nodes);
    down.iter().for_each(|node| keeper.goes(*node));
    keeper.turn();
    let digest = digests().next().unwrap();
    let plan = write_plan(&keeper.view, &digest, NodeId(1), &none());
    assert_eq!(plan.owners, keeper.view.acting(&digest));
    (plan.clone(), WriteTally::new(plan))
}

#[test]
fn all_owners_make_it_enough() {
    let (plan, mut tally) = tally(5, &[]);
    assert_eq!((plan.owners_needed, plan.copies_needed), (2, 3));
    for node in &plan.owners {
        assert_eq!(tally.verdict(), WriteVerdict::Wait);
        tally.acked(*node);
    }
    assert_eq!(tally.verdict(), WriteVerdict::Enough);
}

#[test]
fn a_stand_in_makes_up_for_a_copy_but_not_for_the_owners() {
    let (plan, mut tally) = tally(5, &[]);
    tally.acked(plan.owners[0]);
    tally.failed(plan.owners[1]);
    assert_eq!(tally.verdict(), WriteVerdict::Ask(plan.stand_ins[0]));
    assert_eq!(tally.verdict(), WriteVerdict::Wait);
    tally.failed(plan.stand_ins[0]);
    assert_eq!(tally.verdict(), WriteVerdict::Ask(plan.stand_ins[1]));
    tally.acked(plan.stand_ins[1]);
    assert_eq!(tally.verdict(), WriteVerdict::Wait);
    let mut other = tally.clone();
    tally.acked(plan.owners[2]);
    assert_eq!(tally.verdict(), WriteVerdict::Enough);
    assert_eq!(tally.missing_owners().collect::<Vec<_>>(), [plan.owners[1]]);
    // Three copies, but only one of them where absence is asked.
    other.failed(plan.owners[2]);
    let few = TooFewCopies { owners: 1, needed: 2 };
    assert_eq!(other.verdict(), WriteVerdict::Impossible(few));
}

#[test]
fn with_fewer_live_nodes_fewer_copies_do_but_never_less_than_w() {
    let (plan, mut one_down) = tally(3, &[2]);
    assert_eq!((plan.owners.len(), plan.owners_needed, plan.copies_needed), (2, 2, 2));
    plan.owners.iter().for_each(|node| one_down.acked(*node));
    assert_eq!(one_down.verdict(), WriteVerdict::Enough);
    // A node that died a moment ago, and nobody to stand in for it.
    let (plan, mut tally3) = tally(3, &[]);
    tally3.failed(plan.owners[0]);
    tally3.acked(plan.owners[1]);
    assert_eq!(tally3.verdict(), WriteVerdict::Wait);
    tally3.acked(plan.owners[2]);
    assert_eq!(tally3.verdict(), WriteVerdict::Enough);
    let (_, mut two_down) = tally(3, &[2, 3]);
    assert!(matches!(two_down.verdict(), WriteVerdict::Impossible(_)));
}

#[test]
fn the_node_that_has_the_bytes_stands_in_first() {
    let view = Keeper::settled(2, 256, 20).view;
    for digest in digests() {
        let plan = write_plan(&view, &digest, NodeId(7), &none());
        assert_eq!(plan.stand_ins.len(), STAND_INS_MAX);
        assert!(plan.owners.contains(&NodeId(7)) || plan.stand_ins[0] == NodeId(7));
        let suspect = plan.owners[0];
        let plan = write_plan(&view, &digest, NodeId(7), &[suspect].into());
        assert_eq!(plan.owners[1], suspect);
    }
}

#[test]
fn two_of_three_deny_and_one_does_not() {
    let view = Keeper::settled(3, 256, 5).view;
    let digest = digests().next().unwrap();
    let owners = view.acting(&digest);
    let mut tally = AbsenceTally::new(&view, &digest);
    assert_eq!(tally.to_ask(), owners);
    tally.absent(owners[0]);
    tally.unreachable(owners[1]);
    assert_eq!(tally.verdict(true), AbsenceVerdict::Undecided);
    assert_eq!(tally.to_ask(), owners[2..]);
    let mut other = tally.clone();
    tally.absent(owners[2]);
    assert_eq!(tally.verdict(true), AbsenceVerdict::Absent);
    assert_eq!(tally.verdict(false), AbsenceVerdict::Unknown);
    other.unreachable(owners[2]);
    assert_eq!(other.verdict(true), AbsenceVerdict::Unknown);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Whoever acknowledged a write that was enough, no answers of the others make it absent, in
    /// that view and in the next ones until it is finalised.
    #[test]
    fn what_was_acknowledged_is_never_denied(
        replicas in 1_u8..=5,
        nodes in 1_u16..=7,
        answers in prop::collection::vec(any::<bool>(), 40),
        changes in prop::collection::vec((1_u16..=8, any::<bool>()), 0..4),
    ) {
        let mut keeper = Keeper::settled(replicas, 64, nodes);
        let digest = digests().next().unwrap();
        let mut tally = WriteTally::new(write_plan(&keeper.view, &digest, NodeId(1), &none()));
        let mut answers = answers.into_iter();
        let mut pending: Vec<NodeId> = keeper.view.acting(&digest);
        let is_acknowledged = loop {
            match tally.verdict() {
                WriteVerdict::Enough => break true,
                WriteVerdict::Impossible(_) => break false,
                WriteVerdict::Ask(node) => pending.push(node),
                WriteVerdict::Wait => {
                    let node = pending.remove(0);
                    if answers.next().unwrap_or(true) { tally.acked(node) } else { tally.failed(node) }
                }
            }
        };
        let holders: BTreeSet<NodeId> = tally.durable().collect();
        if is_acknowledged {
            let owners = keeper.view.acting(&digest);
            let among = owners.iter().filter(|node| holders.contains(node)).count();
            prop_assert!(among >= keeper.view.write_quorum());
            for (node, comes) in std::iter::once((1, true)).chain(changes) {
                if comes { keeper.comes(node) } else { keeper.goes(node) }
                keeper.turn();
                let mut absence = AbsenceTally::new(&keeper.view, &digest);
                for node in absence.to_ask() {
                    if holders.contains(&node) { absence.unreachable(node) } else { absence.absent(node) }
                }
                prop_assert_ne!(absence.verdict(true), AbsenceVerdict::Absent);
            }
        }
    }
}
