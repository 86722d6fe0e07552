//! Uploads: how blobs come in.
//!
//! The surface moves the bytes (it owns the connection they come from); here is what begins and
//! what ends an upload, and the order that makes an acknowledged blob durable before it is visible.

use std::time::Duration;

use atoll_core::{Algorithm, Digest, RepoName, gc::GcEpoch, route::UploadId};
use bytes::Bytes;

use super::{Registry, RegistryError};
use crate::{
    replicate::Early,
    store::{UploadError, UploadWriter},
};

/// How long a request waits for another to leave the same session.
const TURN_WAIT: Duration = Duration::from_secs(5);
/// How often it looks.
const TURN_POLL: Duration = Duration::from_millis(20);

/// How an upload is asked for.
#[derive(Clone, Debug, Default)]
pub struct BeginUpload {
    /// A blob to mount instead, if the caller may.
    pub mount: Option<Digest>,
    /// Where the blob to mount is visible.
    pub from: Option<RepoName>,
    /// The hash function the client announced.
    pub algorithm: Option<Algorithm>,
}

/// How it began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begun {
    /// The blob was mounted: nothing to upload.
    Mounted(Digest),
    /// A session is open.
    Session(UploadId),
}

impl Registry {
    /// Mounts the blob, or opens a session to upload it. That a blob cannot be mounted is never an
    /// error: the client uploads it then.
    ///
    /// # Errors
    /// There is no room for another session, or the metadata is out of reach.
    pub async fn begin_upload(
        &self,
        repo: &RepoName,
        ask: &BeginUpload,
    ) -> Result<Begun, RegistryError> {
        if let Some(digest) = &ask.mount
            && self.mount_blob(repo, digest, ask.from.as_ref()).await?
        {
            return Ok(Begun::Mounted(*digest));
        }
        self.tiers().store().ensure_room().await?;
        let algorithm = ask.algorithm.unwrap_or(Algorithm::Sha256);
        Ok(Begun::Session(self.tiers().store().create_upload_at(
            self.blobs.cluster().me(),
            repo,
            algorithm,
        )?))
    }

    /// Bytes that a session has received.
    ///
    /// # Errors
    /// `BLOB_UPLOAD_UNKNOWN`.
    pub fn upload_offset(&self, repo: &RepoName, id: UploadId) -> Result<u64, RegistryError> {
        Ok(self.tiers().store().upload_status(repo, id)?)
    }

    /// Takes a session for writing. One request at a time may have it; another waits for its turn,
    /// because a client that resumes may be quicker than the end of its broken connection.
    ///
    /// # Errors
    /// `BLOB_UPLOAD_UNKNOWN`, or another request goes on writing it.
    pub async fn upload_writer(
        &self,
        repo: &RepoName,
        id: UploadId,
    ) -> Result<UploadWriter, RegistryError> {
        let mut turns_left = TURN_WAIT.as_millis() / TURN_POLL.as_millis();
        loop {
            match self.tiers().store().upload(repo, id) {
                Err(UploadError::Busy(_)) if turns_left > 0 => turns_left -= 1,
                taken => return Ok(taken?),
            }
            tokio::time::sleep(TURN_POLL).await;
        }
    }

    /// Gives a session up.
    ///
    /// # Errors
    /// `BLOB_UPLOAD_UNKNOWN`.
    pub async fn cancel_upload(&self, repo: &RepoName, id: UploadId) -> Result<(), RegistryError> {
        Ok(self.tiers().store().cancel_upload(repo, id).await?)
    }

    /// Begins to send a blob to its owners while its bytes still come in, where that is of use.
    pub fn begin_early(&self, digest: &Digest, size: Option<u64>) -> Option<Early> {
        self.blobs.begin_early(digest, size, self.epoch().ok()?)
    }

    /// Ends a session as the blob `digest`: verified, durable at its owners, then visible in the
    /// repository. `early` was fed the session's bytes, all of them.
    ///
    /// # Errors
    /// `DIGEST_INVALID` (the session is gone then), or the disk or the metadata failed.
    pub async fn commit_upload(
        &self,
        repo: &RepoName,
        writer: UploadWriter,
        digest: &Digest,
        early: Option<Early>,
    ) -> Result<(), RegistryError> {
        let vg = early.as_ref().map_or_else(|| self.epoch(), |early| Ok(early.stamp()))?;
        let blob = self.blobs.commit(writer, digest, early, vg).await?;
        self.show(repo, digest, blob.size, vg).await
    }

    /// Stores a blob whose bytes are all here.
    ///
    /// # Errors
    /// As [`Registry::commit_upload`].
    pub async fn put_blob(
        &self,
        repo: &RepoName,
        digest: &Digest,
        bytes: Bytes,
    ) -> Result<(), RegistryError> {
        let vg = self.epoch()?;
        let blob = self.blobs.put(digest, bytes.clone(), vg).await?;
        self.show(repo, digest, blob.size, vg).await?;
        self.tiers().insert(digest, bytes).await;
        Ok(())
    }

    /// Makes an uploaded blob visible.
    async fn show(
        &self,
        repo: &RepoName,
        digest: &Digest,
        size: u64,
        vg: GcEpoch,
    ) -> Result<(), RegistryError> {
        if self.link(repo, digest, size, vg).await? {
            return Ok(());
        }
        // Nobody had touched it for a day, and then two at once: it was collected between its upload
        // and its link.
        let message = "the blob was collected while it was pushed; push it again";
        Err(RegistryError::unavailable(message, anyhow::anyhow!("no copy of {digest} to link")))
    }
}
