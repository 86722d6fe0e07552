//! Random histories of a cluster, with two keepers that do not know of each other: every view is the
//! one that the reference has, and keeps the rules of views.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest_state_machine::{StateMachineTest, prop_state_machine};

use super::*;
use crate::{
    coordination::{
        self, Change, Command, CreateMode, Effects, Op, Path, SessionId, Verdict, query,
    },
    metadata::MemoryKv,
};

mod reference;

use reference::{Event, POINTS, Reference};

/// How many histories.
const CASES: u32 = 200;
/// Most events of one.
const EVENTS_MAX: usize = 80;
/// How many nodes believe at a time that they keep the view.
const KEEPERS: usize = 2;
/// Where the view is written down.
const PLACE: &str = "/view";

/// What a keeper has planned: from which facts, over which version of the view, and which one.
type Plan = (Facts, i32, Option<View>);

/// The view in a tree of znodes, as in group 0.
struct Written {
    tree: MemoryKv,
    index: u64,
    plans: BTreeMap<usize, Plan>,
    unfinalised: Unfinalised,
}

impl Written {
    fn new(first: &View) -> Written {
        let (tree, plans) = (MemoryKv::default(), BTreeMap::new());
        let mut new = Written { tree, index: 0, plans, unfinalised: Unfinalised::default() };
        new.change(Change::CreateSession { timeout_ms: 1000, owner: 1 });
        let (path, data) = (PLACE.to_owned(), first.encode());
        let create = Op::Create { path, data, mode: CreateMode::PERSISTENT };
        assert!(matches!(new.ask(create), Verdict::Done(_)));
        new.unfinalised.note(first);
        new
    }

    fn change(&mut self, change: Change) -> Verdict {
        self.index += 1;
        let position = coordination::Position { index: self.index, term: 1 };
        let command = Command { now_ms: 0, change };
        let applied =
            coordination::apply(&mut self.tree, position, &command, &mut Effects::default());
        applied.unwrap().verdict
    }

    fn ask(&mut self, op: Op) -> Verdict {
        self.change(Change::Multi { session: SessionId(1), ops: vec![op] })
    }

    fn read(&self) -> (View, i32) {
        let path = Path::parse(PLACE).unwrap();
        let (data, stat) = query::get(&self.tree, path).unwrap().unwrap();
        (View::decode(&data).unwrap(), stat.version)
    }

    fn plan(&mut self, keeper: usize, facts: &Facts) {
        let (view, version) = self.read();
        let planned = next(&view, facts);
        self.plans.insert(keeper, (facts.clone(), version, planned));
    }

    /// Writes what was planned; answers whether it was taken.
    fn commit(&mut self, keeper: usize) -> bool {
        let Some((facts, version, Some(planned))) = self.plans.remove(&keeper) else {
            return false;
        };
        let (before, _) = self.read();
        let (path, data) = (PLACE.to_owned(), planned.encode());
        let verdict = self.ask(Op::Set { path, data, version: Some(version) });
        let is_taken = matches!(verdict, Verdict::Done(_));
        if is_taken {
            self.check_step(&before, &facts);
        }
        is_taken
    }

    fn check_step(&mut self, before: &View, facts: &Facts) {
        let (view, _) = self.read();
        assert_eq!(view.epoch.0, before.epoch.0 + 1);
        assert!(view.since >= before.since && view.since <= view.epoch);
        // A dropped set was finalised by reports for the very configuration that ended.
        let acting = before.ring_up();
        let all_synced = acting.iter().all(|node| facts.synced.get(node) >= Some(&before.since));
        if view.open.len() < before.open.len() && view.since == before.since {
            assert!(all_synced);
        }
        if !before.open.is_empty() && all_synced && acting.len() >= before.write_quorum() {
            self.unfinalised.0.values_mut().for_each(Vec::clear);
            self.unfinalised.note(&View { open: Vec::new(), ..before.clone() });
        }
        self.unfinalised.note(&view);
        self.unfinalised.check(&view);
        check_owners(&view);
    }
}

/// Every arc has one list of owners, whoever is asked, and a node that is down or out is in none.
fn check_owners(view: &View) {
    let mut owners: BTreeMap<usize, (Vec<NodeId>, BTreeSet<NodeId>)> = BTreeMap::new();
    for node in view.members.keys() {
        for arc in view.owned_arcs(*node) {
            let known = owners.entry(arc.index).or_insert((arc.owners.clone(), BTreeSet::new()));
            assert_eq!(known.0, arc.owners, "arc {}", arc.index);
            known.1.insert(*node);
        }
    }
    let acting = view.ring_up();
    let count = view.copies().min(acting.len());
    for (listed, owning) in owners.values() {
        assert_eq!((listed.len(), owning.len()), (count, count), "each owns an arc once");
        assert!(listed.iter().all(|node| owning.contains(node) && acting.contains(node)));
    }
    let owned = if acting.is_empty() { 0 } else { view.ring.len() };
    assert_eq!(owners.len(), owned, "no arc is without an owner");
}

/// For each digest the sets in which a write may have been acknowledged and that were not finalised
/// since, kept the slow way: a set is added with every view, and all are dropped when the view has
/// none open.
#[derive(Default)]
struct Unfinalised(BTreeMap<Digest, Vec<(BTreeSet<NodeId>, usize)>>);

impl Unfinalised {
    fn note(&mut self, view: &View) {
        for digest in digests().take(20) {
            let acting: BTreeSet<NodeId> = view.acting(&digest).into_iter().collect();
            let sets = self.0.entry(digest).or_default();
            if view.open.is_empty() {
                sets.clear();
            }
            if acting.len() >= view.write_quorum() {
                sets.push((acting, view.write_quorum()));
            }
        }
    }

    /// Any W nodes of any of these sets must be met by those who must deny the digest.
    fn check(&self, view: &View) {
        for (digest, sets) in &self.0 {
            let asked = view.absence_sets(digest);
            for (nodes, quorum) in sets {
                let is_met = asked.iter().any(|set| {
                    let of_set = set.nodes.iter().filter(|node| nodes.contains(node)).count();
                    let denials_outside = set.nodes.len() - of_set;
                    // Even when everyone outside the set denies first, so many of it must.
                    let denials = set.negatives.saturating_sub(denials_outside);
                    denials + quorum > nodes.len()
                });
                assert!(is_met, "{nodes:?} W={quorum} is not met by {asked:?}");
            }
        }
    }
}

/// Left alone and reporting, a cluster comes to rest: nothing is open if enough are there, who
/// leaves owns nothing unless nobody else could, and who was removed is forgotten.
fn check_rest(view: View, facts: Facts) {
    let mut keeper = Keeper { view, facts };
    keeper.settle();
    let Keeper { view, facts } = keeper;
    let is_in = |node: &NodeId| facts.members[node].intent == Intent::In;
    let (staying, leaving): (Vec<NodeId>, Vec<NodeId>) = view.ring.nodes().partition(is_in);
    if view.ring_up().len() < view.write_quorum() {
        return;
    }
    assert!(view.open.is_empty());
    assert!(staying.is_empty() || leaving.is_empty(), "{leaving:?} still own arcs");
    assert!(
        !staying.is_empty() || !facts.registered.keys().any(is_in),
        "{leaving:?} are not needed"
    );
    let is_kept =
        |node: &NodeId| facts.members[node].intent != Intent::Removed || view.ring.contains(*node);
    assert!(view.members.keys().all(is_kept), "a removed node is still a member");
}

impl StateMachineTest for Written {
    type SystemUnderTest = Written;
    type Reference = Reference;

    fn init_test(reference: &Reference) -> Written {
        Written::new(&Keeper::new(reference.replicas(), POINTS).view)
    }

    fn apply(mut written: Written, reference: &Reference, event: Event) -> Written {
        match event {
            Event::Plans(keeper) => written.plan(keeper, &reference.facts),
            Event::Commits(keeper) => {
                assert_eq!(written.commit(keeper), reference.is_committed, "was it taken?");
            }
            // The facts are what they are.
            _ => {}
        }
        written
    }

    fn check_invariants(written: &Written, reference: &Reference) {
        let (view, version) = written.read();
        let expected = &reference.cluster;
        assert_eq!((view.epoch, view.since), (expected.epoch, expected.since));
        assert_eq!(version as u64 + 1, view.epoch.0, "one epoch is written once");
        let told = |member: &Member| (member.state, member.weight);
        let told: BTreeMap<_, _> =
            view.members.iter().map(|(node, member)| (*node, told(member))).collect();
        assert_eq!(told, expected.members());
        assert_eq!((&view.ring, &view.open), (&expected.ring, &expected.open));
        assert_eq!(view.next_node, expected.next_node);
    }

    fn teardown(written: Written, reference: Reference) {
        check_rest(written.read().0, reference.facts);
    }
}

prop_state_machine! {
    #![proptest_config(ProptestConfig::with_cases(CASES))]

    #[test]
    fn random_histories_keep_the_rules(sequential 1..EVENTS_MAX => Written);
}
