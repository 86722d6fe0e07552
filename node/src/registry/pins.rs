//! Keeping the blobs that a manifest refers to, before the manifest is recorded.
//!
//! A blob may have been uploaded long before, and fewer owners than W may have it by now. So every
//! blob that the manifest names and the repository has is pinned at its owners, which also keeps a
//! collection that is under way from removing it, and owners that lack one get it. Blobs that the
//! repository does *not* have are left to the command itself: it alone decides by the links, and its
//! refusal does not tell whether another repository has them.

use atoll_core::{
    Digest,
    metadata::{PutManifest, query},
};
use serde_json::json;

use super::{ErrorCode, Registry, RegistryError};

/// The collection epoch of pins while nothing collects.
const NEVER_COLLECTED: u64 = 0;

impl Registry {
    /// Pins what `put` refers to.
    ///
    /// # Errors
    /// `MANIFEST_BLOB_UNKNOWN` for a blob that is known to be nowhere; 503 for one that is out of
    /// reach.
    pub(super) async fn pin(&self, put: &PutManifest) -> Result<(), RegistryError> {
        if self.blobs.is_alone() {
            return Ok(());
        }
        let snapshot = self.metadata.linearizable(&put.repo).await?;
        let mut linked: Vec<Digest> = Vec::with_capacity(put.blobs.len());
        for digest in put.blobs.iter().chain(&put.foreign_blobs) {
            if query::link(&snapshot, &put.repo, digest)?.is_some() {
                linked.push(*digest);
            }
        }
        drop(snapshot);
        let pinned = self.blobs.pin(&linked, NEVER_COLLECTED).await;
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
