//! A copy of a blob that another node sends.
//!
//! It goes the way of an upload (temporary file, hashed while it is written, one rename) through a
//! session that no client can name, so that everything in flight shares one budget. Unlike a
//! client's, it is gone when its sender is: nobody resumes it.

use atoll_core::{Algorithm, Digest, RepoName, route::UploadId};
use bytes::Bytes;

use super::{
    BlobInfo, BlobStore,
    error::{CommitError, UploadError},
    writer::UploadWriter,
};

/// The repository of sessions that are no client's.
const NOBODYS: &str = "atoll/copies";

/// A copy on its way in. Dropped before its commit, it leaves nothing behind.
pub struct Incoming {
    store: BlobStore,
    repo: RepoName,
    id: UploadId,
    writer: Option<UploadWriter>,
}

impl BlobStore {
    /// Begins to receive a copy.
    ///
    /// # Errors
    /// `TooManySessions`, `NoSpace`.
    pub async fn receive(&self, algorithm: Algorithm) -> Result<Incoming, UploadError> {
        self.ensure_room().await?;
        let repo: RepoName = NOBODYS.parse().expect("the name is a good one");
        let id = self.create_upload(&repo, algorithm)?;
        let writer = Some(self.upload(&repo, id)?);
        Ok(Incoming { store: self.clone(), repo, id, writer })
    }
}

impl Incoming {
    /// Takes the next bytes.
    ///
    /// # Errors
    /// As [`UploadWriter::write`].
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), UploadError> {
        match &mut self.writer {
            Some(writer) => writer.write(bytes).await,
            None => Err(super::UploadCancelled { id: self.id }.into()),
        }
    }

    /// Verifies and publishes it. When this answers `Ok` the copy is durable.
    ///
    /// # Errors
    /// As [`UploadWriter::commit`].
    pub async fn commit(mut self, digest: &Digest) -> Result<BlobInfo, CommitError> {
        match self.writer.take() {
            Some(writer) => writer.commit(digest).await,
            None => Err(super::UploadUnknown { id: self.id }.into()),
        }
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        let Some(writer) = self.writer.take() else { return };
        drop(writer);
        if tokio::runtime::Handle::try_current().is_err() {
            return;
        }
        let (store, repo, id) = (self.store.clone(), self.repo.clone(), self.id);
        tokio::spawn(async move {
            // It may have ended by itself: a disk that failed takes the session with it.
            let _ = store.cancel_upload(&repo, id).await;
        });
    }
}
