//! The reference of a cluster: the facts, and the view that they lead to, told as rules on sets of
//! nodes. Which points a ring has is left to the allocator, which has tests of its own.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use proptest::{prelude::*, sample::select};
use proptest_state_machine::ReferenceStateMachine;

use super::{super::*, KEEPERS};
use crate::{ring::allocator::Share, view::next::OPEN_MAX};

/// Most nodes of a cluster.
const NODES_MAX: u16 = 6;
/// Points of its ring.
pub const POINTS: u32 = 32;

/// Something that happens to a cluster.
#[derive(Clone, Debug)]
pub enum Event {
    /// A session begins.
    Comes(u16),
    /// A session ends.
    Goes(u16),
    /// A node has been down for long.
    TooLong(u16),
    /// An operator wants something of a node.
    Intends(u16, Intent),
    /// An operator gives a node a weight.
    Weighs(u16, u32),
    /// A node reports that it holds all it owns in the present view.
    Syncs(u16),
    /// A keeper reads view and facts, and plans.
    Plans(usize),
    /// A keeper writes what it has planned.
    Commits(usize),
}

/// What the view should say.
#[derive(Clone, Debug, PartialEq)]
pub struct Cluster {
    /// As in a view.
    pub epoch: Epoch,
    /// As in a view.
    pub since: Epoch,
    /// What each member is doing.
    states: BTreeMap<NodeId, MemberState>,
    /// The weights that the ring was made with, or will be.
    weights: BTreeMap<NodeId, u32>,
    /// As in a view.
    pub ring: Arc<Ring>,
    /// As in a view.
    pub open: Vec<Configuration>,
    /// As in a view.
    pub next_node: NodeId,
    replicas: usize,
}

/// The reference.
#[derive(Clone)]
pub struct Reference {
    /// What nodes and operators say.
    pub facts: Facts,
    /// The present view.
    pub cluster: Cluster,
    /// Was it a commit that came last, and was it taken?
    pub is_committed: bool,
    /// What each keeper has planned and not written, and from which epoch.
    plans: BTreeMap<usize, (Epoch, Option<Cluster>)>,
}

impl Cluster {
    fn first(replicas: u8) -> Cluster {
        let me = NodeId(1);
        let shares = [(me, Share { weight: 100, zone: String::new() })].into();
        Cluster {
            epoch: Epoch(1),
            since: Epoch(1),
            states: [(me, MemberState::Up)].into(),
            weights: [(me, 100)].into(),
            ring: Arc::new(allocator::allocate(None, &shares, POINTS as usize, replicas.into())),
            open: Vec::new(),
            next_node: NodeId(2),
            replicas: replicas.into(),
        }
    }

    /// What each member is doing, and its weight.
    pub fn members(&self) -> BTreeMap<NodeId, (MemberState, u32)> {
        self.states.iter().map(|(node, state)| (*node, (*state, self.weights[node]))).collect()
    }

    fn in_ring(&self) -> BTreeSet<NodeId> {
        self.ring.nodes().collect()
    }

    /// Who acts: up, and in the ring.
    fn acting(&self) -> BTreeSet<NodeId> {
        let is_up =
            |node: &NodeId| self.states.get(node).is_some_and(|it| *it != MemberState::Down);
        self.in_ring().into_iter().filter(is_up).collect()
    }

    /// Are those who act enough to take writes?
    fn has_quorum(&self) -> bool {
        self.acting().len() > self.replicas.min(self.in_ring().len()) / 2
    }

    /// Has everyone who acts reported since the newest change of who acts?
    fn is_finalised(&self, facts: &Facts) -> bool {
        let reported = |node: &NodeId| facts.synced.get(node) >= Some(&self.since);
        self.has_quorum() && self.acting().iter().all(reported)
    }

    /// The view that should follow.
    fn next(&self, facts: &Facts) -> Option<Cluster> {
        let mut new = self.clone();
        if self.is_finalised(facts) {
            new.open.clear();
        }
        for (node, record) in &facts.members {
            new.next_node = new.next_node.max(NodeId(node.0 + 1));
            let may_enter = facts.registered.contains_key(node) && record.intent != Intent::Removed;
            if may_enter && !self.states.contains_key(node) {
                new.states.insert(*node, MemberState::Joining);
                new.weights.insert(*node, record.weight);
            }
        }
        new.move_points(facts);
        new.name_states(facts);
        new.keep_open(self);
        new.forget_removed(facts);
        if new == *self {
            return None;
        }
        new.epoch = Epoch(self.epoch.0 + 1);
        if new.ring != self.ring || new.acting() != self.acting() {
            new.since = new.epoch;
        }
        Some(new)
    }

    /// Who should be in the ring, were nothing in the way.
    fn wanted(&self, facts: &Facts, may_come: bool) -> BTreeSet<NodeId> {
        let is_here = |node: &NodeId| facts.registered.contains_key(node);
        let mut wanted = self.in_ring();
        if may_come {
            wanted.extend(self.states.keys().filter(|node| is_here(node)));
        }
        wanted.retain(|node| facts.members[node].intent == Intent::In);
        let lost = |node: &NodeId| facts.down_too_long.contains(node) && !is_here(node);
        let (gone, rest): (BTreeSet<_>, BTreeSet<_>) = wanted.iter().copied().partition(lost);
        if !gone.is_empty() && rest.len() >= self.replicas { rest } else { wanted }
    }

    fn move_points(&mut self, facts: &Facts) {
        let present = self.in_ring();
        let is_free =
            self.open.iter().all(|open| open.ring == self.ring) && self.open.len() < OPEN_MAX;
        let nodes = self.wanted(facts, is_free);
        if nodes.is_empty() {
            return;
        }
        let mut weights = self.weights.clone();
        if is_free {
            weights.extend(nodes.iter().map(|node| (*node, facts.members[node].weight)));
        }
        if nodes == present && weights == self.weights {
            return;
        }
        let share = |node: &NodeId| Share { weight: weights[node], zone: String::new() };
        let shares = nodes.iter().map(|node| (*node, share(node))).collect();
        let ring = allocator::allocate(Some(&self.ring), &shares, POINTS as usize, self.replicas);
        (self.ring, self.weights) = (Arc::new(ring), weights);
    }

    fn name_states(&mut self, facts: &Facts) {
        let in_ring = self.in_ring();
        let is_full = self.open.len() >= OPEN_MAX;
        for (node, state) in &mut self.states {
            let was_down = *state == MemberState::Down;
            *state = if !facts.registered.contains_key(node) {
                MemberState::Down
            } else if in_ring.contains(node) {
                if is_full && was_down { MemberState::Down } else { MemberState::Up }
            } else if facts.members[node].intent == Intent::In {
                MemberState::Joining
            } else {
                MemberState::Draining
            };
        }
    }

    /// What took writes until now stays open, each configuration once, the present one never.
    fn keep_open(&mut self, old: &Cluster) {
        let is =
            |open: &Configuration, of: &Cluster| open.ring == of.ring && open.up == of.acting();
        let is_known = self.open.iter().any(|open| is(open, old));
        if old.has_quorum() && !is_known {
            let (since, ring, up) = (old.since, old.ring.clone(), old.acting());
            self.open.push(Configuration { since, ring, up });
        }
        self.open = std::mem::take(&mut self.open).into_iter().filter(|it| !is(it, self)).collect();
    }

    /// A removed node goes when no set of owners names it.
    fn forget_removed(&mut self, facts: &Facts) {
        let mut needed = self.in_ring();
        needed.extend(self.open.iter().flat_map(|open| open.up.iter().copied()));
        let stays =
            |node: &NodeId| facts.members[node].intent != Intent::Removed || needed.contains(node);
        self.states.retain(|node, _| stays(node));
        self.weights.retain(|node, _| stays(node));
    }
}

/// A failure prints where a history began: one node, which no page of points describes better.
impl fmt::Debug for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} members, R={}", self.cluster.states.len(), self.replicas())
    }
}

impl Reference {
    fn new(replicas: u8) -> Reference {
        let facts = Keeper::new(replicas, POINTS).facts;
        let cluster = Cluster::first(replicas);
        Reference { facts, cluster, plans: BTreeMap::new(), is_committed: false }
    }

    /// Copies that every blob should have.
    pub fn replicas(&self) -> u8 {
        self.cluster.replicas as u8
    }

    fn plan(&mut self, keeper: usize) {
        self.plans.insert(keeper, (self.cluster.epoch, self.cluster.next(&self.facts)));
    }

    /// A plan counts only for the very view it was made from.
    fn commit(&mut self, keeper: usize) {
        if let Some((base, Some(next))) = self.plans.remove(&keeper)
            && base == self.cluster.epoch
        {
            (self.cluster, self.is_committed) = (next, true);
        }
    }
}

fn record(facts: &mut Facts, node: u16) -> &mut MemberRecord {
    facts.members.get_mut(&NodeId(node)).expect("only nodes with a record are told anything")
}

impl ReferenceStateMachine for Reference {
    type State = Reference;
    type Transition = Event;

    fn init_state() -> BoxedStrategy<Reference> {
        (1_u8..=3).prop_map(Reference::new).boxed()
    }

    fn transitions(state: &Reference) -> BoxedStrategy<Event> {
        let node = || 1..=NODES_MAX;
        let known = || select(state.facts.members.keys().map(|node| node.0).collect::<Vec<_>>());
        let intent = select(vec![Intent::In, Intent::Draining, Intent::Removed]);
        let keeper = || 0..KEEPERS;
        prop_oneof![
            3 => node().prop_map(Event::Comes),
            2 => known().prop_map(Event::Goes),
            1 => known().prop_map(Event::TooLong),
            1 => (known(), intent).prop_map(|(node, intent)| Event::Intends(node, intent)),
            1 => (known(), 50_u32..200).prop_map(|(node, weight)| Event::Weighs(node, weight)),
            4 => known().prop_map(Event::Syncs),
            6 => keeper().prop_map(Event::Plans),
            6 => keeper().prop_map(Event::Commits),
        ]
        .boxed()
    }

    /// Only nodes that were there once have a record; only what was planned is written; only who is
    /// away can be away for long.
    fn preconditions(state: &Reference, event: &Event) -> bool {
        let facts = &state.facts;
        let is_known = |node: u16| facts.members.contains_key(&NodeId(node));
        match *event {
            Event::Comes(_) | Event::Plans(_) => true,
            Event::Goes(node) | Event::TooLong(node) | Event::Syncs(node) if !is_known(node) => {
                false
            }
            Event::Intends(node, _) | Event::Weighs(node, _) => is_known(node),
            Event::Goes(node) | Event::Syncs(node) => facts.registered.contains_key(&NodeId(node)),
            Event::TooLong(node) => !facts.registered.contains_key(&NodeId(node)),
            Event::Commits(keeper) => state.plans.contains_key(&keeper),
        }
    }

    fn apply(mut state: Reference, event: &Event) -> Reference {
        let facts = &mut state.facts;
        state.is_committed = false;
        match *event {
            Event::Comes(node) => facts.comes(node),
            Event::Goes(node) => drop(facts.registered.remove(&NodeId(node))),
            Event::TooLong(node) => drop(facts.down_too_long.insert(NodeId(node))),
            Event::Intends(node, intent) => record(facts, node).intent = intent,
            Event::Weighs(node, weight) => record(facts, node).weight = weight,
            Event::Syncs(node) => drop(facts.synced.insert(NodeId(node), state.cluster.epoch)),
            Event::Plans(keeper) => state.plan(keeper),
            Event::Commits(keeper) => state.commit(keeper),
        }
        state
    }
}
