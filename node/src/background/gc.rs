//! Collecting blobs that nothing needs, while the cluster serves.
//!
//! A blob is garbage when no manifest of any group needs it and nobody has touched it for a day:
//! layers whose manifests were deleted, manifests without a tag or index that somebody deleted, uploads
//! that never came to be linked. Nodes find candidates by paging through their own inventories, so a
//! blob that no group has ever heard of is found as well.
//!
//! Time only chooses candidates; that nothing needed is lost follows from the protocol
//! ([`atoll_core::gc`]) alone. One node drives the rounds, the leader of the first metadata group, and
//! keeps nothing between them: a driver that dies is followed by one that settles what it finds, and
//! two at a time do no harm.
//!
//! - [`holder`]: what every node answers: candidates, touches, deletes;
//! - [`Members`]: how all of them are asked;
//! - [`Gc`]: rounds, and settling what an earlier driver left.

pub mod holder;
mod members;
mod round;
mod stats;

#[cfg(test)]
mod tests;

use std::{fmt::Debug, sync::Arc, time::Duration};

use atoll_core::{Digest, gc::GcEpoch, view::NodeId};
use futures_util::future::BoxFuture;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use self::holder::{CandidatePage, HolderError};
use crate::metadata::Metadata;

pub use self::{
    members::Members,
    round::{DryRun, GcError, Round},
    stats::{GcCounters, GcStats},
};

/// The group whose leader drives the rounds: the one that decides in them, too.
pub const DECIDER: u16 = 0;

/// How soon a round that could not be ended is looked at again. Until it is, its blobs cannot be
/// pushed anew.
const SETTLE_INTERVAL: Duration = Duration::from_secs(2);

/// What an operator may choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GcSettings {
    /// Is anything collected by itself?
    pub enabled: bool,
    /// Pause between two passes over everything.
    pub interval: Duration,
    /// How long nobody may have touched a blob.
    pub min_age: Duration,
    /// Blobs condemned at a time. Every round makes pushes that are under way verify again, so they
    /// should be few; and what is condemned cannot be pushed until the round ends, so they should be
    /// short.
    pub batch: usize,
}

impl Default for GcSettings {
    fn default() -> Self {
        GcSettings {
            enabled: true,
            interval: Duration::from_secs(3_600),
            min_age: Duration::from_secs(24 * 3_600),
            batch: 1_000,
        }
    }
}

/// The nodes that hold blobs, this one among them.
pub trait Holders: Debug + Send + Sync + 'static {
    /// The members that are up.
    fn up(&self) -> Vec<NodeId>;

    /// Some blobs of `node` that nobody seems to need; see [`holder::Holder::candidates`].
    fn candidates(
        &self,
        node: NodeId,
        after: Option<Digest>,
        min_age: Duration,
    ) -> BoxFuture<'_, Result<CandidatePage, HolderError>>;

    /// Those of the blobs that nobody touched through `node` for so long.
    fn untouched(
        &self,
        node: NodeId,
        digests: Vec<Digest>,
        min_age: Duration,
    ) -> BoxFuture<'_, Result<Vec<Digest>, HolderError>>;

    /// Deletes the copies of `node` whose stamps are below `e`. Answers how many bytes that freed, for
    /// each digest.
    fn delete(
        &self,
        node: NodeId,
        e: GcEpoch,
        digests: Vec<Digest>,
    ) -> BoxFuture<'_, Result<Vec<u64>, HolderError>>;
}

/// The worker: drives rounds while this node leads the group that decides.
#[derive(Clone, Debug)]
pub struct Gc {
    metadata: Metadata,
    holders: Arc<dyn Holders>,
    settings: GcSettings,
    counters: Arc<GcCounters>,
    /// Somebody wants a pass now.
    wanted: Arc<Notify>,
}

impl Gc {
    /// A worker.
    pub fn new(metadata: Metadata, holders: Arc<dyn Holders>, settings: GcSettings) -> Gc {
        Gc { metadata, holders, settings, counters: Arc::default(), wanted: Arc::default() }
    }

    /// Asks for a pass now, also where none is made by itself. Heard at the node that drives only.
    pub fn kick(&self) {
        self.wanted.notify_one();
    }

    /// Are passes made by themselves?
    pub fn is_enabled(&self) -> bool {
        self.settings.enabled
    }

    /// What it has done.
    pub fn stats(&self) -> GcStats {
        self.counters.stats()
    }

    /// Works until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut since_pass = Duration::ZERO;
        loop {
            let is_wanted = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = self.wanted.notified() => true,
                () = tokio::time::sleep(SETTLE_INTERVAL) => false,
            };
            since_pass += SETTLE_INTERVAL;
            if !self.metadata.is_leader(DECIDER) {
                continue;
            }
            let is_time = self.settings.enabled && since_pass >= self.settings.interval;
            let is_due = is_wanted || is_time;
            let work = async {
                // What an earlier driver left is ended, whether or not more is to be collected.
                let settled = self.settle().await;
                if is_due && settled.is_ok() { self.pass().await } else { settled.map(|_| ()) }
            };
            let worked = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                worked = work => worked,
            };
            if is_due {
                since_pass = Duration::ZERO;
            }
            if let Err(error) = worked {
                self.counters.failed.add(1);
                tracing::warn!(%error, "collection goes on later");
            }
        }
    }

    /// One pass over everything, a batch at a time.
    async fn pass(&self) -> Result<(), GcError> {
        let mut total = Round::default();
        let mut cursor = round::Cursor::default();
        while !cursor.is_at_end() && self.metadata.is_leader(DECIDER) {
            total.add(self.round(&mut cursor).await?);
        }
        self.counters.passes.add(1);
        if total.condemned > 0 {
            tracing::info!(
                condemned = total.condemned,
                spared = total.spared,
                copies = total.copies,
                bytes = total.bytes,
                "collection pass ended"
            );
        }
        Ok(())
    }
}
