//! Whom to give a blob to, and when enough of them have it.
//!
//! An acknowledgement needs W durable copies at acting owners, since absence is asked of owners,
//! and R durable copies in all, since R − 1 nodes may be lost. Stand-ins, the next live nodes
//! clockwise, make up the second number when an owner fails; never the first.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    Digest,
    ring::position,
    view::{NodeId, View},
};

/// Stand-ins that a plan names: when eight further nodes have failed too, asking more only keeps
/// the client waiting.
pub const STAND_INS_MAX: usize = 8;

/// Whom a blob goes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WritePlan {
    /// The acting owners, in the order of the chain: as the ring has them, those suspected last.
    pub owners: Vec<NodeId>,
    /// Who is asked, one by one, in place of an owner that fails.
    pub stand_ins: Vec<NodeId>,
    /// Owners that must have it (W).
    pub owners_needed: usize,
    /// Nodes that must have it: R, or all that are up in the ring if that is less; W at least.
    pub copies_needed: usize,
}

/// The plan for writing a blob: stand-ins are `me` first, which has the bytes already, then the
/// next nodes clockwise, those suspected last.
pub fn write_plan(
    view: &View,
    digest: &Digest,
    me: NodeId,
    suspects: &BTreeSet<NodeId>,
) -> WritePlan {
    let point = view.ring.point_at(&position(digest));
    let mut owners = view.acting(digest);
    let count = owners.len() + STAND_INS_MAX;
    let mut stand_ins = view.ring.walk(point, count, |node| view.is_up(node));
    stand_ins.retain(|node| !owners.contains(node));
    stand_ins.truncate(STAND_INS_MAX);
    if view.is_up(me) && view.ring.contains(me) && !owners.contains(&me) && !stand_ins.contains(&me)
    {
        stand_ins.pop();
        stand_ins.push(me);
    }
    let live = owners.len();
    owners.sort_by_key(|node| suspects.contains(node));
    stand_ins.sort_by_key(|node| (*node != me, suspects.contains(node)));
    let owners_needed = view.write_quorum();
    let copies_needed = view.copies().min(live).max(owners_needed);
    WritePlan { owners, stand_ins, owners_needed, copies_needed }
}

/// A write that cannot be acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{owners} of its owners can take the blob, {needed} are needed")]
pub struct TooFewCopies {
    /// Owners that have it or may still say so.
    pub owners: usize,
    /// W.
    pub needed: usize,
}

/// What the answers so far mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteVerdict {
    /// It is durable: 201.
    Enough,
    /// Too early to say; nobody else needs to be asked.
    Wait,
    /// This stand-in should be given the blob, with a hint; it counts as asked from now on.
    Ask(NodeId),
    /// It cannot become durable in this view: 503.
    Impossible(TooFewCopies),
}

/// Counts who has a blob durably.
#[derive(Clone, Debug)]
pub struct WriteTally {
    plan: WritePlan,
    asked: BTreeMap<NodeId, Answer>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Pending,
    Durable,
    Failed,
}

impl WriteTally {
    /// A tally of a plan whose owners have all been asked.
    pub fn new(plan: WritePlan) -> WriteTally {
        let asked = plan.owners.iter().map(|node| (*node, Answer::Pending)).collect();
        WriteTally { plan, asked }
    }

    /// The node has said that its copy is durable. A node of no plan is not counted.
    pub fn acked(&mut self, node: NodeId) {
        if let Some(answer) = self.asked.get_mut(&node) {
            *answer = Answer::Durable;
        }
    }

    /// The node has failed, refused or been given up. What it said to be durable stays so.
    pub fn failed(&mut self, node: NodeId) {
        if let Some(answer) = self.asked.get_mut(&node)
            && *answer == Answer::Pending
        {
            *answer = Answer::Failed;
        }
    }

    /// A node that was given up without being asked is asked after all.
    pub fn asked(&mut self, node: NodeId) {
        if let Some(answer) = self.asked.get_mut(&node)
            && *answer == Answer::Failed
        {
            *answer = Answer::Pending;
        }
    }

    /// What the answers so far mean. Asking again after [`WriteVerdict::Ask`] names the next.
    pub fn verdict(&mut self) -> WriteVerdict {
        let owners = |answer| self.count(answer, |node| self.plan.owners.contains(node));
        let all = |answer| self.count(answer, |_| true);
        let (needed, durable) = (self.plan.owners_needed, owners(Answer::Durable));
        let possible = durable + owners(Answer::Pending);
        if possible < needed {
            return WriteVerdict::Impossible(TooFewCopies { owners: possible, needed });
        }
        if durable >= needed && all(Answer::Durable) >= self.plan.copies_needed {
            return WriteVerdict::Enough;
        }
        if all(Answer::Durable) + all(Answer::Pending) < self.plan.copies_needed {
            let next = self.plan.stand_ins.iter().find(|node| !self.asked.contains_key(node));
            if let Some(node) = next.copied() {
                self.asked.insert(node, Answer::Pending);
                return WriteVerdict::Ask(node);
            }
        }
        // With nobody left to ask, those that have it are all that live: W suffice.
        let is_exhausted = all(Answer::Pending) == 0;
        if is_exhausted { WriteVerdict::Enough } else { WriteVerdict::Wait }
    }

    /// The nodes that have it.
    pub fn durable(&self) -> impl Iterator<Item = NodeId> + '_ {
        let has =
            |(node, answer): (&NodeId, &Answer)| (*answer == Answer::Durable).then_some(*node);
        self.asked.iter().filter_map(has)
    }

    /// The owners that do not have it: who a stand-in's hints are for.
    pub fn missing_owners(&self) -> impl Iterator<Item = NodeId> + '_ {
        let lacks = |node: &&NodeId| self.asked.get(node) != Some(&Answer::Durable);
        self.plan.owners.iter().filter(lacks).copied()
    }

    fn count(&self, answer: Answer, of: impl Fn(&NodeId) -> bool) -> usize {
        self.asked.iter().filter(|(node, given)| **given == answer && of(node)).count()
    }
}
