//! Bytes of a blob from its owners, whichever of them answers.
//!
//! An owner that refuses the connection is passed over at once; one that sends no first byte for
//! longer than most do is hedged: a second is asked, and whoever is first wins. Extra questions are
//! bounded to one in twenty reads, so that a cluster that is slow as a whole is not asked twice as
//! much for it.

use std::{collections::BTreeSet, sync::Arc};

use atoll_core::{Digest, digest::Hasher, view::NodeId};
use atoll_proto::blobs::v1::GetPart;
use bytes::Bytes;
use futures_util::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use tonic::{Code, Status, Streaming};
use tracing::{debug, warn};

use super::{
    Replicator,
    client::{Peer, next_bytes},
    error::{FetchError, OutOfReach, WrongBytes},
    outgoing::brief,
    read::RemoteBlob,
};
use crate::io::{Sometimes, plant::Plant};

/// Of so many reads one may ask a second owner.
const READS_PER_HEDGE: u64 = 20;

/// Hedges that a node may make before it has counted that many reads.
const HEDGES_FREE: u64 = 8;

/// Rounds over the owners that one answer may take: an owner that broke off may be back.
const ROUNDS_MAX: usize = 3;

/// A stretch of a blob that comes from other nodes.
#[derive(Debug)]
pub struct RemoteStream {
    replicator: Replicator,
    digest: Digest,
    size: u64,
    start: u64,
    at: u64,
    end: u64,
    from: Option<(NodeId, Streaming<GetPart>)>,
    /// What came with the beginning of `from`.
    first: Option<Bytes>,
    /// Of a blob that is read whole.
    hasher: Option<Hasher>,
    /// Owners that were tried in this round.
    tried: BTreeSet<NodeId>,
    rounds: usize,
    has_begun: bool,
    reasons: Vec<String>,
}

type Begun = Result<(Bytes, Streaming<GetPart>), Status>;
type Attempts = FuturesUnordered<BoxFuture<'static, (NodeId, Begun)>>;

impl RemoteStream {
    /// Reads `[start, end)`.
    pub(super) fn new(blob: &RemoteBlob, start: u64, end: u64) -> RemoteStream {
        let is_whole = start == 0 && end == blob.size;
        RemoteStream {
            replicator: blob.replicator.clone(),
            digest: blob.digest,
            size: blob.size,
            start,
            at: start,
            end,
            from: None,
            first: None,
            hasher: is_whole.then(|| blob.digest.algorithm().hasher()),
            tried: BTreeSet::new(),
            rounds: 0,
            has_begun: false,
            reasons: Vec::new(),
        }
    }

    /// Does not ask these nodes first, whose bytes were wrong before.
    pub(super) fn avoiding(mut self, nodes: &BTreeSet<NodeId>) -> RemoteStream {
        self.tried.extend(nodes);
        self
    }

    /// Bytes still to come.
    pub fn remaining(&self) -> u64 {
        self.end - self.at
    }

    /// The next bytes, never empty; `None` at the end.
    ///
    /// # Errors
    /// Nobody has them who can be reached, or the whole turned out not to be the blob.
    pub async fn next(&mut self) -> Result<Option<Bytes>, FetchError> {
        loop {
            if self.at == self.end {
                return Ok(None);
            }
            let next = match (self.first.take(), &mut self.from) {
                (Some(bytes), _) => Ok(bytes),
                (None, Some((_, parts))) => next_bytes(parts).await,
                (None, None) => {
                    self.begin().await?;
                    continue;
                }
            };
            match next {
                Ok(bytes) => return self.take(bytes).map(Some),
                Err(status) => self.broke_off(&status),
            }
        }
    }

    fn take(&mut self, bytes: Bytes) -> Result<Bytes, FetchError> {
        let node = self.from.as_ref().map(|(node, _)| *node).unwrap_or_default();
        let bytes = garbled_if_planted(bytes);
        let wrong = WrongBytes { digest: self.digest, node };
        let len = bytes.len() as u64;
        if len > self.remaining() {
            self.replicator.counters().mismatches.add(1);
            return Err(wrong.into());
        }
        self.at += len;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&bytes);
            if self.at == self.end
                && hasher.clone().finish() != self.digest
                && !Plant::SkipRelayCheck.is_planted()
            {
                self.replicator.counters().mismatches.add(1);
                warn!(digest = %self.digest, %node, "a peer sent bytes that are not the blob");
                self.replicator.cluster().suspect(node);
                // The last bytes stay here: whoever reads sees an answer that is too short.
                self.at -= len;
                return Err(wrong.into());
            }
        }
        Ok(bytes)
    }

    fn broke_off(&mut self, status: &Status) {
        let Some((node, _)) = self.from.take() else { return };
        debug!(digest = %self.digest, %node, at = self.at, reason = brief(status), "an owner broke off");
        self.reasons.push(format!("node {node}: {}", brief(status)));
        self.replicator.cluster().suspect(node);
        self.replicator.counters().resumes.add(1);
    }

    /// Finds an owner that sends from `at` on.
    async fn begin(&mut self) -> Result<(), FetchError> {
        loop {
            let order = self.replicator.peers_in_order(&self.digest);
            let left: Vec<NodeId> =
                order.into_iter().filter(|node| !self.tried.contains(node)).collect();
            let goes_on = self.has_begun;
            if let Some((node, first, parts)) = self.race(left).await {
                if goes_on {
                    Sometimes::ResumedMidBody.reached();
                }
                self.from = Some((node, parts));
                self.first = (!first.is_empty()).then_some(first);
                return Ok(());
            }
            self.rounds += 1;
            // A stream that sent something may go on at an owner that was passed over before.
            if !self.has_begun || self.rounds >= ROUNDS_MAX {
                let (digest, reasons) = (self.digest, std::mem::take(&mut self.reasons));
                return Err(OutOfReach { digest, reasons }.into());
            }
            self.tried.clear();
        }
    }

    /// Asks `order` one after the other, a second one early when the first is slow.
    async fn race(&mut self, order: Vec<NodeId>) -> Option<(NodeId, Bytes, Streaming<GetPart>)> {
        let replicator = self.replicator.clone();
        let mut order = order.into_iter();
        let mut attempts = Attempts::new();
        let clock = &replicator.io().clock;
        let began = clock.monotonic();
        let mut may_hedge = replicator.may_hedge();
        let mut hedged = None;
        attempts.push(self.attempt(order.next()?));
        let hedge = tokio::time::sleep(replicator.latency().hedge_delay());
        tokio::pin!(hedge);
        loop {
            let (node, begun) = tokio::select! {
                biased;
                Some(answered) = attempts.next() => answered,
                () = &mut hedge, if may_hedge => {
                    may_hedge = false;
                    if let Some(node) = order.next() {
                        replicator.counters().hedges.add(1);
                        hedged = Some(node);
                        attempts.push(self.attempt(node));
                    }
                    continue;
                }
            };
            match begun {
                Ok((first, parts)) => {
                    if hedged == Some(node) {
                        Sometimes::HedgeWon.reached();
                    }
                    replicator.latency().note(clock.monotonic().saturating_sub(began));
                    if !self.has_begun {
                        replicator.counters().remote_reads.add(1);
                        self.has_begun = true;
                    }
                    return Some((node, first, parts));
                }
                Err(status) => {
                    self.reasons.push(format!("node {node}: {}", brief(&status)));
                    replicator.counters().failovers.add(1);
                    if matches!(status.code(), Code::NotFound | Code::DataLoss) {
                        replicator.repair_owner(node, &self.digest);
                    }
                    if let Some(next) = order.next() {
                        attempts.push(self.attempt(next));
                    } else if attempts.is_empty() {
                        return None;
                    }
                }
            }
        }
    }

    fn attempt(&mut self, node: NodeId) -> BoxFuture<'static, (NodeId, Begun)> {
        self.tried.insert(node);
        let cluster = self.replicator.cluster().clone();
        let (digest, mut at, mut end, size) = (self.digest, self.at, self.end, self.size);
        if Plant::ResumeOffByOne.is_planted() && at > self.start && end > at {
            (at, end) = (at - 1, end - 1);
        }
        Box::pin(async move { (node, Peer::new(&cluster, node).get(&digest, at, end, size).await) })
    }
}

/// Of the planted bug, the cause that makes it matter.
fn garbled_if_planted(bytes: Bytes) -> Bytes {
    if !Plant::SkipRelayCheck.is_planted() || bytes.len() % 4 != 1 {
        return bytes;
    }
    let mut garbled = bytes.to_vec();
    garbled.iter_mut().take(1).for_each(|byte| *byte ^= 1);
    garbled.into()
}

impl Replicator {
    /// May one more owner be asked in addition?
    fn may_hedge(&self) -> bool {
        let (reads, hedges) = (self.counters().remote_reads.get(), self.counters().hedges.get());
        hedges < HEDGES_FREE + reads / READS_PER_HEDGE
    }

    /// An owner lacks what others have: it is told to get it.
    fn repair_owner(&self, node: NodeId, digest: &Digest) {
        if !self.cluster().view().acting(digest).contains(&node) {
            return;
        }
        let Some(turn) = self.repair_turn() else { return };
        let (replicator, digest) = (self.clone(), *digest);
        tokio::spawn(async move {
            let _turn: Arc<_> = Arc::new(turn);
            if Peer::new(replicator.cluster(), node).fetch(&digest).await.is_ok() {
                replicator.counters().read_repairs.add(1);
                Sometimes::ReadRepair.reached();
                debug!(%digest, %node, "an owner that lacked a copy has it");
            }
        });
    }
}
