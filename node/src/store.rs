//! The blob store: content on one disk, addressed by its digest.
//!
//! A push is whole or absent, durable before it is acknowledged, and no wrong byte ever leaves.
//! Three habits make that so: a blob's folder is published by one rename after its content is
//! synced (`publish`), every 64 KiB carry a checksum that is verified on the way out (`trailer`,
//! `reader`), and a copy that fails is moved away rather than forgotten (`quarantine`).
//!
//! Uploads are sessions: a state machine of the core in a table (`sessions`), a file that is
//! written, hashed and summed in one pass (`ingest`), one request at a time (`writer`), a record
//! for those that must survive a restart (`record`, `recovery`).
//!
//! Every sequence of disk operations is one closure in the blocking pool; the async side holds no
//! lock across it. The file tree is drawn in `paths`. Why plain files and not a database of our
//! own: one blob is one file, so serving it is reading it, removing it gives its room back, and
//! the tools of the operator work on it.

mod catch_up;
mod claims;
mod copies;
mod damaged;
mod error;
mod ingest;
mod inventory;
mod paths;
mod publish;
mod quarantine;
mod reader;
mod reaper;
mod receive;
mod record;
mod recovery;
mod sealed;
mod sessions;
mod settings;
mod shared;
mod space;
mod stats;
mod sums;
mod trailer;

mod writer;

use std::{path::PathBuf, sync::Arc};

use atoll_core::{Algorithm, Digest, RepoName, ring::NodeId, route::UploadId};
use bytes::Bytes;

use crate::io::Io;

pub use self::{
    catch_up::CaughtUp,
    copies::{Deletion, Pinned},
    error::{
        BlobOverLimit, CommitError, CorruptBlob, DamagedBlob, DigestMismatch, NoSpace,
        OpenStoreError, ReadError, StoreIo, UploadCancelled, UploadError, UploadUnknown,
    },
    inventory::{InventoryEntry, InventoryProgress, SumKey},
    reader::BlobReader,
    reaper::Reaper,
    receive::Incoming,
    recovery::RecoveryReport,
    sealed::{SealedBytes, SealedUpload},
    settings::StoreSettings,
    stats::StoreStats,
    writer::UploadWriter,
};
use self::{
    inventory::Inventory, paths::Paths, reader::OpenBlob, recovery::recover, sessions::Sessions,
    shared::Shared, space::SpaceGauge, stats::Counters,
};
pub use atoll_core::upload::{
    BlobTooLarge, BudgetExhausted, OutOfOrder, SessionBusy, TooManySessions,
};

/// Length of a block in bytes: the unit that is verified, and the alignment of reads. 64 KiB: a
/// range of a few bytes costs reading one block, and checksums cost 1/16,384 of the room.
pub const BLOCK_BYTES: u64 = 64 << 10;
/// The same as the length of a buffer.
const BLOCK_LEN: usize = BLOCK_BYTES as usize;

/// A blob that is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlobInfo {
    /// Its digest.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
}

/// What one round of the reaper did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReapReport {
    /// Upload sessions that were idle for too long.
    pub sessions_expired: u64,
}

/// What [`BlobStore::checkpoint_all`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CheckpointReport {
    /// Sessions that will survive a restart with all their bytes.
    pub sessions_saved: u64,
    /// Sessions that a request was using, or whose bytes could not be saved.
    pub sessions_skipped: u64,
}

/// The store. Cloning is cheap; all clones are one store.
#[derive(Clone, Debug)]
pub struct BlobStore {
    shared: Arc<Shared>,
}

impl BlobStore {
    /// Opens the store in `root`, a folder of the disk (empty for its top), creating it when it is
    /// missing, and recovers from whatever ended the process before.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn open(
        io: Io,
        root: PathBuf,
        settings: StoreSettings,
    ) -> Result<(BlobStore, RecoveryReport), OpenStoreError> {
        let paths = Paths::new(root);
        let space = SpaceGauge::new(settings.disk_reserve_percent);
        let (at_disk, clock, key) = (paths.clone(), Arc::clone(&io.clock), settings.sum_key);
        let (opened, space) = io
            .disk_op(move |disk| {
                let _ = space.refresh(&**disk);
                let opened = recover(&**disk, &at_disk).and_then(|recovered| {
                    let inventory = Inventory::open(disk, &at_disk.inventory(), clock, key)?;
                    if recovered.is_new {
                        inventory.handle_no_files()?;
                    }
                    Ok((recovered, inventory))
                });
                (opened, space)
            })
            .await;
        let (recovered, inventory) = opened?;
        let clock = Arc::clone(&io.clock);
        let sessions = Sessions::new(clock, settings.upload_limits(), settings.budget_limits());
        for session in recovered.sessions {
            let record = session.record;
            sessions.restore(session.id, record.repo, record.algorithm, session.ingest);
        }
        let shared = Shared {
            io,
            paths,
            settings,
            sessions: Arc::new(sessions),
            claims: Arc::default(),
            damaged: recovered.damaged,
            inventory,
            space,
            counters: Counters::default(),
        };
        Ok((BlobStore { shared: Arc::new(shared) }, recovered.report))
    }

    /// May a new upload begin? A disk that was full is asked again, so that uploads go on as soon as
    /// there is room, whoever made it.
    pub async fn ensure_room(&self) -> Result<(), NoSpace> {
        if self.shared.space.check().is_ok() {
            return Ok(());
        }
        let shared = Arc::clone(&self.shared);
        self.shared
            .io
            .disk_op(move |disk| {
                // When the disk does not answer, its last answer stands.
                let _ = shared.space.refresh(&**disk);
            })
            .await;
        self.shared.space.check()
    }

    /// Opens an upload session of a node that is alone. Touches no disk.
    ///
    /// # Errors
    /// As [`Self::create_upload_at`].
    pub fn create_upload(
        &self,
        repo: &RepoName,
        algorithm: Algorithm,
    ) -> Result<UploadId, UploadError> {
        self.create_upload_at(NodeId(1), repo, algorithm)
    }

    /// Opens an upload session whose id says that `node`, which is this one, holds it. Touches no
    /// disk.
    ///
    /// # Errors
    /// `TooManySessions`, `NoSpace`.
    pub fn create_upload_at(
        &self,
        node: NodeId,
        repo: &RepoName,
        algorithm: Algorithm,
    ) -> Result<UploadId, UploadError> {
        self.shared.space.check()?;
        loop {
            let id = UploadId::of_node(node, self.shared.new_id().to_bytes());
            if self.shared.sessions.create(id, repo.clone(), algorithm)? {
                return Ok(id);
            }
        }
    }

    /// Is there such a session here, whatever its repository?
    pub fn has_upload(&self, id: UploadId) -> bool {
        self.shared.sessions.contains(id)
    }

    /// Bytes written to a session: where an interrupted client goes on.
    ///
    /// # Errors
    /// `Unknown`, also when the session belongs to another repository.
    pub fn upload_status(&self, repo: &RepoName, id: UploadId) -> Result<u64, UploadError> {
        Ok(self.shared.sessions.offset(repo, id)?)
    }

    /// Takes a session for one request.
    ///
    /// # Errors
    /// `Unknown`; `Busy` when another request has it.
    pub fn upload(&self, repo: &RepoName, id: UploadId) -> Result<UploadWriter, UploadError> {
        let lease = self.shared.sessions.acquire(repo, id)?;
        Ok(UploadWriter::new(Arc::clone(&self.shared), lease))
    }

    /// Ends a session and frees its bytes, also under a request that is writing to it.
    ///
    /// # Errors
    /// `Unknown`, also when its commit is under way.
    pub async fn cancel_upload(&self, repo: &RepoName, id: UploadId) -> Result<(), UploadError> {
        self.shared.sessions.cancel(repo, id)?;
        self.shared.counters.sessions_cancelled.add(1);
        self.remove_uploads(vec![id]).await;
        Ok(())
    }

    /// Publishes content that is in memory. When this answers `Ok` the blob is durable.
    ///
    /// # Errors
    /// `DigestMismatch`, `TooLarge`, `NoSpace`, `Io`.
    pub async fn put(&self, digest: &Digest, content: Bytes) -> Result<BlobInfo, CommitError> {
        let bytes_max = self.shared.settings.blob_bytes_max;
        if content.len() as u64 > bytes_max {
            return Err(BlobTooLarge { bytes_max }.into());
        }
        self.ensure_room().await?;
        let digest = *digest;
        let claim = self.shared.claims.publish(digest).await;
        let shared = Arc::clone(&self.shared);
        self.shared
            .io
            .disk_op(move |disk| {
                let id = shared.new_id();
                let put = publish::put(&**disk, &shared.paths, id, &[content], &digest);
                shared.settle_commit(&**disk, id, digest, put, claim)
            })
            .await
    }

    /// Is the blob here? Looks at its file and verifies its trailer, not its content.
    ///
    /// # Errors
    /// `Corrupt`, `Damaged`, `Io`: the blob was here, or nobody can tell.
    pub async fn stat(&self, digest: &Digest) -> Result<Option<BlobInfo>, ReadError> {
        Ok(self.open_file(digest).await?.map(|blob| blob.info()))
    }

    /// Opens a blob for reading.
    ///
    /// # Errors
    /// `Corrupt`, `Damaged`, `Io`.
    pub async fn open_blob(&self, digest: &Digest) -> Result<Option<BlobReader>, ReadError> {
        let blob = self.open_file(digest).await?;
        Ok(blob.map(|blob| BlobReader::new(Arc::clone(&self.shared), blob)))
    }

    async fn open_file(&self, digest: &Digest) -> Result<Option<OpenBlob>, ReadError> {
        let (shared, digest) = (Arc::clone(&self.shared), *digest);
        self.shared.io.disk_op(move |disk| shared.open_blocking(&**disk, &digest)).await
    }

    /// Reads a blob of at most `bytes_max` bytes in one disk operation, verified.
    ///
    /// # Errors
    /// `OverLimit`, `Corrupt`, `Damaged`, `Io`.
    pub async fn read_whole(
        &self,
        digest: &Digest,
        bytes_max: u64,
    ) -> Result<Option<Bytes>, ReadError> {
        let (shared, digest) = (Arc::clone(&self.shared), *digest);
        self.shared
            .io
            .disk_op(move |disk| shared.read_whole_blocking(&**disk, &digest, bytes_max))
            .await
    }

    /// Moves a copy to quarantine whose content was hashed and is not the blob's.
    pub async fn set_aside(&self, digest: &Digest) {
        let (shared, digest) = (Arc::clone(&self.shared), *digest);
        let set_aside = move |disk: &Arc<dyn crate::io::Disk>| {
            shared.quarantine(&**disk, digest, quarantine::Suspicion::Content);
        };
        self.shared.io.disk_op(set_aside).await;
    }

    /// The blobs that were here once and have no good copy here: those that are `wanted`, at most `most`.
    pub fn damaged(&self, most: usize, wanted: impl Fn(&Digest) -> bool) -> Vec<Digest> {
        self.shared.damaged.list(most, wanted)
    }

    /// Takes over from another node that the blob exists and that its copy is bad: to readers it is
    /// damaged from now on, not absent, until there is a good copy here.
    ///
    /// # Errors
    /// The disk failed; nothing is marked.
    pub async fn mark_damaged(&self, digest: &Digest) -> Result<(), StoreIo> {
        let claim = self.shared.claims.alone(*digest).await;
        let (shared, digest) = (Arc::clone(&self.shared), *digest);
        let mark = move |disk: &Arc<dyn crate::io::Disk>| {
            let _claim = claim;
            shared.mark_damaged(&**disk, &digest)
        };
        self.shared.io.disk_op(mark).await
    }

    /// Makes every idle session survive a restart, and closes the inventory in order: for the end of
    /// a graceful shutdown.
    pub async fn checkpoint_all(&self) -> CheckpointReport {
        let mut report = CheckpointReport::default();
        for (repo, id) in self.shared.sessions.list() {
            let saved = match self.upload(&repo, id) {
                Ok(writer) => writer.finish(true).await.map(|_| ()),
                Err(error) => Err(error),
            };
            match saved {
                Ok(()) => report.sessions_saved += 1,
                Err(error) => {
                    tracing::warn!(upload = %id, %error, "upload session not saved");
                    report.sessions_skipped += 1;
                }
            }
        }
        self.close_inventory().await;
        report
    }

    /// Ends the sessions that were idle for too long, and looks how full the disk is.
    pub async fn reap(&self) -> ReapReport {
        let expired = self.shared.sessions.expire();
        let sessions_expired = expired.len() as u64;
        self.shared.counters.sessions_expired.add(sessions_expired);
        self.remove_uploads(expired).await;
        ReapReport { sessions_expired }
    }

    async fn remove_uploads(&self, ids: Vec<UploadId>) {
        let shared = Arc::clone(&self.shared);
        self.shared
            .io
            .disk_op(move |disk| {
                ids.into_iter().for_each(|id| shared.remove_upload(&**disk, id));
                let _ = shared.space.refresh(&**disk);
            })
            .await;
    }

    /// The settings it was opened with.
    pub fn settings(&self) -> &StoreSettings {
        &self.shared.settings
    }

    /// What it holds and has done.
    pub fn stats(&self) -> StoreStats {
        self.shared.stats()
    }
}
