//! The view: who is in the cluster, numbered by epoch and agreed by consensus.
//!
//! Views are totally ordered; everyone adopts the highest they hear of, never a lower. From a view
//! alone follows who owns a digest:
//! - its *placement* is the first R distinct nodes of the ring: where its copies belong;
//! - its *acting* owners are the first R distinct nodes that are up: who takes writes and answers
//!   for it now. Down is not out: a crash changes `acting` at once, the ring only later;
//! - its *open sets* are the acting owners of earlier views whose copies the present ones may not
//!   have yet. Reads and absence ask them too, until every new owner has reported that it is synced.
//!
//! [`next`] decides what the next view is, [`codec`] how a view is written down.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use serde::{Deserialize, Serialize};

pub use crate::ring::NodeId;
use crate::{
    Digest,
    ring::{Position, Ring, allocator, paper, position},
};

pub mod arcs;
pub mod codec;
pub mod facts;
pub mod next;
pub mod owners;
pub mod plan;
#[cfg(test)]
pub(crate) mod tests;

pub use codec::InvalidView;
pub use facts::{Facts, Intent, MemberRecord, Registration};
pub use next::next;
pub use owners::OwnerSet;

/// The number of a view.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Epoch(pub u64);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// What a member is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum MemberState {
    /// Up, and not in the ring yet.
    Joining,
    /// Its session lives.
    Up,
    /// Its session has ended. It keeps its points until `down_out_interval` has passed.
    Down,
    /// Up, and out of the ring: others are fetching what it holds.
    Draining,
}

/// One node of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// The name it was given or drew.
    pub name: String,
    /// Which start of the node this is: larger each time.
    pub incarnation: u64,
    /// Where clients reach it, `host:port`.
    pub http: String,
    /// Where nodes reach it, `host:port`.
    pub grpc: String,
    /// Replicas are spread over zones.
    pub zone: String,
    /// Its share of the points, relative to others.
    pub weight: u32,
    /// What it is doing.
    pub state: MemberState,
}

impl Member {
    /// Does its session live?
    pub fn is_up(&self) -> bool {
        self.state != MemberState::Down
    }
}

/// How the points of the ring are placed: fixed when the cluster is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RingMode {
    /// Evenly spaced points that the allocator assigns.
    Assigned {
        /// How many, a power of two.
        points: u32,
    },
    /// Hashed identities, as the paper has it.
    Paper {
        /// How many for each node.
        identities: u16,
    },
}

impl Default for RingMode {
    fn default() -> RingMode {
        RingMode::Assigned { points: 1 << 16 }
    }
}

/// A ring and who was up: all it takes to say who acted for a digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Configuration {
    /// The first view that had it.
    pub since: Epoch,
    /// The ring.
    pub ring: Arc<Ring>,
    /// Which nodes of the ring were up.
    pub up: BTreeSet<NodeId>,
}

/// The cluster at one epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    /// Which cluster.
    pub cluster_id: String,
    /// Which view of it.
    pub epoch: Epoch,
    /// The epoch of the newest change of who acts for any digest. A node's report that it is synced
    /// counts when it was made for this view or a later one.
    pub since: Epoch,
    /// Copies that every blob should have (R), at least 1.
    pub replicas: u8,
    /// How points are placed.
    pub mode: RingMode,
    /// Every member, in or out of the ring.
    pub members: BTreeMap<NodeId, Member>,
    /// The ring.
    pub ring: Arc<Ring>,
    /// Earlier configurations that are not finalised, oldest first.
    pub open: Vec<Configuration>,
    /// The next number for a node that joins.
    pub next_node: NodeId,
}

impl Configuration {
    /// Copies that a blob could have: R, or the number of nodes in the ring if that is less.
    pub fn copies(&self, replicas: u8) -> usize {
        usize::from(replicas).min(self.ring.node_count())
    }

    /// The first `replicas` distinct nodes clockwise of the digest that were up.
    pub fn acting(&self, digest: &Digest, replicas: usize) -> Vec<NodeId> {
        self.acting_at(&position(digest), replicas)
    }

    /// As [`Self::acting`], for any place on the circle.
    pub fn acting_at(&self, at: &Position, replicas: usize) -> Vec<NodeId> {
        let replicas = replicas.min(self.ring.node_count());
        self.ring.walk(self.ring.point_at(at), replicas, |node| self.up.contains(&node))
    }
}

impl View {
    /// The first view of a cluster, with its first node up and alone in the ring.
    pub fn first(
        cluster_id: String,
        replicas: u8,
        mode: RingMode,
        me: NodeId,
        first: Member,
    ) -> View {
        let zone = first.zone.clone();
        let ring = match mode {
            RingMode::Assigned { points } => {
                let share = allocator::Share { weight: first.weight.max(1), zone };
                allocator::allocate(None, &[(me, share)].into(), points as usize, replicas.into())
            }
            RingMode::Paper { identities } => {
                paper::ring(&[(me, (first.http.clone(), zone))].into(), identities.max(1))
            }
        };
        View {
            cluster_id,
            epoch: Epoch(1),
            since: Epoch(1),
            replicas: replicas.max(1),
            mode,
            members: [(me, Member { state: MemberState::Up, ..first })].into(),
            ring: Arc::new(ring),
            open: Vec::new(),
            next_node: NodeId(me.0.saturating_add(1)),
        }
    }

    /// Copies that a blob can have now: R, or the number of nodes in the ring if that is less.
    pub fn copies(&self) -> usize {
        usize::from(self.replicas).min(self.ring.node_count())
    }

    /// Durable copies at acting owners before a write is acknowledged (W): more than half of
    /// [`Self::copies`].
    pub fn write_quorum(&self) -> usize {
        write_quorum(self.copies())
    }

    /// Owners of a whole set that must say "absent" before absence is believed: R − W + 1. What one
    /// set of a digest needs, when nodes are down too, says [`Self::absence_sets`].
    pub fn negatives_needed(&self) -> usize {
        self.copies() - self.write_quorum() + 1
    }

    /// Where the copies of a digest belong, the master first.
    pub fn placement(&self, digest: &Digest) -> Vec<NodeId> {
        self.placement_at(&position(digest))
    }

    /// As [`Self::placement`], for any place on the circle.
    pub fn placement_at(&self, at: &Position) -> Vec<NodeId> {
        self.ring.walk(self.ring.point_at(at), self.copies(), |_| true)
    }

    /// Who takes writes of a digest and answers for it now, the master first.
    pub fn acting(&self, digest: &Digest) -> Vec<NodeId> {
        self.acting_at(&position(digest))
    }

    /// As [`Self::acting`], for any place on the circle.
    pub fn acting_at(&self, at: &Position) -> Vec<NodeId> {
        self.ring.walk(self.ring.point_at(at), self.copies(), |node| self.is_up(node))
    }

    /// Does the member's session live?
    pub fn is_up(&self, node: NodeId) -> bool {
        self.members.get(&node).is_some_and(Member::is_up)
    }

    /// The nodes of the ring that are up: the acting owners of all digests together.
    pub fn ring_up(&self) -> BTreeSet<NodeId> {
        self.ring.nodes().filter(|node| self.is_up(*node)).collect()
    }
}

/// More than half of `copies`.
pub(crate) fn write_quorum(copies: usize) -> usize {
    copies / 2 + 1
}

#[cfg(test)]
impl View {
    /// A view to change the fields of.
    pub(crate) fn founding_for_tests() -> View {
        use crate::ring::Points;
        let me = NodeId(1);
        let ring =
            Ring::new(Points::Assigned { owners: vec![me; 2] }, [(me, String::new())].into());
        View {
            cluster_id: "test".to_owned(),
            epoch: Epoch(1),
            since: Epoch(1),
            replicas: 1,
            mode: RingMode::default(),
            members: BTreeMap::new(),
            ring: Arc::new(ring),
            open: Vec::new(),
            next_node: NodeId(2),
        }
    }
}
