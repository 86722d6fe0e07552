//! One attempt to write a blob, in one view.

use std::collections::VecDeque;

use atoll_core::{
    Digest,
    gc::GcEpoch,
    replication::{WriteTally, WriteVerdict},
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
    early::{Early, Plan},
    error::{TooFewCopies, WriteError},
    outgoing::{Ack, Acks, Order, Outgoing},
    receive::same_owners,
};
use crate::{
    io::{Sometimes, plant::Plant},
    store::SealedUpload,
};

/// The copy of this node.
pub(super) enum Own {
    /// In memory, not on the disk.
    Memory(Bytes),
    /// In the spool.
    Sealed(SealedUpload),
    /// On its way to be durable, or there, or failed; seen by every attempt that comes after.
    Published(Published),
}

/// Why it is not durable, if it is not.
pub(super) type Published = Shared<BoxFuture<'static, Result<(), String>>>;

type Running = FuturesUnordered<BoxFuture<'static, Acks>>;

/// Why an attempt ended.
pub(super) enum Unwritten {
    /// Somebody is at this newer view.
    Stale(Epoch),
    /// It cannot be done.
    Failed(WriteError),
}

impl<E: Into<WriteError>> From<E> for Unwritten {
    fn from(error: E) -> Self {
        Unwritten::Failed(error.into())
    }
}

/// One attempt, in one view.
pub(super) struct Attempt<'a> {
    pub(super) replicator: &'a Replicator,
    pub(super) view: &'a View,
    pub(super) digest: &'a Digest,
    pub(super) bytes: &'a Bytewise,
    pub(super) stamp: GcEpoch,
}

impl Attempt<'_> {
    /// W owners and R copies in all.
    pub(super) async fn strong(
        &self,
        own: &mut Own,
        early: Option<Early>,
    ) -> Result<(), Unwritten> {
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
        let mut reserve = plan.passed_over.clone();
        self.begin(&plan, own, early, &mut running)?;
        loop {
            if Plant::AckFirstCopy.is_planted() && tally.durable().next().is_some() {
                return Ok(());
            }
            match tally.verdict() {
                WriteVerdict::Enough => return Ok(()),
                // Suspicion is only a hint: who was passed over may do very well.
                WriteVerdict::Impossible(_) if !reserve.is_empty() => {
                    missing.retain(|node| !reserve.contains(node));
                    for node in std::mem::take(&mut reserve) {
                        tally.asked(node);
                        running.push(self.send(vec![node], None));
                    }
                    continue;
                }
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
        Sometimes::StandInUsed.reached();
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
        if !same_owners(self.view, publishing.view(), &digest)
            && !Plant::AcceptStaleEpoch.is_planted()
        {
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
    pub(super) async fn eventual(&self, own: &mut Own) -> Result<(), Unwritten> {
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
