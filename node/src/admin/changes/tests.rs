use atoll_core::view::{Configuration, Epoch, Member, MemberState, RingMode};

use super::*;

const POINTS: u32 = 256;

/// `count` nodes named `n1`, `n2`, …, all in the ring, and their records.
fn cluster(count: u16) -> (View, Page) {
    let record = |node: u16| MemberRecord {
        name: format!("n{node}"),
        http: String::new(),
        grpc: String::new(),
        zone: String::new(),
        weight: 100,
        intent: Intent::In,
    };
    let first = Member {
        name: "n1".into(),
        incarnation: 1,
        http: String::new(),
        grpc: String::new(),
        zone: String::new(),
        weight: 100,
        state: MemberState::Up,
    };
    let mode = RingMode::Assigned { points: POINTS };
    let mut view = View::first("reef".into(), 3, mode, NodeId(1), first);
    let members: BTreeMap<NodeId, (MemberRecord, i32)> =
        (1..=count).map(|node| (NodeId(node), (record(node), 7))).collect();
    let registration = Registration { incarnation: 1, http: String::new(), grpc: String::new() };
    let mut facts = Facts {
        members: members.iter().map(|(node, (record, _))| (*node, record.clone())).collect(),
        registered: members.keys().map(|node| (*node, registration.clone())).collect(),
        ..Facts::default()
    };
    while let Some(next) = view::next(&view, &facts) {
        facts.synced = members.keys().map(|node| (*node, next.epoch)).collect();
        view = next;
    }
    assert!(view.open.is_empty() && view.ring.node_count() == usize::from(count));
    (view, Page { members, ..Page::default() })
}

fn change(change: Change, node: u16) -> NodeChange {
    NodeChange { node, change }
}

fn go_down(view: &mut View, node: u16) {
    view.members.get_mut(&NodeId(node)).expect("a member").state = MemberState::Down;
}

/// What stands in the way of `changes` at four nodes after `harm`.
fn objection(
    harm: impl FnOnce(&mut View),
    changes: &[NodeChange],
    force: bool,
) -> Result<(), AdminError> {
    let (mut view, page) = cluster(4);
    harm(&mut view);
    let outlook = outlook(&view, &page, changes)?;
    objections(&view, &outlook, changes, force)
}

#[test]
fn a_drain_moves_what_the_node_had_and_little_more() {
    let (view, page) = cluster(5);
    let outlook = outlook(&view, &page, &[change(Change::Drain, 5)]).unwrap();
    let moved = &outlook.movement;
    assert!(!outlook.after.ring.contains(NodeId(5)));
    assert_eq!(moved.points, u64::from(POINTS));
    // A fifth of all copies was there.
    assert!((19.0..=30.0).contains(&moved.percent_moved), "{moved:?}");
    assert!(moved.arcs_moved >= moved.arcs_moved_min);
    let shares: f64 = moved.shares_after.iter().map(|(_, share)| share).sum();
    assert!((shares - 100.0).abs() < 1e-6 && moved.shares_after.len() == 4, "{moved:?}");
    assert!(outlook.notes[0].contains("keeps serving"), "{:?}", outlook.notes);
}

#[test]
fn fewer_nodes_than_copies_is_told_and_none_is_refused() {
    let (view, page) = cluster(3);
    let drained = outlook(&view, &page, &[change(Change::Drain, 1)]).unwrap();
    assert!(drained.notes.iter().any(|note| note.contains("2 copies and not 3")), "{drained:?}");

    let all: Vec<_> = (1..=3).map(|node| change(Change::Drain, node)).collect();
    let drained = outlook(&view, &page, &all).unwrap();
    assert_eq!(objections(&view, &drained, &all, true), Err(AdminError::NobodyLeft));
}

#[test]
fn one_movement_at_a_time_except_for_the_dead() {
    let moving = |view: &mut View| {
        let (other, _) = cluster(3);
        let up = other.ring.nodes().collect();
        view.open.push(Configuration { since: Epoch(1), ring: other.ring.clone(), up });
    };
    let drain = [change(Change::Drain, 2)];
    assert_eq!(objection(moving, &drain, false), Err(AdminError::StillMoving));
    assert_eq!(objection(moving, &drain, true), Ok(()));
    let dead = |view: &mut View| {
        moving(view);
        go_down(view, 2);
    };
    let replaced = [change(Change::Remove, 2), change(Change::Undrain, 4)];
    assert_eq!(objection(dead, &replaced, false), Ok(()));
}

#[test]
fn a_node_that_still_holds_copies_is_not_cut_off_unasked() {
    let remove = [change(Change::Remove, 2)];
    assert_eq!(objection(|_| {}, &remove, false), Err(AdminError::NotDrained(NodeId(2))));
    assert_eq!(objection(|_| {}, &remove, true), Ok(()));
    assert_eq!(objection(|view| go_down(view, 2), &remove, false), Ok(()));
    let drained = |view: &mut View| {
        let (three, _) = cluster(3);
        view.ring = three.ring;
    };
    assert_eq!(objection(drained, &[change(Change::Remove, 4)], false), Ok(()));
}

#[test]
fn as_many_dead_nodes_as_copies_are_not_given_up_unasked() {
    let dead = |count: u16| move |view: &mut View| (1..=count).for_each(|node| go_down(view, node));
    let remove =
        |count: u16| (1..=count).map(|node| change(Change::Remove, node)).collect::<Vec<_>>();
    assert_eq!(objection(dead(2), &remove(2), false), Ok(()));
    let refused = Err(AdminError::MayLoseData { lost: 3, copies: 3 });
    assert_eq!(objection(dead(3), &remove(3), false), refused);
    assert_eq!(objection(dead(3), &remove(3), true), Ok(()));
}

#[test]
fn only_what_differs_is_written_and_at_the_version_that_was_read() {
    let (view, page) = cluster(3);
    let asked = [change(Change::Drain, 2), change(Change::Undrain, 3)];
    let written = writes(&view, &page, &asked).unwrap();
    let [Write::Member(NodeId(2), record, 7)] = written.as_slice() else {
        panic!("{written:?}");
    };
    assert_eq!(record.intent, Intent::Draining);
}

#[test]
fn nonsense_is_refused() {
    let (view, page) = cluster(3);
    let refused = |changes: &[NodeChange]| outlook(&view, &page, changes).unwrap_err();
    assert!(matches!(refused(&[]), AdminError::BadPlan(_)));
    let twice = [change(Change::Drain, 1), change(Change::Undrain, 1)];
    assert!(matches!(refused(&twice), AdminError::BadPlan(_)));
    assert!(matches!(refused(&[change(Change::Drain, 9)]), AdminError::UnknownNode { .. }));
}

#[test]
fn a_node_goes_by_number_or_name() {
    let (view, mut page) = cluster(3);
    assert_eq!(member(&view, &page, "2"), Ok(NodeId(2)));
    assert_eq!(member(&view, &page, "n2"), Ok(NodeId(2)));
    for unknown in ["9", "n9", "", "-1"] {
        assert!(matches!(member(&view, &page, unknown), Err(AdminError::UnknownNode { .. })));
    }
    page.members.get_mut(&NodeId(3)).expect("a member").0.name = "n2".into();
    let error = member(&view, &page, "n2");
    assert!(error.is_err(), "a name that two nodes have names neither");
}
