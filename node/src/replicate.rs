//! Blobs on several nodes: where they are written, and where they are read.
//!
//! - A write goes to the blob's owners along one chain and is acknowledged when W of them and R nodes
//!   in all hold it durably ([`commit`]); one hop of such a chain is [`receive`].
//! - A read takes this node's copy, else any owner's, and changes owners in mid-stream when one breaks
//!   off ([`read`], [`remote`]).
//! - That a blob is *absent* takes a quorum of negatives and a lease ([`presence`]).
//! - What an owner missed is delivered later ([`debts`], [`deliver`]) or pulled by itself ([`pull`]).
//!
//! Who owns what is decided out of a view alone, by pure code. Blobs never change, so nothing here
//! has to agree on an order: a copy is right or it is not that blob.

mod attempt;
mod client;
mod commit;
mod content;
mod debts;
mod deliver;
mod early;
mod error;
mod latency;
mod outgoing;
mod presence;
mod pull;
mod read;
mod receive;
mod remote;
mod stamps;
mod stats;

use std::{path::Path, sync::Arc};

use atoll_core::{Digest, view::NodeId};

pub use self::{
    client::{DATA_BYTES, DIGESTS_MAX, Holding, MESSAGE_BYTES_MAX, Peer},
    early::Early,
    error::{
        DebtNotRecorded, Fenced, FetchError, OutOfReach, PullError, TooFewCopies, ViewLate,
        WriteError, WrongBytes,
    },
    presence::{Pinned, Presence},
    read::{FoundBlob, LocalBlob, LocalStream, PartStream, RemoteBlob},
    remote::RemoteStream,
    stamps::{DeleteError, Stamped, Stamps, Unstamped},
    stats::ReplicateStats,
};
use self::{debts::Debts, latency::Latency, pull::Pulls, stats::Counters};
use crate::{cluster::Cluster, config::Consistency, io::Io, tiers::Tiers};

/// What an operator decides about copies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplicateSettings {
    /// When a push is acknowledged.
    pub consistency: Consistency,
}

/// The blobs of the cluster, as this node reaches them. Clones share it.
#[derive(Clone, Debug)]
pub struct Replicator {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    io: Io,
    cluster: Cluster,
    tiers: Tiers,
    settings: ReplicateSettings,
    stamps: Arc<dyn Stamps>,
    counters: Counters,
    latency: Latency,
    pulls: Pulls,
    hints: Debts,
    outbox: Debts,
}

impl Replicator {
    /// Puts it together, and reads what copies this node owes to others.
    ///
    /// # Errors
    /// The disk failed.
    pub async fn open(
        io: Io,
        cluster: Cluster,
        tiers: Tiers,
        stamps: Arc<dyn Stamps>,
        settings: ReplicateSettings,
    ) -> std::io::Result<Replicator> {
        let hints = Debts::open(io.clone(), Path::new("hints").to_owned()).await?;
        let outbox = Debts::open(io.clone(), Path::new("outbox").to_owned()).await?;
        let inner = Inner {
            io,
            cluster,
            tiers,
            settings,
            stamps,
            counters: Counters::default(),
            latency: Latency::default(),
            pulls: Pulls::default(),
            hints,
            outbox,
        };
        Ok(Replicator { inner: Arc::new(inner) })
    }

    /// This node within its cluster.
    pub fn cluster(&self) -> &Cluster {
        &self.inner.cluster
    }

    /// The memory tier of this node, and through it its store.
    pub fn tiers(&self) -> &Tiers {
        &self.inner.tiers
    }

    /// The stamps of this node's copies.
    pub fn stamps(&self) -> &dyn Stamps {
        self.inner.stamps.as_ref()
    }

    /// What it has done.
    pub fn stats(&self) -> ReplicateStats {
        let (hints, outbox) = (self.inner.hints.count() as u64, self.inner.outbox.count() as u64);
        self.inner.counters.stats(hints, outbox)
    }

    fn io(&self) -> &Io {
        &self.inner.io
    }

    fn settings(&self) -> &ReplicateSettings {
        &self.inner.settings
    }

    fn counters(&self) -> &Counters {
        &self.inner.counters
    }

    fn latency(&self) -> &Latency {
        &self.inner.latency
    }

    fn pulls(&self) -> &Pulls {
        &self.inner.pulls
    }

    /// Notes that this node's copy is owed to an owner.
    ///
    /// # Errors
    /// The note could not be written down.
    pub async fn note_hint(&self, owner: NodeId, digest: &Digest) -> Result<(), DebtNotRecorded> {
        Ok(self.inner.hints.note(owner, digest).await?)
    }

    async fn note_outbox(&self, owner: NodeId, digest: &Digest) -> Result<(), DebtNotRecorded> {
        Ok(self.inner.outbox.note(owner, digest).await?)
    }
}
