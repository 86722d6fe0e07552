//! Quarantine: a copy that failed its checksum is moved away, not deleted.
//!
//! Moved, so that it is never read again and a new push publishes as if nothing were there. Not
//! deleted, so that the node knows after a restart that the blob was here once (it is damaged, not
//! absent), and so that somebody may look at it. The next good copy ends the quarantine.
//!
//! A mark without a copy (an empty folder) says the same of a blob that this node owns now and never had:
//! those who have had it know of bad copies only, or cannot be reached.
//!
//! The finding is checked again at the path before anything moves: the reader may hold an old file
//! that was replaced long ago, or the bit may have flipped on its way into memory.

use std::io;

use atoll_core::Digest;

use crate::io::{Disk, Sometimes};

use super::{
    Shared,
    error::{At, StoreIo},
    paths::parse_quarantined,
    reader::{OpenBlob, OpenFailure},
    recovery::remove_folder,
};

/// Copies of one blob in quarantine. Each is there because the one before it rotted and was healed
/// without its quarantine being cleared; more than a few tell nothing new.
const COPIES_MAX: u32 = 8;

/// What a reader found wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Suspicion {
    /// The trailer is not one, or not this blob's.
    Trailer,
    /// A block does not match its checksum.
    Block(u64),
    /// Every block matches, and the whole is not the blob's.
    Content,
}

impl Shared {
    /// Moves the copy of `digest` away if it is as bad as suspected. A failure is logged: the copy
    /// stays, and the next reader finds it again.
    pub(crate) fn quarantine(&self, disk: &dyn Disk, digest: Digest, suspicion: Suspicion) {
        // Somebody who publishes this blob now replaces the copy anyway.
        let Some(_claim) = self.claims.try_quarantine(digest) else { return };
        match self.is_bad(disk, &digest, suspicion) {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => return tracing::error!(%digest, %error, "suspected copy is unreadable"),
        }
        // Marked first: whoever misses the file from here on must not call the blob absent.
        self.damaged.insert(digest);
        match self.move_away(disk, &digest) {
            Ok(()) => {
                self.counters.quarantined.add(1);
                Sometimes::Quarantined.reached();
                if let Err(error) = self.inventory.remove(&digest) {
                    tracing::debug!(%digest, %error, "row of a corrupt blob left in the inventory");
                }
                tracing::error!(%digest, ?suspicion, "corrupt blob moved to quarantine");
            }
            Err(error) => {
                if disk.file_len(&self.paths.blob_data(&digest)).is_ok() {
                    self.damaged.remove(&digest);
                }
                tracing::error!(%digest, ?suspicion, %error, "corrupt blob stays in place");
            }
        }
    }

    fn is_bad(
        &self,
        disk: &dyn Disk,
        digest: &Digest,
        suspicion: Suspicion,
    ) -> Result<bool, StoreIo> {
        match (OpenBlob::open(disk, &self.paths, digest), suspicion) {
            (Err(OpenFailure::BadTrailer), _) => Ok(true),
            (Err(OpenFailure::Absent), _) | (Ok(_), Suspicion::Trailer) => Ok(false),
            (Err(OpenFailure::Io(error)), _) => Err(error),
            // Whoever says so has hashed all of it.
            (Ok(_), Suspicion::Content) => Ok(true),
            (Ok(blob), Suspicion::Block(block)) => {
                let is_good = blob.is_block_good(block);
                Ok(!is_good.at("read", &self.paths.blob_data(digest))?)
            }
        }
    }

    fn move_away(&self, disk: &dyn Disk, digest: &Digest) -> Result<(), StoreIo> {
        let (blob, quarantine) = (self.paths.blob(digest), self.paths.quarantine());
        let taken = disk.list(&quarantine).at("list", &quarantine)?;
        let is_taken = |copy: u32| {
            taken.iter().any(|entry| parse_quarantined(&entry.name) == Some((*digest, copy)))
        };
        let copy = (0..COPIES_MAX).find(|copy| !is_taken(*copy));
        let Some(copy) = copy else {
            let full = io::Error::other("quarantine holds enough copies of this blob");
            return Err(StoreIo::new("quarantine", &blob, full));
        };
        disk.rename(&blob, &self.paths.quarantined(digest, copy)).at("quarantine", &blob)?;
        disk.sync_dir(&quarantine).at("sync", &quarantine)?;
        let shard = self.paths.shard(digest);
        disk.sync_dir(&shard).at("sync", &shard)
    }

    /// Remembers durably that `digest` was acknowledged elsewhere and that its copy there is bad, as if the
    /// bad copy had been here. Nothing happens if there is a copy; the caller has the claim.
    pub(crate) fn mark_damaged(&self, disk: &dyn Disk, digest: &Digest) -> Result<(), StoreIo> {
        if self.has_file(disk, digest)? || !self.damaged.insert(*digest) {
            return Ok(());
        }
        let (mark, quarantine) = (self.paths.quarantined(digest, 0), self.paths.quarantine());
        let marked = match disk.create_dir(&mark) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            created => created.at("mark", &mark),
        };
        let marked = marked.and_then(|()| disk.sync_dir(&quarantine).at("sync", &quarantine));
        if marked.is_err() {
            self.damaged.remove(digest);
        }
        marked
    }

    /// A good copy is durable: if the blob was damaged, it no longer is.
    pub(crate) fn heal(&self, disk: &dyn Disk, digest: &Digest) {
        if !self.damaged.remove(digest) {
            return;
        }
        self.counters.healed.add(1);
        tracing::info!(%digest, "damaged blob healed by a push");
        if let Err(error) = self.clear_quarantine(disk, digest) {
            // The next start clears what is left.
            tracing::warn!(%digest, %error, "healed blob keeps its bad copy in quarantine");
        }
    }

    fn clear_quarantine(&self, disk: &dyn Disk, digest: &Digest) -> Result<(), StoreIo> {
        let quarantine = self.paths.quarantine();
        for entry in disk.list(&quarantine).at("list", &quarantine)? {
            let parsed = parse_quarantined(&entry.name);
            if let Some((found, copy)) = parsed
                && found == *digest
            {
                let folder = self.paths.quarantined(digest, copy);
                remove_folder(disk, &folder)?;
            }
        }
        Ok(())
    }
}
