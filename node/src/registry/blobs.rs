//! Blobs: look, read, mount, delete.

use atoll_core::{
    Digest, RepoName,
    metadata::{Command, query},
};
use serde_json::json;

use super::{ErrorCode, Registry, RegistryError, Told, pins::Kept};
use crate::{
    metadata::Snapshot,
    replicate::{FoundBlob, Presence},
};

fn blob_unknown(repo: &RepoName, digest: &Digest) -> RegistryError {
    ErrorCode::BlobUnknown
        .error(format_args!("repository `{repo}` has no blob `{digest}`"))
        .with_detail(json!({"repository": repo, "digest": digest}))
}

impl Registry {
    /// The size of a blob that is visible in the repository.
    async fn visible_size(
        &self,
        repo: &RepoName,
        digest: &Digest,
    ) -> Result<Told<u64>, RegistryError> {
        let size = |kv: &Snapshot| Ok(query::link(kv, repo, digest)?.map(|link| link.size));
        self.find(repo, size).await?.ok_or_else(|| blob_unknown(repo, digest))
    }

    /// The size of a blob that can be pulled. A blob whose bytes are damaged or gone is an error,
    /// not a size: a client that believed it would not push the bytes again.
    ///
    /// # Errors
    /// `BLOB_UNKNOWN`, or the store cannot read it.
    pub async fn stat_blob(
        &self,
        repo: &RepoName,
        digest: &Digest,
    ) -> Result<Told<u64>, RegistryError> {
        let told = self.visible_size(repo, digest).await?;
        // Whoever is told that it is here may not push it.
        self.tiers().store().touch(digest);
        if self.tiers().holds(digest) {
            return Ok(told);
        }
        match self.blobs.find(digest).await {
            Presence::Present(size) => Ok(Told { what: size, ..told }),
            Presence::Absent | Presence::Unknown => Err(lost(digest)),
        }
    }

    /// Opens a blob for reading.
    ///
    /// # Errors
    /// As [`Registry::stat_blob`].
    pub async fn open_blob(
        &self,
        repo: &RepoName,
        digest: &Digest,
    ) -> Result<Told<FoundBlob>, RegistryError> {
        let Told { what: size, is_stale } = self.visible_size(repo, digest).await?;
        Ok(Told { what: self.blobs.open_blob(digest, size).await?, is_stale })
    }

    /// Makes a blob that the caller may read somewhere visible in `repo` too. `false` when there is
    /// no such blob for this caller; why is not told.
    ///
    /// # Errors
    /// The metadata is out of reach.
    pub async fn mount_blob(
        &self,
        repo: &RepoName,
        digest: &Digest,
        from: Option<&RepoName>,
    ) -> Result<bool, RegistryError> {
        let Some(size) = self.mountable_size(digest, from).await? else { return Ok(false) };
        let vg = self.epoch()?;
        if self.keep(digest, vg).await != Kept::Yes {
            return Ok(false);
        }
        self.link(repo, digest, size, vg).await
    }

    async fn mountable_size(
        &self,
        digest: &Digest,
        from: Option<&RepoName>,
    ) -> Result<Option<u64>, RegistryError> {
        if let Some(from) = from {
            if !self.policy.may_read(from) {
                return Ok(None);
            }
            let link = self.find(from, |kv| Ok(query::link(kv, from, digest)?)).await?;
            return Ok(link.map(|link| link.what.size));
        }
        if !self.policy.may_read_all() {
            return Ok(None);
        }
        for snapshot in self.metadata.snapshots()? {
            if let Some(link) = query::linked_anywhere(&snapshot, digest)? {
                return Ok(Some(link.size));
            }
        }
        Ok(None)
    }

    /// Removes a blob from the repository. Other repositories keep it.
    ///
    /// # Errors
    /// `BLOB_UNKNOWN`, `NAME_UNKNOWN`, or deleting is switched off.
    pub async fn delete_blob(&self, repo: &RepoName, digest: &Digest) -> Result<(), RegistryError> {
        self.require_deletes()?;
        self.submit(Command::UnlinkBlob { repo: repo.clone(), digest: *digest }).await?;
        self.seen_everywhere(repo).await;
        Ok(())
    }
}

/// The repository has the blob, no node that can be reached does: an acknowledged blob is out of reach, which is
/// never a 404.
fn lost(digest: &Digest) -> RegistryError {
    let message =
        format_args!("blob `{digest}` is known but no copy can be read now; push it again");
    RegistryError::unavailable(message, anyhow::anyhow!("no copy of {digest} can be reached"))
}
