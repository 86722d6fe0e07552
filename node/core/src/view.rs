//! The view: who is in the cluster, numbered by epoch and agreed by consensus.
//!
//! Views are totally ordered; everyone adopts the highest they hear of, never a lower. From a view
//! alone follows who owns a digest:
//! - its *placement* is the first R distinct nodes of the ring: where its copies belong;
//! - its *acting* owners are the first R distinct nodes that are up: who takes writes and answers
//!   for it now. Down is not out: a crash changes `acting` at once, the ring only later;
//! - its *open sets* are the acting owners of earlier views whose copies the present ones may not
//!   have yet. Reads and absence ask them too, until every new owner has reported that it is synced.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use serde::{Deserialize, Serialize};

pub use crate::ring::NodeId;
use crate::{Digest, ring::Ring};

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

/// A ring and who was up: all it takes to say who acted for a digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Configuration {
    /// The first view that had it.
    pub since: Epoch,
    /// The ring.
    pub ring: Arc<Ring>,
    /// Who was up.
    pub up: BTreeSet<NodeId>,
}

/// The cluster at one epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    /// Which cluster.
    pub cluster_id: String,
    /// Which view of it.
    pub epoch: Epoch,
    /// Copies that every blob should have (R), at least 1.
    pub replicas: u8,
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
    /// The first `replicas` distinct nodes clockwise of the digest that were up.
    pub fn acting(&self, digest: &Digest, replicas: usize) -> Vec<NodeId> {
        let point = self.ring.point_at(&crate::ring::position(digest));
        self.ring.walk(point, replicas, |node| self.up.contains(&node))
    }
}

impl View {
    /// Copies that a blob can have now: R, or the number of nodes in the ring if that is less.
    pub fn copies(&self) -> usize {
        usize::from(self.replicas).min(self.ring.nodes().count())
    }

    /// Durable copies at acting owners before a write is acknowledged (W): more than half of
    /// [`Self::copies`].
    pub fn write_quorum(&self) -> usize {
        self.copies() / 2 + 1
    }

    /// Owners of one set that must say "absent" before absence is believed: R − W + 1.
    pub fn negatives_needed(&self) -> usize {
        self.copies() - self.write_quorum() + 1
    }

    /// Where the copies of a digest belong, the master first.
    pub fn placement(&self, digest: &Digest) -> Vec<NodeId> {
        let point = self.ring.point_at(&crate::ring::position(digest));
        self.ring.walk(point, self.copies(), |_| true)
    }

    /// Who takes writes of a digest and answers for it now, the master first.
    pub fn acting(&self, digest: &Digest) -> Vec<NodeId> {
        let point = self.ring.point_at(&crate::ring::position(digest));
        self.ring.walk(point, self.copies(), |node| self.is_up(node))
    }

    /// The acting owners of every open configuration, oldest first.
    pub fn open_sets(&self, digest: &Digest) -> Vec<Vec<NodeId>> {
        let sets = self.open.iter();
        sets.map(|open| open.acting(digest, usize::from(self.replicas))).collect()
    }

    /// Does the member's session live?
    pub fn is_up(&self, node: NodeId) -> bool {
        self.members.get(&node).is_some_and(Member::is_up)
    }
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
            replicas: 1,
            members: BTreeMap::new(),
            ring: Arc::new(ring),
            open: Vec::new(),
            next_node: NodeId(2),
        }
    }
}
