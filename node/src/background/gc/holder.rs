//! One node's part in collection.

use std::time::Duration;

use atoll_core::{
    Digest,
    gc::GcEpoch,
    metadata::query::{self, QueryError},
};

use crate::{
    io::rt::blocking,
    metadata::{Metadata, ReadError, Snapshot},
    replicate::{DeleteError, Stamped},
    store::{BlobStore, StoreIo},
};

/// Copies looked at for one page of candidates, at most: some milliseconds of work.
const LOOKED_AT_MAX: usize = 1_000;

/// Digests in one question or order, at most.
pub const DIGESTS_MAX: usize = 1_000;

/// Some blobs that nobody seems to need.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CandidatePage {
    /// Which, with their lengths in bytes.
    pub blobs: Vec<(Digest, u64)>,
    /// Where the next page starts; none when everything was looked at.
    pub cursor: Option<Digest>,
}

/// A node did not do its part.
#[derive(Debug, thiserror::Error)]
pub enum HolderError {
    /// Its disk failed.
    #[error(transparent)]
    Store(#[from] StoreIo),
    /// A copy could not be deleted.
    #[error(transparent)]
    Delete(#[from] DeleteError),
    /// Its metadata is out of reach.
    #[error(transparent)]
    Metadata(#[from] ReadError),
    /// Its metadata is damaged.
    #[error("the metadata cannot be read: {0}")]
    Query(String),
    /// It did not answer, or not as it should.
    #[error("no answer: {0}")]
    Unreachable(String),
}

impl From<QueryError<ReadError>> for HolderError {
    fn from(error: QueryError<ReadError>) -> Self {
        HolderError::Query(error.to_string())
    }
}

/// This node's copies and what it has applied of the metadata.
#[derive(Clone, Debug)]
pub struct Holder {
    store: BlobStore,
    metadata: Metadata,
    stamps: Stamped,
}

impl Holder {
    /// The part of a node.
    pub fn new(store: BlobStore, metadata: Metadata) -> Holder {
        let stamps = Stamped::new(store.clone(), metadata.clone());
        Holder { store, metadata, stamps }
    }

    /// The groups, as this node knows them.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// Blobs here behind `after` in the order of the ring that no manifest needs, as far as this node
    /// has applied, and that nobody touched through it for `min_age`. A page looks at so many copies
    /// and may find none.
    ///
    /// What this node has applied may be behind: the groups look again when they condemn.
    ///
    /// # Errors
    /// See [`HolderError`].
    pub async fn candidates(
        &self,
        after: Option<Digest>,
        min_age: Duration,
    ) -> Result<CandidatePage, HolderError> {
        self.stamps.learn_floor().await?;
        let copies = self.store.inventory_page(after, LOOKED_AT_MAX).await?;
        let cursor = copies.last().map(|copy| copy.digest);
        let cursor = cursor.filter(|_| copies.len() == LOOKED_AT_MAX);
        let mut idle = Vec::with_capacity(copies.len());
        for copy in copies {
            if self.store.idle(&copy.digest) >= min_age {
                idle.push((copy.digest, copy.size));
            }
        }
        let groups = self.metadata.snapshots()?;
        let unneeded = blocking(move || {
            let mut unneeded = Vec::new();
            for blob in idle {
                if is_unneeded(&groups, &blob.0)? {
                    unneeded.push(blob);
                }
            }
            Ok::<_, HolderError>(unneeded)
        });
        Ok(CandidatePage { blobs: unneeded.await?, cursor })
    }

    /// Those of the blobs that nobody touched through this node for `min_age`.
    pub fn untouched(&self, digests: &[Digest], min_age: Duration) -> Vec<Digest> {
        let is_idle = |digest: &&Digest| self.store.idle(digest) >= min_age;
        digests.iter().filter(is_idle).copied().collect()
    }

    /// Deletes the copies whose stamps are below `e`, and answers the bytes that this freed for each.
    /// A copy with a newer stamp stays: somebody relies on it.
    ///
    /// # Errors
    /// A disk that fails, or a node that does not know what it answered for and cannot ask: the order
    /// must be given again.
    pub async fn delete(&self, e: GcEpoch, digests: &[Digest]) -> Result<Vec<u64>, HolderError> {
        let mut freed = Vec::with_capacity(digests.len());
        for digest in digests {
            freed.push(self.stamps.delete_older(digest, e).await?);
        }
        Ok(freed)
    }
}

fn is_unneeded(groups: &[Snapshot], digest: &Digest) -> Result<bool, HolderError> {
    for group in groups {
        if query::referenced(group, digest)? || query::condemned(group, digest)?.is_some() {
            return Ok(false);
        }
    }
    Ok(true)
}
