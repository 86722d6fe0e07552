//! Random histories of a cluster keep the rules of views.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

/// Something that happens to a cluster of up to six nodes.
#[derive(Clone, Debug)]
enum Event {
    Comes(u16),
    Goes(u16),
    TooLong(u16),
    Intends(u16, Intent),
    Weighs(u16, u32),
    Syncs(u16),
    Step,
}

fn event() -> impl Strategy<Value = Event> {
    let node = || 1_u16..=6;
    let intent = prop_oneof![Just(Intent::In), Just(Intent::Draining), Just(Intent::Removed)];
    prop_oneof![
        3 => node().prop_map(Event::Comes),
        2 => node().prop_map(Event::Goes),
        1 => node().prop_map(Event::TooLong),
        1 => (node(), intent).prop_map(|(node, intent)| Event::Intends(node, intent)),
        1 => (node(), 50_u32..200).prop_map(|(node, weight)| Event::Weighs(node, weight)),
        3 => node().prop_map(Event::Syncs),
        6 => Just(Event::Step),
    ]
}

impl Keeper {
    fn apply(&mut self, event: &Event) -> bool {
        match *event {
            Event::Comes(node) => self.comes(node),
            Event::Goes(node) => self.goes(node),
            Event::TooLong(node) if !self.facts.registered.contains_key(&NodeId(node)) => {
                self.facts.down_too_long.insert(NodeId(node));
            }
            Event::TooLong(_) => {}
            Event::Intends(node, intent) => self.intends(node, intent),
            Event::Weighs(node, weight) => {
                if let Some(record) = self.facts.members.get_mut(&NodeId(node)) {
                    record.weight = weight;
                }
            }
            Event::Syncs(node) => {
                self.facts.synced.insert(NodeId(node), self.view.epoch);
            }
            Event::Step => return self.step(),
        }
        false
    }
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

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn random_histories_keep_the_rules(
        replicas in 1_u8..=3,
        events in prop::collection::vec(event(), 1..60),
    ) {
        let mut keeper = Keeper::new(replicas, 32);
        let mut unfinalised = Unfinalised::default();
        for event in &events {
            let before = keeper.view.clone();
            if keeper.apply(event) {
                let view = &keeper.view;
                prop_assert_eq!(view.epoch.0, before.epoch.0 + 1);
                prop_assert!(view.since >= before.since && view.since <= view.epoch);
                prop_assert!(!view.ring.is_empty());
                // A dropped set was finalised by reports for the very configuration that ended.
                let acting = before.ring_up();
                let synced = |node| keeper.facts.synced.get(node) >= Some(&before.since);
                if view.open.len() < before.open.len() && view.since == before.since {
                    prop_assert!(acting.iter().all(synced));
                }
                let finalised = !before.open.is_empty() && acting.iter().all(synced)
                    && acting.len() >= before.write_quorum();
                if finalised {
                    unfinalised.0.values_mut().for_each(Vec::clear);
                    unfinalised.note(&View { open: Vec::new(), ..before.clone() });
                }
                unfinalised.note(view);
                unfinalised.check(view);
                prop_assert_eq!(&View::decode(&view.encode()).unwrap(), view);
            }
            for digest in digests().take(20) {
                let acting = keeper.view.acting(&digest);
                let distinct: BTreeSet<_> = acting.iter().collect();
                prop_assert_eq!(distinct.len(), acting.len());
                prop_assert!(acting.len() <= keeper.view.copies());
            }
        }
        // Left alone and reporting, it comes to rest with nothing open, if enough are there.
        keeper.settle();
        let up = keeper.view.ring_up().len();
        prop_assert!(keeper.view.open.is_empty() || up < keeper.view.write_quorum());
    }
}
