//! When "it does not exist" may be said.
//!
//! Every set that could hold an acknowledged copy must deny it: the acting owners and each open set,
//! with as many negatives as leave fewer than W of them. A negative counts only from a node that
//! has adopted the asker's view *before* it looked; otherwise a write of an older view could still
//! land there afterwards. And the asker must hold a valid lease: a node that was cut off does not
//! know which sets there are by now.

use std::collections::BTreeSet;

use crate::{
    Digest,
    view::{NodeId, OwnerSet, View},
};

/// What the negatives so far mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AbsenceVerdict {
    /// No acknowledged copy exists: 404.
    Absent,
    /// Not known, and there is still someone to ask.
    Undecided,
    /// Not known, and it will not be: 503.
    Unknown,
}

/// Counts who denies a digest.
#[derive(Clone, Debug)]
pub struct AbsenceTally {
    sets: Vec<OwnerSet>,
    negative: BTreeSet<NodeId>,
    unreachable: BTreeSet<NodeId>,
}

impl AbsenceTally {
    /// Nobody has been asked yet.
    pub fn new(view: &View, digest: &Digest) -> AbsenceTally {
        AbsenceTally {
            sets: view.absence_sets(digest),
            negative: BTreeSet::new(),
            unreachable: BTreeSet::new(),
        }
    }

    /// The node does not hold it, and knew the view of this tally, or a newer one, before it looked.
    pub fn absent(&mut self, node: NodeId) {
        self.unreachable.remove(&node);
        self.negative.insert(node);
    }

    /// The node gave no answer.
    pub fn unreachable(&mut self, node: NodeId) {
        if !self.negative.contains(&node) {
            self.unreachable.insert(node);
        }
    }

    /// Nodes whose answer would help and who have not been asked, each once, owners first.
    pub fn to_ask(&self) -> Vec<NodeId> {
        let mut nodes = Vec::new();
        for set in self.sets.iter().filter(|set| !self.denies(set)) {
            for node in &set.nodes {
                let is_asked = self.negative.contains(node) || self.unreachable.contains(node);
                if !is_asked && !nodes.contains(node) {
                    nodes.push(*node);
                }
            }
        }
        nodes
    }

    /// What the negatives so far mean to an asker whose lease is valid or not.
    pub fn verdict(&self, lease_is_valid: bool) -> AbsenceVerdict {
        let is_reachable = |node: &&NodeId| !self.unreachable.contains(node);
        let can_deny =
            |set: &OwnerSet| set.nodes.iter().filter(is_reachable).count() >= set.negatives;
        if !lease_is_valid || !self.sets.iter().all(can_deny) {
            return AbsenceVerdict::Unknown;
        }
        let is_absent = self.sets.iter().all(|set| self.denies(set));
        if is_absent { AbsenceVerdict::Absent } else { AbsenceVerdict::Undecided }
    }

    fn denies(&self, set: &OwnerSet) -> bool {
        set.nodes.iter().filter(|node| self.negative.contains(node)).count() >= set.negatives
    }
}
