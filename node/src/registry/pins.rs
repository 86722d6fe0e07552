//! Keeping blobs before something comes to rely on them: a manifest on its layers, a link on its blob.
//!
//! A blob may have been uploaded long before, and fewer owners than W may have it by now. So every
//! blob that the manifest names and the repository has is pinned at its owners, which also keeps a
//! collection that is under way from removing it, and owners that lack one get it. Blobs that the
//! repository does *not* have are left to the command itself: it alone decides by the links, and its
//! refusal does not tell whether another repository has them.
//!
//! Every such command carries the collection epoch that was read before the copies were stored or
//! pinned. When a collection has begun meanwhile the command is refused, everything is verified again
//! with the new epoch, and the client sees none of it. A blob that is being collected this very moment
//! can be relied on again when its round is over, which is soon.

use std::time::Duration;

use atoll_core::{
    Digest, RepoName,
    gc::GcEpoch,
    metadata::{Command, PutManifest, Refusal, query},
};
use serde_json::json;

use super::{ErrorCode, Registry, RegistryError};
use crate::io::Sometimes;

/// Times that a command is verified again. With the pauses between them they outlast a round of
/// collection that has a node to wait for.
const VERIFIED_AGAIN_MAX: u32 = 12;

/// Pause before the second time; it doubles up to [`PAUSE_MAX`]. The first time comes at once: mostly
/// a round has only just begun.
const PAUSE_MIN: Duration = Duration::from_millis(20);
/// Longest pause.
const PAUSE_MAX: Duration = Duration::from_millis(640);

/// What may come of pinning a blob to link it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// Enough owners keep it.
    Yes,
    /// It is nowhere.
    Absent,
    /// Too few owners can be reached.
    OutOfReach,
}

/// Waits before the `again`th time that something is verified again.
pub(super) async fn pause(again: u32) {
    if again > 0 {
        tokio::time::sleep(PAUSE_MIN.saturating_mul(1 << (again - 1).min(8)).min(PAUSE_MAX)).await;
    }
}

impl Registry {
    /// The epoch to store and pin copies with.
    pub(super) fn epoch(&self) -> Result<GcEpoch, RegistryError> {
        Ok(self.blobs.stamps().newest()?)
    }

    /// Pins one blob.
    pub(super) async fn keep(&self, digest: &Digest, vg: GcEpoch) -> Kept {
        let pinned = self.blobs.pin(&[*digest], vg.0).await;
        match (pinned.absent.is_empty(), pinned.out_of_reach.is_empty()) {
            (true, true) => Kept::Yes,
            (false, _) => Kept::Absent,
            (true, false) => Kept::OutOfReach,
        }
    }

    /// Makes a blob visible whose copies were stored or pinned with `vg`. `false` when the copies were
    /// collected meanwhile.
    ///
    /// # Errors
    /// The metadata or the owners are out of reach, or a collection does not end.
    pub(super) async fn link(
        &self,
        repo: &RepoName,
        digest: &Digest,
        size: u64,
        mut vg: GcEpoch,
    ) -> Result<bool, RegistryError> {
        self.tiers().store().touch(digest);
        for again in 0..VERIFIED_AGAIN_MAX {
            let link = Command::LinkBlob { repo: repo.clone(), digest: *digest, size, vg };
            match self.decide(link).await? {
                Ok(()) => return Ok(true),
                Err(Refusal::Reverify) => Sometimes::Reverified.reached(),
                Err(refusal) => return Err(refusal.into()),
            }
            pause(again).await;
            vg = self.blobs.stamps().refreshed().await?;
            match self.keep(digest, vg).await {
                Kept::Yes => {}
                Kept::Absent => return Ok(false),
                Kept::OutOfReach => {
                    let message = "the blob cannot be reached now; try again";
                    let cause = anyhow::anyhow!("too few copies of {digest} to link it");
                    return Err(RegistryError::unavailable(message, cause));
                }
            }
        }
        Err(Refusal::Reverify.into())
    }

    /// Records a manifest whose own bytes `store` stores with the epoch that it is given.
    ///
    /// # Errors
    /// As [`Registry::pin`], or the command is refused.
    pub(super) async fn record<F>(
        &self,
        mut put: PutManifest,
        store: impl Fn(GcEpoch) -> F,
    ) -> Result<(), RegistryError>
    where
        F: Future<Output = Result<(), RegistryError>> + Send,
    {
        put.vg = self.epoch()?;
        for again in 0..VERIFIED_AGAIN_MAX {
            store(put.vg).await?;
            self.pin(&put).await?;
            match self.decide(Command::PutManifest(put.clone())).await? {
                Ok(()) => return Ok(()),
                Err(Refusal::Reverify) => Sometimes::Reverified.reached(),
                Err(refusal) => return Err(refusal.into()),
            }
            pause(again).await;
            put.vg = self.blobs.stamps().refreshed().await?;
        }
        Err(Refusal::Reverify.into())
    }

    /// Pins what `put` refers to.
    ///
    /// # Errors
    /// `MANIFEST_BLOB_UNKNOWN` for a blob that is known to be nowhere; 503 for one that is out of
    /// reach.
    async fn pin(&self, put: &PutManifest) -> Result<(), RegistryError> {
        let snapshot = self.metadata.linearizable(&put.repo).await?;
        let mut linked: Vec<Digest> = Vec::with_capacity(put.blobs.len());
        for digest in put.blobs.iter().chain(&put.foreign_blobs) {
            if query::link(&snapshot, &put.repo, digest)?.is_some() {
                linked.push(*digest);
            }
        }
        drop(snapshot);
        let pinned = self.blobs.pin(&linked, put.vg.0).await;
        if !pinned.absent.is_empty() {
            let named: Vec<String> = pinned.absent.iter().map(ToString::to_string).collect();
            return Err(ErrorCode::ManifestBlobUnknown
                .error(format_args!("no node has {}; push them first", named.join(", ")))
                .with_detail(json!({"missing": pinned.absent})));
        }
        if !pinned.out_of_reach.is_empty() {
            let message = "blobs of the manifest cannot be reached now; try again";
            let cause = anyhow::anyhow!("too few copies of {:?}", pinned.out_of_reach);
            return Err(RegistryError::unavailable(message, cause));
        }
        Ok(())
    }
}
