//! Whom to ask, in which order.
//!
//! The core decides who owns a digest and who is preferred; here only what a client knows is added:
//! who failed a moment ago comes last, and behind the owners come others, who serve everything by
//! asking the owners, and the seeds, for when the addresses of the view lead nowhere.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use atoll_core::{
    replication::read_order,
    view::{NodeId, View},
};

use crate::{
    Digest,
    entropy::{Entropy, hash, mix},
};

/// Nodes that are asked behind the owners: enough for two of them to fail as well, few enough that
/// nobody walks through a thousand.
const OTHERS_MAX: usize = 2;

/// No node: the client is none of them.
const NOBODY: NodeId = NodeId(u16::MAX);

/// Which replica a pull asks first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReadPolicy {
    /// The one that everybody prefers for this digest: a hot blob is in one memory, not in three.
    #[default]
    Preferred,
    /// A random owner.
    RandomReplica,
    /// Every node in turn, as a load balancer that knows nothing would: for comparison.
    RoundRobin,
}

/// What a request is about, as far as its way depends on it.
#[derive(Clone, Debug)]
pub(crate) enum Aim {
    /// Reading a blob.
    Read(Digest),
    /// Writing a blob.
    Write(Digest),
    /// Anything else about a repository: spread by its name, so that what is cached about it is
    /// cached once.
    Name(String),
}

/// A [`ReadPolicy`] and what it remembers.
#[derive(Debug)]
pub(crate) struct Placement {
    policy: ReadPolicy,
    entropy: Arc<Entropy>,
    turn: AtomicUsize,
}

impl Placement {
    pub(crate) fn new(policy: ReadPolicy, entropy: Arc<Entropy>) -> Placement {
        let turn = AtomicUsize::new(entropy.below(1 << 16));
        Placement { policy, entropy, turn }
    }

    /// The members to ask, best first.
    pub(crate) fn order(&self, view: &View, aim: &Aim, suspects: &BTreeSet<NodeId>) -> Vec<NodeId> {
        let owners = match aim {
            Aim::Read(digest) => self.readers(view, digest, suspects),
            Aim::Write(digest) => view.acting(digest),
            Aim::Name(_) => Vec::new(),
        };
        with_others(view, owners, aim.key(), suspects)
    }

    fn readers(&self, view: &View, digest: &Digest, suspects: &BTreeSet<NodeId>) -> Vec<NodeId> {
        let mut order = read_order(view, digest, NOBODY, suspects);
        match self.policy {
            ReadPolicy::Preferred => {}
            ReadPolicy::RandomReplica => {
                let owners = view.acting(digest).len().min(order.len());
                for last in (1..owners).rev() {
                    order.swap(last, self.entropy.below(last + 1));
                }
            }
            ReadPolicy::RoundRobin => {
                order = view.members.keys().copied().filter(|node| view.is_up(*node)).collect();
                let turn = self.turn.fetch_add(1, Ordering::Relaxed);
                let turn = turn % order.len().max(1);
                order.rotate_left(turn);
                order.truncate(OTHERS_MAX + 1);
            }
        }
        order
    }
}

impl Aim {
    /// What spreads requests over nodes that are all alike.
    fn key(&self) -> u64 {
        match self {
            Aim::Read(digest) | Aim::Write(digest) => hash(&digest.hex()),
            Aim::Name(name) => hash(name),
        }
    }
}

fn with_others(
    view: &View,
    owners: Vec<NodeId>,
    key: u64,
    suspects: &BTreeSet<NodeId>,
) -> Vec<NodeId> {
    let mut others: Vec<NodeId> = view
        .members
        .keys()
        .copied()
        .filter(|node| view.is_up(*node) && !owners.contains(node))
        .collect();
    others.sort_by_key(|node| (suspects.contains(node), std::cmp::Reverse(weight(key, *node))));
    others.truncate(OTHERS_MAX + usize::from(owners.is_empty()));
    let mut order = owners;
    order.extend(others);
    order.sort_by_key(|node| (!view.is_up(*node), suspects.contains(node)));
    order
}

fn weight(key: u64, node: NodeId) -> u64 {
    mix(key ^ u64::from(node.0).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}
