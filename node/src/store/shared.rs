//! What the parts of a store share, and the ends of an upload that all of them lead to.

use std::sync::Arc;

use atoll_core::{Digest, route::UploadId};
use bytes::Bytes;

use crate::io::{Disk, Io};

use super::{
    BlobInfo, StoreSettings, StoreStats,
    claims::{ClaimGuard, Claims},
    damaged::Damaged,
    error::CommitError,
    inventory::Inventory,
    paths::Paths,
    publish,
    recovery::{remove_folder, unlink},
    sessions::{Lease, Sessions},
    space::SpaceGauge,
    stats::Counters,
};

/// What the parts of a store share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(super) io: Io,
    pub(super) paths: Paths,
    pub(super) settings: StoreSettings,
    pub(super) sessions: Arc<Sessions>,
    pub(super) claims: Arc<Claims>,
    pub(super) damaged: Damaged,
    pub(super) inventory: Inventory,
    pub(super) space: SpaceGauge,
    pub(super) counters: Counters,
}

impl Shared {
    pub(super) fn new_id(&self) -> UploadId {
        let mut bytes = [0; 16];
        self.io.entropy.fill(&mut bytes);
        UploadId::from_bytes(bytes)
    }

    pub(super) fn stats(&self) -> StoreStats {
        let (sessions, session_bytes) = self.sessions.usage();
        let space = self.space.last();
        StoreStats {
            sessions: sessions as u64,
            session_bytes,
            commits: self.counters.commits.get(),
            committed_bytes: self.counters.committed_bytes.get(),
            commits_failed: self.counters.commits_failed.get(),
            corrupt_reads: self.counters.corrupt_reads.get(),
            quarantined: self.counters.quarantined.get(),
            damaged: self.damaged.len() as u64,
            healed: self.counters.healed.get(),
            deleted: self.counters.deleted.get(),
            sessions_cancelled: self.counters.sessions_cancelled.get(),
            sessions_expired: self.counters.sessions_expired.get(),
            disk_available_bytes: space.available,
            disk_total_bytes: space.total,
        }
    }

    /// Commits a session and ends it, in one go: there is no step at which it could be left.
    pub(super) fn commit_blocking(
        &self,
        disk: &dyn Disk,
        mut lease: Lease,
        rest: &[Bytes],
        digest: Digest,
        claim: ClaimGuard,
    ) -> Result<BlobInfo, CommitError> {
        let (id, ingest) = (lease.id(), lease.take_ingest());
        let may_have_record = ingest.was_checkpointed();
        let committed = publish::commit(disk, &self.paths, id, ingest, rest, &digest);
        lease.end_commit();
        if may_have_record {
            self.remove_record(disk, id);
        }
        self.settle_commit(disk, id, digest, committed, claim)
    }

    /// What follows a commit, good or bad. The claim ends here.
    pub(super) fn settle_commit(
        &self,
        disk: &dyn Disk,
        id: UploadId,
        digest: Digest,
        committed: Result<u64, CommitError>,
        _claim: ClaimGuard,
    ) -> Result<BlobInfo, CommitError> {
        let _ = self.space.refresh(disk);
        match committed {
            Ok(size) => {
                self.counters.commits.add(1);
                self.counters.committed_bytes.add(size);
                // A row that is not written now is found missing at the next start; the stamps that
                // this node answered for do not depend on it.
                if let Err(error) = self.inventory.note(&digest, size) {
                    tracing::debug!(%digest, %error, "published blob not in the inventory");
                }
                self.heal(disk, &digest);
                Ok(BlobInfo { digest, size })
            }
            Err(error) => {
                self.counters.commits_failed.add(1);
                self.remove_upload(disk, id);
                Err(error)
            }
        }
    }

    /// Removes what an upload left on the disk. What cannot be removed now is at the next start.
    pub(super) fn remove_upload(&self, disk: &dyn Disk, id: UploadId) {
        if let Err(error) = remove_folder(disk, &self.paths.upload(id)) {
            tracing::warn!(upload = %id, %error, "upload left on the disk");
        }
        self.remove_record(disk, id);
    }

    fn remove_record(&self, disk: &dyn Disk, id: UploadId) {
        for path in [self.paths.record_new(id), self.paths.record(id)] {
            if let Err(error) = unlink(disk, &path) {
                tracing::warn!(upload = %id, %error, "session record left on the disk");
            }
        }
    }
}
