//! Is a blob there, and is it kept? Questions to its owners.
//!
//! One owner that has it is enough to say yes. To say no takes R − W + 1 owners of the acting set and
//! of every open set, each asked at a view that is no older than this node's, and a valid lease:
//! then no acknowledged write can have been missed. Anything between is "not known", which clients
//! are told to ask again about.

use std::collections::BTreeMap;

use atoll_core::{
    Digest,
    replication::{AbsenceTally, AbsenceVerdict},
    view::{Epoch, NodeId, View},
};
use futures_util::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use tonic::Status;

use super::{
    Replicator,
    client::{DIGESTS_MAX, Holding, Peer},
};
use crate::{
    io::{Sometimes, plant::Plant},
    store::ReadError,
};

/// Whether a blob is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// A node has a good copy of this many bytes.
    Present(u64),
    /// No acknowledged write of it exists.
    Absent,
    /// Nobody may say.
    Unknown,
}

/// What became of pins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pinned {
    /// Blobs of which there is no acknowledged write.
    pub absent: Vec<Digest>,
    /// Blobs with fewer than W copies that can be reached now.
    pub out_of_reach: Vec<Digest>,
}

/// What a node says that it holds, and the epoch of its view when it looked.
type Answer = (NodeId, Result<(Vec<Holding>, Epoch), Status>);
type Answers = FuturesUnordered<BoxFuture<'static, Answer>>;

impl Replicator {
    /// What this node itself holds.
    pub async fn holding(&self, digest: &Digest) -> Holding {
        match self.tiers().store().stat(digest).await {
            Ok(Some(info)) => Holding::Present(info.size),
            Ok(None) => Holding::Absent,
            Err(ReadError::Corrupt(_) | ReadError::Damaged(_)) => Holding::Unknown,
            Err(ReadError::Io(_) | ReadError::OverLimit(_)) => Holding::Unknown,
        }
    }

    /// Looks for a blob.
    pub async fn find(&self, digest: &Digest) -> Presence {
        let own = self.holding(digest).await;
        if let Holding::Present(size) = own {
            return Presence::Present(size);
        }
        if self.is_alone() {
            return if own == Holding::Absent { Presence::Absent } else { Presence::Unknown };
        }
        let (view, me) = (self.cluster().view(), self.cluster().me());
        let mut tally = AbsenceTally::new(&view, digest);
        match own {
            Holding::Absent if Plant::AbsenceFromOne.is_planted() => return Presence::Absent,
            Holding::Absent => tally.absent(me),
            _ => tally.unreachable(me),
        }
        let mut answers = Answers::new();
        for node in self.peers_in_order(digest) {
            answers.push(self.ask_have(node, vec![*digest]));
        }
        while let Some((node, answer)) = answers.next().await {
            match answer {
                Ok((held, epoch)) => match held.first() {
                    Some(Holding::Present(size)) => return Presence::Present(*size),
                    Some(Holding::Absent) if Plant::AbsenceFromOne.is_planted() => {
                        return Presence::Absent;
                    }
                    Some(Holding::Absent) if epoch >= view.epoch => tally.absent(node),
                    _ => tally.unreachable(node),
                },
                Err(_) => {
                    self.counters().failovers.add(1);
                    tally.unreachable(node);
                }
            }
        }
        let lease_is_valid = self.require_lease().is_ok();
        let is_same_view = self.cluster().view().epoch == view.epoch;
        match tally.verdict(lease_is_valid) {
            AbsenceVerdict::Absent if is_same_view => {
                if !view.open.is_empty() {
                    Sometimes::OpenSetConsulted.reached();
                }
                Presence::Absent
            }
            AbsenceVerdict::Absent | AbsenceVerdict::Undecided | AbsenceVerdict::Unknown => {
                Sometimes::AbsenceUnknown.reached();
                Presence::Unknown
            }
        }
    }

    fn ask_have(&self, node: NodeId, digests: Vec<Digest>) -> BoxFuture<'static, Answer> {
        let cluster = self.cluster().clone();
        Box::pin(async move { (node, Peer::new(&cluster, node).have(&digests).await) })
    }

    /// Pins blobs at all their owners, so that no collection that began before removes them, and
    /// makes sure that W owners have each: owners that lack one are told to get it.
    pub async fn pin(&self, digests: &[Digest], stamp: u64) -> Pinned {
        let view = self.cluster().view();
        let mut pinned = Pinned::default();
        for digests in digests.chunks(DIGESTS_MAX) {
            self.pin_some(&view, digests, stamp, &mut pinned).await;
        }
        pinned
    }

    async fn pin_some(&self, view: &View, digests: &[Digest], stamp: u64, pinned: &mut Pinned) {
        let mut of_owner: BTreeMap<NodeId, Vec<Digest>> = BTreeMap::new();
        for digest in digests {
            for owner in view.acting(digest) {
                of_owner.entry(owner).or_default().push(*digest);
            }
        }
        let mut answers = FuturesUnordered::new();
        for (owner, digests) in of_owner {
            answers.push(async move {
                let answer = self.pin_at(owner, &digests, stamp).await;
                (owner, digests, answer)
            });
        }
        let mut present: BTreeMap<Digest, usize> = BTreeMap::new();
        let mut lacking: BTreeMap<Digest, Vec<NodeId>> = BTreeMap::new();
        while let Some((owner, digests, answer)) = answers.next().await {
            let Ok((held, _)) = answer else { continue };
            for (digest, holding) in digests.into_iter().zip(held) {
                match holding {
                    Holding::Present(_) => *present.entry(digest).or_default() += 1,
                    Holding::Absent | Holding::Unknown => {
                        lacking.entry(digest).or_default().push(owner);
                    }
                }
            }
        }
        drop(answers);
        for digest in digests {
            let copies = present.get(digest).copied().unwrap_or_default();
            let lacking = lacking.remove(digest).unwrap_or_default();
            if copies >= view.write_quorum() {
                continue;
            }
            self.pin_after_repair(view, digest, stamp, copies, lacking, pinned).await;
        }
    }

    /// Fewer than W owners have the blob: the others get it, if anybody has.
    async fn pin_after_repair(
        &self,
        view: &View,
        digest: &Digest,
        stamp: u64,
        mut copies: usize,
        lacking: Vec<NodeId>,
        pinned: &mut Pinned,
    ) {
        let may_be_absent = copies == 0 || Plant::AbsenceFromOne.is_planted();
        if may_be_absent && self.find(digest).await == Presence::Absent {
            pinned.absent.push(*digest);
            return;
        }
        for owner in lacking {
            let pulled = if owner == self.cluster().me() {
                self.pull(digest).await.is_ok()
            } else {
                Peer::new(self.cluster(), owner).fetch(digest).await.is_ok()
            };
            if !pulled {
                continue;
            }
            self.counters().read_repairs.add(1);
            let pinned = self.pin_at(owner, &[*digest], stamp).await;
            let is_present =
                |held: &Vec<Holding>| matches!(held.first(), Some(Holding::Present(_)));
            if pinned.is_ok_and(|(held, _)| is_present(&held)) {
                copies += 1;
            }
        }
        if copies < view.write_quorum() {
            pinned.out_of_reach.push(*digest);
        }
    }

    async fn pin_at(
        &self,
        owner: NodeId,
        digests: &[Digest],
        stamp: u64,
    ) -> Result<(Vec<Holding>, Epoch), Status> {
        if owner != self.cluster().me() {
            return Peer::new(self.cluster(), owner).pin(digests, stamp).await;
        }
        let held = self.stamps().pin(self, digests, stamp).await;
        Ok((held, self.cluster().view().epoch))
    }
}
