//! Where a write goes first, and the chain that is fed while its bytes still come in.

use atoll_core::{
    Digest,
    gc::GcEpoch,
    replication::{WritePlan, write_plan},
    view::{Epoch, NodeId, View},
};
use bytes::Bytes;

use super::{
    Replicator,
    outgoing::{Order, Outgoing},
};
use crate::{cluster::Cluster, config::Consistency};

/// Where a write goes first.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// The core's plan.
    pub(super) plan: WritePlan,
    /// Owners that are passed over, because they did not answer lately and W others are left.
    pub(super) passed_over: Vec<NodeId>,
}

impl Plan {
    pub(super) fn new(cluster: &Cluster, view: &View, digest: &Digest) -> Plan {
        let suspects = cluster.suspects();
        let plan = write_plan(view, digest, cluster.me(), &suspects);
        let (doubtful, trusted): (Vec<NodeId>, Vec<NodeId>) =
            plan.owners.iter().partition(|node| suspects.contains(node));
        let passed_over = if trusted.len() >= plan.owners_needed { doubtful } else { Vec::new() };
        Plan { plan, passed_over }
    }

    /// The owners to begin with, in the order of the chain.
    pub(super) fn first(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.plan.owners.iter().copied().filter(|node| !self.passed_over.contains(node))
    }

    /// Those among them that are other nodes.
    pub(super) fn hops(&self, me: NodeId) -> Vec<NodeId> {
        self.first().filter(|node| *node != me).collect()
    }
}

/// A chain that is fed while the bytes come in. Dropped, it leaves nothing at any hop.
#[derive(Debug)]
pub struct Early {
    epoch: Epoch,
    stamp: GcEpoch,
    pub(super) plan: Plan,
    pub(super) outgoing: Outgoing,
}

impl Early {
    /// The stamp that its copies get.
    pub fn stamp(&self) -> GcEpoch {
        self.stamp
    }

    /// Was it begun in this view, for copies with at least this stamp?
    pub(super) fn is_for(&self, view: &View, stamp: GcEpoch) -> bool {
        self.epoch == view.epoch && self.stamp >= stamp
    }

    /// Hands on the next bytes.
    pub async fn data(&mut self, bytes: Bytes) {
        self.outgoing.data(bytes).await;
    }
}

impl Replicator {
    /// Begins to send a blob to its owners while its bytes still come in. `None` when there is nobody
    /// to send to.
    pub fn begin_early(&self, digest: &Digest, size: Option<u64>, stamp: GcEpoch) -> Option<Early> {
        if self.is_alone() || self.settings().consistency == Consistency::Eventual {
            return None;
        }
        self.require_lease().ok()?;
        let view = self.cluster().view();
        let plan = Plan::new(self.cluster(), &view, digest);
        let hops = plan.hops(self.cluster().me());
        if hops.is_empty() {
            return None;
        }
        let order = Order::new(&view, digest, size, hops, stamp);
        let outgoing = Outgoing::begin(self.cluster(), &order);
        Some(Early { epoch: view.epoch, stamp, plan, outgoing })
    }
}
