//! What collection asks of the copies of one node, and of whoever writes copies.
//!
//! Whoever is about to make a blob visible, or needed, first reads the newest collection epoch, then
//! stores or pins the copies with it, and only then sends the command, with that epoch in it
//! ([`atoll_core::gc`]). Any group's epoch will do, and one that this node has merely applied: a
//! command that is behind is refused and verified again.

use std::fmt::Debug;

use atoll_core::{Digest, gc::GcEpoch, metadata::query};
use futures_util::future::BoxFuture;

use super::{Replicator, client::Holding};
use crate::{
    io::Sometimes,
    metadata::{Metadata, ReadError, Snapshot, StoreError},
    store::{BlobStore, Deletion, Pinned, StoreIo},
};

/// The stamps of this node's copies: the collection epochs in which they were last needed.
pub trait Stamps: Debug + Send + Sync + 'static {
    /// The newest collection epoch that this node has applied.
    ///
    /// # Errors
    /// The metadata cannot be read.
    fn newest(&self) -> Result<GcEpoch, ReadError>;

    /// The newest collection epoch there is, as the quorums know it.
    fn refreshed(&self) -> BoxFuture<'_, Result<GcEpoch, ReadError>>;

    /// Copies that are published here from now on are stamped with at least `stamp`.
    fn witness(&self, stamp: GcEpoch) -> BoxFuture<'_, Result<(), StoreIo>>;

    /// Raises the stamps of the digests durably to `stamp`, and says which are here.
    fn pin<'a>(
        &'a self,
        replicator: &'a Replicator,
        digests: &'a [Digest],
        stamp: u64,
    ) -> BoxFuture<'a, Vec<Holding>>;

    /// Deletes the copies that are stamped below `older_than`. For each digest: the bytes freed, or
    /// `None` when a copy stays.
    fn delete<'a>(
        &'a self,
        digests: &'a [Digest],
        older_than: u64,
    ) -> BoxFuture<'a, Vec<Option<u64>>>;
}

/// A node that keeps no stamps: it collects nothing, so a pin only has to look.
#[derive(Clone, Copy, Debug)]
pub struct Unstamped;

impl Stamps for Unstamped {
    fn newest(&self) -> Result<GcEpoch, ReadError> {
        Ok(GcEpoch(0))
    }

    fn refreshed(&self) -> BoxFuture<'_, Result<GcEpoch, ReadError>> {
        Box::pin(async { Ok(GcEpoch(0)) })
    }

    fn witness(&self, _stamp: GcEpoch) -> BoxFuture<'_, Result<(), StoreIo>> {
        Box::pin(async { Ok(()) })
    }

    fn pin<'a>(
        &'a self,
        replicator: &'a Replicator,
        digests: &'a [Digest],
        _stamp: u64,
    ) -> BoxFuture<'a, Vec<Holding>> {
        Box::pin(async move {
            let mut held = Vec::with_capacity(digests.len());
            for digest in digests {
                held.push(replicator.holding(digest).await);
            }
            held
        })
    }

    fn delete<'a>(&'a self, digests: &'a [Digest], _: u64) -> BoxFuture<'a, Vec<Option<u64>>> {
        Box::pin(async move { vec![None; digests.len()] })
    }
}

/// Why an order to delete must be given again.
#[derive(Debug, thiserror::Error)]
pub enum DeleteError {
    /// The disk failed.
    #[error(transparent)]
    Store(#[from] StoreIo),
    /// The node does not know what it answered for, and cannot ask.
    #[error(transparent)]
    Metadata(#[from] ReadError),
}

/// The stamps that the store keeps.
#[derive(Clone, Debug)]
pub struct Stamped {
    store: BlobStore,
    metadata: Metadata,
}

impl Stamped {
    /// The stamps of the copies in `store`; the epochs are those of `metadata`.
    pub fn new(store: BlobStore, metadata: Metadata) -> Stamped {
        Stamped { store, metadata }
    }

    /// Learns, unless it is known, which stamps this node may have answered for before it began its
    /// inventory: none higher than the newest epoch there is now. Best done before a round begins: the
    /// copies that are here already outlive the round that is under way.
    ///
    /// # Errors
    /// See [`DeleteError`].
    pub async fn learn_floor(&self) -> Result<(), DeleteError> {
        if !self.store.knows_floor() {
            self.store.learn_floor(self.refreshed().await?).await?;
        }
        Ok(())
    }

    /// Deletes what is stamped below `e`. Answers the bytes that this freed.
    ///
    /// # Errors
    /// See [`DeleteError`].
    pub async fn delete_older(&self, digest: &Digest, e: GcEpoch) -> Result<u64, DeleteError> {
        self.learn_floor().await?;
        match self.store.delete_if_older(digest, e).await? {
            Deletion::Deleted { size } => {
                Sometimes::Collected.reached();
                tracing::debug!(%digest, size, %e, "copy collected");
                Ok(size)
            }
            Deletion::Kept { .. } => {
                Sometimes::CollectionSpared.reached();
                Ok(0)
            }
            Deletion::Absent => Ok(0),
        }
    }
}

fn newest_of(groups: &[Snapshot]) -> Result<GcEpoch, ReadError> {
    groups.iter().try_fold(GcEpoch(0), |newest, group| match query::gc_epoch(group) {
        Ok(epoch) => Ok(newest.max(epoch)),
        Err(query::QueryError::Kv(error)) => Err(error),
        Err(query::QueryError::Corrupt(record)) => Err(StoreError::Row(record.to_string()).into()),
    })
}

impl Stamps for Stamped {
    fn newest(&self) -> Result<GcEpoch, ReadError> {
        newest_of(&self.metadata.snapshots()?)
    }

    fn refreshed(&self) -> BoxFuture<'_, Result<GcEpoch, ReadError>> {
        Box::pin(async { newest_of(&self.metadata.linearizable_all().await?) })
    }

    fn witness(&self, stamp: GcEpoch) -> BoxFuture<'_, Result<(), StoreIo>> {
        Box::pin(self.store.witness(stamp))
    }

    fn pin<'a>(
        &'a self,
        _replicator: &'a Replicator,
        digests: &'a [Digest],
        stamp: u64,
    ) -> BoxFuture<'a, Vec<Holding>> {
        Box::pin(async move {
            match self.store.pin(digests, GcEpoch(stamp)).await {
                Ok(pinned) => pinned.into_iter().map(holding).collect(),
                Err(error) => {
                    tracing::warn!(%error, blobs = digests.len(), "copies cannot be pinned");
                    vec![Holding::Unknown; digests.len()]
                }
            }
        })
    }

    fn delete<'a>(
        &'a self,
        digests: &'a [Digest],
        older_than: u64,
    ) -> BoxFuture<'a, Vec<Option<u64>>> {
        Box::pin(async move {
            let mut freed = Vec::with_capacity(digests.len());
            for digest in digests {
                let deleted = self.delete_older(digest, GcEpoch(older_than)).await;
                if let Err(error) = &deleted {
                    tracing::warn!(%digest, %error, "copy not deleted");
                }
                freed.push(deleted.ok());
            }
            freed
        })
    }
}

fn holding(pinned: Pinned) -> Holding {
    match pinned {
        Pinned::Present { size } => Holding::Present(size),
        Pinned::Absent => Holding::Absent,
        Pinned::Damaged => Holding::Unknown,
    }
}
