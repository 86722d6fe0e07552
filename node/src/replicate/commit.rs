//! Writing a blob to its owners.
//!
//! The bytes are spooled and verified here first. If this node is an owner, its own copy is published
//! while the others are sent theirs, along one chain in ring order: each hop writes, forwards, hashes,
//! syncs, and acknowledgements travel back. A hop that dies takes nobody with it: the owners behind it
//! are sent to from the spool, and a stand-in takes its copy with a hint whom it is for.
//!
//! The rule: acknowledged is what W owners and R copies in all hold durably (the core's
//! `WriteTally` says when), by a node whose lease is valid. Whatever else happens ends in an error, and what copies
//! there are stay invisible, because the link that shows a blob is written by the caller afterwards.

use std::time::Duration;

use atoll_core::{Digest, gc::GcEpoch};
use bytes::Bytes;

use super::{
    Replicator,
    attempt::{Attempt, Own, Unwritten},
    content::Bytewise,
    early::Early,
    error::{Fenced, ViewLate, WriteError},
};
use crate::{
    config::Consistency,
    io::Sometimes,
    store::{BlobInfo, CommitError, DigestMismatch, UploadWriter},
};

/// Times that a write begins again because somebody knew a newer view. Views change seldom; a write
/// that meets so many is better tried again by its client.
const VIEW_RETRIES: usize = 4;

/// How long a newer view may take to arrive here.
pub(super) const VIEW_TIMEOUT: Duration = Duration::from_secs(2);

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
            let mismatch = DigestMismatch { expected: *digest, computed };
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
            let early = early.filter(|early| early.is_for(&view, stamp));
            let attempt = Attempt { replicator: self, view: &view, digest, bytes: &bytes, stamp };
            let written = match self.settings().consistency {
                Consistency::Strong => attempt.strong(&mut own, early).await,
                Consistency::Eventual => attempt.eventual(&mut own).await,
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
    ///
    /// Only a view that knows of this start of the node can say so: the founder of a cluster that
    /// starts again, and reaches nobody, may remember one from before anybody joined.
    pub fn is_alone(&self) -> bool {
        let view = self.cluster().view();
        view.copies() == 1 && view.members.len() == 1 && self.cluster().is_seated()
    }

    pub(super) fn require_lease(&self) -> Result<(), Fenced> {
        if self.cluster().lease_is_valid() && self.cluster().is_seated() {
            return Ok(());
        }
        self.counters().fenced.add(1);
        Sometimes::FenceClosed.reached();
        Err(Fenced)
    }
}
