//! Writing a blob to its owners.
//!
//! The bytes are spooled and verified here first. If this node is an owner, its own copy is published
//! while the others are sent theirs, along one chain in ring order: each hop writes, forwards, hashes,
//! syncs, and acknowledgements travel back. A hop that dies takes nobody with it: the owners behind it
//! are sent to from the spool, and a stand-in takes its copy with a hint whom it is for.
//!
//! The rule: acknowledged is what W owners and R copies in all hold durably ([`WriteTally`] says
//! when), by a node whose lease is valid. Whatever else happens ends in an error, and what copies
//! there are stay invisible, because the link that shows a blob is written by the caller afterwards.

use std::{collections::VecDeque, time::Duration};

use atoll_core::{
    Digest,
    gc::GcEpoch,
    replication::{WritePlan, WriteTally, WriteVerdict, write_plan},
    view::{Epoch, NodeId, View},
};
use bytes::Bytes;
use futures_util::{
    FutureExt, StreamExt,
    future::{BoxFuture, Shared},
    stream::FuturesUnordered,
};
use tracing::debug;

use super::{
    Replicator,
    content::Bytewise,
    error::{Fenced, TooFewCopies, ViewLate, WriteError},
    outgoing::{Ack, Acks, Order, Outgoing},
    receive::same_owners,
};
use crate::{
    cluster::Cluster,
    config::Consistency,
    store::{BlobInfo, CommitError, SealedUpload, UploadWriter},
};

/// Times that a write begins again because somebody knew a newer view. Views change seldom; a write
/// that meets so many is better tried again by its client.
const VIEW_RETRIES: usize = 4;

/// How long a newer view may take to arrive here.
pub(super) const VIEW_TIMEOUT: Duration = Duration::from_secs(2);

/// The copy of this node.
enum Own {
    /// In memory, not on the disk.
    Memory(Bytes),
    /// In the spool.
    Sealed(SealedUpload),
    /// On its way to be durable, or there, or failed; seen by every attempt that comes after.
    Published(Published),
}

/// Why it is not durable, if it is not.
type Published = Shared<BoxFuture<'static, Result<(), String>>>;

type Running = FuturesUnordered<BoxFuture<'static, Acks>>;

impl Replicator {
    /// Ends an upload as the blob `digest`: verified, and durable at its owners, stamped with at least
    /// `stamp`. `early` is a chain that was fed the same bytes while they came in.
    ///
    /// # Errors
    /// The bytes are not that blob (the upload is over then), the disk failed, or too few owners
    /// could be reached.
    pub async fn commit(
        &self,
        writer: UploadWriter,
        digest: &Digest,
        early: Option<Early>,
        stamp: GcEpoch,
    ) -> Result<BlobInfo, WriteError> {
        if self.is_alone() {
            self.stamps().witness(stamp).await.map_err(CommitError::from)?;
            return Ok(writer.commit(digest).await?);
        }
        let sealed = writer.seal(digest).await?;
        let bytes = Bytewise::Sealed(sealed.bytes());
        self.write(digest, bytes, Own::Sealed(sealed), early, stamp).await
    }

    /// Stores a blob whose bytes are all here.
    ///
    /// # Errors
    /// As [`Self::commit`].
    pub async fn put(
        &self,
        digest: &Digest,
        bytes: Bytes,
        stamp: GcEpoch,
    ) -> Result<BlobInfo, WriteError> {
        if self.is_alone() {
            self.stamps().witness(stamp).await.map_err(CommitError::from)?;
            return Ok(self.tiers().store().put(digest, bytes).await?);
        }
        let computed = Digest::of(digest.algorithm(), &bytes);
        if computed != *digest {
            let mismatch = crate::store::DigestMismatch { expected: *digest, computed };
            return Err(CommitError::from(mismatch).into());
        }
        self.write(digest, Bytewise::Memory(bytes.clone()), Own::Memory(bytes), None, stamp).await
    }

    async fn write(
        &self,
        digest: &Digest,
        bytes: Bytewise,
        mut own: Own,
        mut early: Option<Early>,
        stamp: GcEpoch,
    ) -> Result<BlobInfo, WriteError> {
        let size = bytes.size();
        for _ in 0..VIEW_RETRIES {
            self.require_lease()?;
            let view = self.cluster().view();
            let early = early.take();
            let early = early.filter(|early| early.epoch == view.epoch && early.stamp >= stamp);
            let write = Write { replicator: self, view: &view, digest, bytes: &bytes, stamp };
            let written = match self.settings().consistency {
                Consistency::Strong => write.strong(&mut own, early).await,
                Consistency::Eventual => write.eventual(&mut own).await,
            };
            match written {
                Ok(()) => {
                    self.require_lease()?;
                    self.counters().writes.add(1);
                    return Ok(BlobInfo { digest: *digest, size });
                }
                Err(Unwritten::Stale(epoch)) => {
                    self.counters().stale_views.add(1);
                    let late = ViewLate { epoch };
                    self.cluster().at_least(epoch, VIEW_TIMEOUT).await.ok_or(late)?;
                }
                Err(Unwritten::Failed(error)) => {
                    self.counters().writes_failed.add(1);
                    return Err(error);
                }
            }
        }
        self.counters().writes_failed.add(1);
        Err(ViewLate { epoch: self.cluster().view().epoch }.into())
    }

    /// Is this node the whole cluster?
    pub fn is_alone(&self) -> bool {
        let view = self.cluster().view();
        view.copies() == 1 && view.members.len() == 1
    }

    pub(super) fn require_lease(&self) -> Result<(), Fenced> {
        if self.cluster().lease_is_valid() && self.cluster().is_seated() {
            return Ok(());
        }
        self.counters().fenced.add(1);
        Err(Fenced)
    }

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

/// Where a write goes first.
#[derive(Clone, Debug)]
struct Plan {
    plan: WritePlan,
    /// Owners that are passed over, because they did not answer lately and W others are left.
    passed_over: Vec<NodeId>,
}

impl Plan {
    fn new(cluster: &Cluster, view: &View, digest: &Digest) -> Plan {
        let suspects = cluster.suspects();
        let plan = write_plan(view, digest, cluster.me(), &suspects);
        let (doubtful, trusted): (Vec<NodeId>, Vec<NodeId>) =
            plan.owners.iter().partition(|node| suspects.contains(node));
        let passed_over = if trusted.len() >= plan.owners_needed { doubtful } else { Vec::new() };
        Plan { plan, passed_over }
    }

    /// The owners to begin with, in the order of the chain.
    fn first(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.plan.owners.iter().copied().filter(|node| !self.passed_over.contains(node))
    }

    /// Those among them that are other nodes.
    fn hops(&self, me: NodeId) -> Vec<NodeId> {
        self.first().filter(|node| *node != me).collect()
    }
}

/// A chain that is fed while the bytes come in. Dropped, it leaves nothing at any hop.
#[derive(Debug)]
pub struct Early {
    epoch: Epoch,
    stamp: GcEpoch,
    plan: Plan,
    outgoing: Outgoing,
}

impl Early {
    /// The stamp that its copies get.
    pub fn stamp(&self) -> GcEpoch {
        self.stamp
    }

    /// Hands on the next bytes.
    pub async fn data(&mut self, bytes: Bytes) {
        self.outgoing.data(bytes).await;
    }
}

/// Why an attempt ended.
enum Unwritten {
    /// Somebody is at this newer view.
    Stale(Epoch),
    Failed(WriteError),
}

impl<E: Into<WriteError>> From<E> for Unwritten {
    fn from(error: E) -> Self {
        Unwritten::Failed(error.into())
    }
}

/// One attempt, in one view.
struct Write<'a> {
    replicator: &'a Replicator,
    view: &'a View,
    digest: &'a Digest,
    bytes: &'a Bytewise,
    stamp: GcEpoch,
}

impl Write<'_> {
    async fn strong(&self, own: &mut Own, early: Option<Early>) -> Result<(), Unwritten> {
        let replicator = self.replicator;
        let plan = match &early {
            Some(early) => early.plan.clone(),
            None => Plan::new(replicator.cluster(), self.view, self.digest),
        };
        let mut tally = WriteTally::new(plan.plan.clone());
        let mut running = Running::new();
        let mut reasons = Vec::new();
        // Owners without a copy that nobody stands in for yet.
        let mut missing: VecDeque<NodeId> = plan.passed_over.iter().copied().collect();
        missing.iter().for_each(|node| tally.failed(*node));
        self.begin(&plan, own, early, &mut running)?;
        loop {
            match tally.verdict() {
                WriteVerdict::Enough => return Ok(()),
                WriteVerdict::Impossible(_) => return Err(self.too_few(&tally, reasons).into()),
                WriteVerdict::Ask(node) => {
                    let owner = missing.pop_front();
                    self.begin_stand_in(node, owner, own, &mut running).await?;
                    continue;
                }
                WriteVerdict::Wait => {}
            }
            let Some(acks) = running.next().await else {
                return Err(self.too_few(&tally, reasons).into());
            };
            let mut untried = Vec::new();
            for (node, ack) in acks {
                match ack {
                    Ack::Durable => tally.acked(node),
                    Ack::NotTried => untried.push(node),
                    Ack::Stale(epoch) => return Err(Unwritten::Stale(epoch)),
                    Ack::Failed(reason) => {
                        debug!(digest = %self.digest, %node, reason, "a copy was not written");
                        reasons.push(format!("node {node}: {reason}"));
                        replicator.counters().failovers.add(1);
                        tally.failed(node);
                        if plan.plan.owners.contains(&node) {
                            missing.push_back(node);
                        }
                    }
                }
            }
            if !untried.is_empty() {
                running.push(self.send(untried, None));
            }
        }
    }

    /// Starts this node's own copy and the chain of the others.
    fn begin(
        &self,
        plan: &Plan,
        own: &mut Own,
        early: Option<Early>,
        running: &mut Running,
    ) -> Result<(), Unwritten> {
        let me = self.replicator.cluster().me();
        if plan.first().any(|node| node == me) {
            running.push(self.publish(own)?);
        }
        let hops = plan.hops(me);
        match early {
            Some(early) => running.push(Box::pin(early.outgoing.finish())),
            None if hops.is_empty() => {}
            None => running.push(self.send(hops, None)),
        }
        Ok(())
    }

    async fn begin_stand_in(
        &self,
        node: NodeId,
        owner: Option<NodeId>,
        own: &mut Own,
        running: &mut Running,
    ) -> Result<(), Unwritten> {
        let replicator = self.replicator;
        replicator.counters().stand_ins.add(1);
        debug!(digest = %self.digest, %node, ?owner, "a node stands in for an owner");
        // With fewer live owners than copies nobody is missing: the placement says who is owed.
        let owner = owner.or_else(|| self.view.placement(self.digest).first().copied());
        if node != replicator.cluster().me() {
            running.push(self.send(vec![node], owner));
            return Ok(());
        }
        if let Some(owner) = owner {
            replicator.note_hint(owner, self.digest).await?;
        }
        running.push(self.publish(own)?);
        Ok(())
    }

    fn send(&self, hops: Vec<NodeId>, hint_for: Option<NodeId>) -> BoxFuture<'static, Acks> {
        let size = Some(self.bytes.size());
        let mut order = Order::new(self.view, self.digest, size, hops, self.stamp);
        order.hint_for = hint_for;
        let outgoing = Outgoing::begin(self.replicator.cluster(), &order);
        let bytes = self.bytes.clone();
        Box::pin(async move { outgoing.send_all(&bytes).await })
    }

    /// Publishes this node's own copy, if the owners are still those of the view it was planned in.
    fn publish(&self, own: &mut Own) -> Result<BoxFuture<'static, Acks>, Unwritten> {
        let (replicator, digest) = (self.replicator.clone(), *self.digest);
        let me = replicator.cluster().me();
        let publishing = replicator.cluster().begin_publish();
        if !same_owners(self.view, publishing.view(), &digest) {
            return Err(Unwritten::Stale(publishing.view().epoch));
        }
        let unpublished = std::mem::replace(own, Own::Memory(Bytes::new()));
        let published = match unpublished {
            Own::Published(published) => published,
            unpublished => {
                let stamp = self.stamp;
                let publish = async move {
                    let witnessed = replicator.stamps().witness(stamp).await;
                    witnessed.map_err(|error| error.to_string())?;
                    let published = match unpublished {
                        Own::Memory(bytes) => replicator.tiers().store().put(&digest, bytes).await,
                        Own::Sealed(sealed) => sealed.publish().await,
                        Own::Published(published) => return published.await,
                    };
                    drop(publishing);
                    published.map(|_| ()).map_err(|error| error.to_string())
                };
                publish.boxed().shared()
            }
        };
        *own = Own::Published(published.clone());
        Ok(Box::pin(async move {
            let ack = published.await.map_or_else(Ack::Failed, |()| Ack::Durable);
            vec![(me, ack)]
        }))
    }

    fn too_few(&self, tally: &WriteTally, reasons: Vec<String>) -> TooFewCopies {
        TooFewCopies {
            digest: *self.digest,
            copies: tally.durable().count(),
            owners_needed: self.view.write_quorum(),
            reasons,
        }
    }

    /// One durable copy at an owner, and a record for each of the others.
    async fn eventual(&self, own: &mut Own) -> Result<(), Unwritten> {
        let replicator = self.replicator;
        let me = replicator.cluster().me();
        let plan = Plan::new(replicator.cluster(), self.view, self.digest);
        let mut order: Vec<NodeId> = plan.first().collect();
        order.sort_by_key(|node| *node != me);
        let mut reasons = Vec::new();
        for node in order {
            let acks = if node == me {
                self.publish(own)?.await
            } else {
                self.send(vec![node], None).await
            };
            match acks.into_iter().next() {
                Some((_, Ack::Durable)) => {
                    let others = plan.plan.owners.iter().filter(|owner| **owner != node);
                    for owner in others {
                        replicator.note_outbox(*owner, self.digest).await?;
                    }
                    return Ok(());
                }
                Some((_, Ack::Stale(epoch))) => return Err(Unwritten::Stale(epoch)),
                Some((_, Ack::Failed(reason))) => reasons.push(format!("node {node}: {reason}")),
                Some((_, Ack::NotTried)) | None => {}
            }
        }
        let (digest, copies) = (*self.digest, 0);
        Err(TooFewCopies { digest, copies, owners_needed: 1, reasons }.into())
    }
}
