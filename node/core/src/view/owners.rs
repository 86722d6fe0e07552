//! The sets of owners that matter for one digest: who acts now, and who may know more.
//!
//! A set with `negatives` of its nodes saying "absent" cannot hold an acknowledged copy: an
//! acknowledgement took W of them, so `len − W + 1` leave fewer than W. When some nodes of the ring
//! were down the set is smaller and so is the number; this is what lets a cluster of three answer
//! "404" while one of them restarts. A set that had fewer than W nodes took no writes, but it still
//! counts with one negative, since what was synced into it may be nowhere else.
//!
//! An open set that is the same as one already asked, and needs no more negatives, adds nothing: it
//! is left out. Most digests therefore have no open set at all while one node comes and goes.

use super::{Configuration, NodeId, View, write_quorum};
use crate::{
    Digest,
    ring::{Position, position},
};

/// Owners of one digest in one configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnerSet {
    /// The nodes, the master first.
    pub nodes: Vec<NodeId>,
    /// How many of them must say "absent", and how many of them a new owner must pull from.
    pub negatives: usize,
}

impl OwnerSet {
    fn new(nodes: Vec<NodeId>, copies: usize) -> OwnerSet {
        let negatives = nodes.len() + 1 - write_quorum(copies).min(nodes.len());
        OwnerSet { negatives, nodes }
    }

    /// Does asking this set tell all that asking `other` would?
    fn covers(&self, other: &OwnerSet) -> bool {
        self.negatives >= other.negatives
            && self.nodes.len() == other.nodes.len()
            && other.nodes.iter().all(|node| self.nodes.contains(node))
    }
}

impl Configuration {
    fn owner_set_at(&self, at: &Position, replicas: u8) -> OwnerSet {
        OwnerSet::new(self.acting_at(at, usize::from(replicas)), self.copies(replicas))
    }
}

impl View {
    /// The acting owners of open configurations, oldest first, without those that are no different
    /// from the owners that act now.
    pub fn open_sets(&self, digest: &Digest) -> Vec<Vec<NodeId>> {
        self.open_sets_at(&position(digest)).into_iter().map(|set| set.nodes).collect()
    }

    /// As [`Self::open_sets`], for any place on the circle: what a new owner pulls its arcs from.
    pub fn open_sets_at(&self, at: &Position) -> Vec<OwnerSet> {
        let mut sets = self.absence_sets_at(at);
        sets.remove(0);
        sets
    }

    /// Every set that must deny a digest before its absence is believed: the acting owners first,
    /// then the open sets.
    ///
    /// An acting set that is empty can deny nothing; it is listed with one negative needed.
    pub fn absence_sets(&self, digest: &Digest) -> Vec<OwnerSet> {
        self.absence_sets_at(&position(digest))
    }

    /// As [`Self::absence_sets`], for any place on the circle.
    pub fn absence_sets_at(&self, at: &Position) -> Vec<OwnerSet> {
        let mut sets = vec![OwnerSet::new(self.acting_at(at), self.copies())];
        for open in &self.open {
            let set = open.owner_set_at(at, self.replicas);
            if !set.nodes.is_empty() && !sets.iter().any(|known| known.covers(&set)) {
                sets.push(set);
            }
        }
        sets
    }
}
