//! The copies of blobs on this disk: which there are, who relies on them, and when one may go.
//!
//! Somebody who is about to rely on copies *pins* them: from then on an order to delete that is older
//! than what the pinner has seen does nothing ([`atoll_core::gc`]). Pinning and deleting one blob
//! exclude each other, as publishing and deleting do.

use std::{sync::Arc, time::Duration};

use atoll_core::{
    Digest,
    gc::GcEpoch,
    repair::{Cell, Cells, sums::Sum},
    ring::Position,
};

use super::{
    BlobStore, Shared,
    claims::ClaimGuard,
    error::{At, StoreIo},
    inventory::{InventoryEntry, InventoryError},
    reader::{OpenBlob, OpenFailure},
    recovery::remove_folder,
    trailer::content_bytes_of_file,
};
use crate::io::Disk;

/// What a pin found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pinned {
    /// A durable copy of so many bytes, which an older order to delete cannot touch any more.
    Present {
        /// Its length.
        size: u64,
    },
    /// No copy, and none was found damaged.
    Absent,
    /// The copy is damaged: here once, and not readable now.
    Damaged,
}

/// What became of an order to delete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deletion {
    /// The copy is gone, with so many bytes.
    Deleted {
        /// Its length.
        size: u64,
    },
    /// Somebody relies on it: its stamp is as new as the order.
    Kept {
        /// The stamp. The highest there is when the node does not know what it answered for; see
        /// [`BlobStore::learn_floor`].
        stamp: GcEpoch,
    },
    /// There was no copy.
    Absent,
}

impl From<InventoryError> for StoreIo {
    fn from(error: InventoryError) -> Self {
        StoreIo { action: "use the inventory".to_owned(), source: std::io::Error::other(error) }
    }
}

impl BlobStore {
    /// This node is about to take part in a push that has seen collection epoch `vg`: every copy that
    /// is published from now on has at least that stamp. Call it before the copy is published. Costs
    /// nothing but for the first time with a new epoch.
    ///
    /// # Errors
    /// The disk failed.
    pub async fn witness(&self, vg: GcEpoch) -> Result<(), StoreIo> {
        let shared = Arc::clone(&self.shared);
        Ok(self.shared.io.disk_op(move |_| shared.inventory.witness(vg)).await?)
    }

    /// Pins the copies of `digests` for somebody who has seen collection epoch `vg`. Answers in their
    /// order; when it does, the pins survive a power cut.
    ///
    /// # Errors
    /// The disk failed: nothing is known of any of them.
    pub async fn pin(&self, digests: &[Digest], vg: GcEpoch) -> Result<Vec<Pinned>, StoreIo> {
        let mut claims = Vec::with_capacity(digests.len());
        for digest in digests {
            // Shared with publishers and other pinners, and whoever is alone with a blob waits for
            // nobody: claims that are held meanwhile cannot lock each other out.
            claims.push(self.shared.claims.publish(*digest).await);
        }
        let (shared, digests) = (Arc::clone(&self.shared), digests.to_vec());
        self.shared.io.disk_op(move |disk| shared.pin_blocking(&**disk, &digests, vg, claims)).await
    }

    /// Deletes the copy if its stamp is below `e`: an order of collection round `e`.
    ///
    /// # Errors
    /// The disk failed; the copy may be gone or not.
    pub async fn delete_if_older(&self, digest: &Digest, e: GcEpoch) -> Result<Deletion, StoreIo> {
        let claim = self.shared.claims.alone(*digest).await;
        let (shared, digest) = (Arc::clone(&self.shared), *digest);
        let delete = move |disk: &Arc<dyn Disk>| {
            let _claim = claim;
            let stamp = shared.inventory.stamp(&digest)?;
            if stamp >= e {
                let is_here = shared.has_file(&**disk, &digest)?;
                return Ok(if is_here { Deletion::Kept { stamp } } else { Deletion::Absent });
            }
            shared.delete_blocking(&**disk, &digest)
        };
        self.shared.io.disk_op(delete).await
    }

    /// Deletes the copy, whoever relies on it. For what was never acknowledged, and for tests:
    /// [`Self::delete_if_older`] is what knows of pins.
    ///
    /// # Errors
    /// The disk failed; the copy may be gone or not.
    pub async fn delete(&self, digest: &Digest) -> Result<Deletion, StoreIo> {
        let claim = self.shared.claims.alone(*digest).await;
        let (shared, digest) = (Arc::clone(&self.shared), *digest);
        let delete = move |disk: &Arc<dyn Disk>| {
            let _claim = claim;
            shared.delete_blocking(&**disk, &digest)
        };
        self.shared.io.disk_op(delete).await
    }

    /// The stamp of a copy; none while this node does not know what it answered for, and gives nothing
    /// up. Whoever gives a copy up because others have it asks for this, pins theirs with it, and then
    /// orders a delete with the epoch after it: a pin that comes in between keeps the copy here.
    ///
    /// # Errors
    /// The disk failed.
    pub async fn stamp(&self, digest: &Digest) -> Result<Option<GcEpoch>, StoreIo> {
        let (shared, digest) = (Arc::clone(&self.shared), *digest);
        let stamp = self.shared.io.disk_op(move |_| shared.inventory.stamp(&digest)).await?;
        Ok((stamp < GcEpoch(u64::MAX)).then_some(stamp))
    }

    /// Does this node know which stamps it answered for? A new one, and one that lost its inventory,
    /// does not, and deletes nothing.
    pub fn knows_floor(&self) -> bool {
        self.shared.inventory.knows_floor()
    }

    /// Tells such a node the newest collection epoch of all groups, read from a quorum of each just
    /// now.
    ///
    /// # Errors
    /// The disk failed.
    pub async fn learn_floor(&self, epoch: GcEpoch) -> Result<(), StoreIo> {
        let shared = Arc::clone(&self.shared);
        Ok(self.shared.io.disk_op(move |_| shared.inventory.learn_floor(epoch)).await?)
    }

    /// Notes that a client was told that the blob is here.
    pub fn touch(&self, digest: &Digest) {
        self.shared.inventory.touch(digest);
    }

    /// For how long this process has known nobody who touched the blob.
    pub fn idle(&self, digest: &Digest) -> Duration {
        self.shared.inventory.idle(digest)
    }

    /// What the inventory knows of a blob.
    ///
    /// # Errors
    /// The disk failed.
    pub async fn inventory_entry(
        &self,
        digest: &Digest,
    ) -> Result<Option<InventoryEntry>, StoreIo> {
        let (shared, digest) = (Arc::clone(&self.shared), *digest);
        Ok(self.shared.io.disk_op(move |_| shared.inventory.get(&digest)).await?)
    }

    /// The blobs here after `after` in the order of the ring, at most `limit`.
    ///
    /// # Errors
    /// The disk failed.
    pub async fn inventory_page(
        &self,
        after: Option<Digest>,
        limit: usize,
    ) -> Result<Vec<InventoryEntry>, StoreIo> {
        let shared = Arc::clone(&self.shared);
        let page = move |_: &Arc<dyn Disk>| shared.inventory.page(after.as_ref(), limit);
        Ok(self.shared.io.disk_op(page).await?)
    }

    /// The blobs here from the place `first` to the place `last`, both among them, those after `after`
    /// only, at most `limit`.
    ///
    /// # Errors
    /// The disk failed.
    pub async fn inventory_range(
        &self,
        first: Position,
        last: Position,
        after: Option<Digest>,
        limit: usize,
    ) -> Result<Vec<InventoryEntry>, StoreIo> {
        let shared = Arc::clone(&self.shared);
        let range =
            move |_: &Arc<dyn Disk>| shared.inventory.range(&first, &last, after.as_ref(), limit);
        Ok(self.shared.io.disk_op(range).await?)
    }

    /// What the blobs of some cells add up to; none until the inventory is complete.
    pub fn cell_sums(&self, of: Cells, some: &[Cell]) -> Option<Vec<Sum>> {
        self.shared.inventory.sums(of, some)
    }

    /// How many blobs are here: a number that the inventory keeps, no walk.
    ///
    /// # Errors
    /// The disk failed.
    pub fn inventory_len(&self) -> Result<u64, StoreIo> {
        Ok(self.shared.inventory.len()?)
    }
}

impl Shared {
    fn pin_blocking(
        &self,
        disk: &dyn Disk,
        digests: &[Digest],
        vg: GcEpoch,
        _claims: Vec<ClaimGuard>,
    ) -> Result<Vec<Pinned>, StoreIo> {
        let mut answers = Vec::with_capacity(digests.len());
        let mut present = Vec::new();
        for digest in digests {
            let found = self.look(disk, digest)?;
            if let Pinned::Present { size } = found {
                self.make_name_durable(disk, digest)?;
                self.inventory.touch(digest);
                present.push((*digest, size));
            }
            answers.push(found);
        }
        self.inventory.raise(&present, vg)?;
        Ok(answers)
    }

    /// Looks at the file and its trailer.
    fn look(&self, disk: &dyn Disk, digest: &Digest) -> Result<Pinned, StoreIo> {
        match OpenBlob::open(disk, &self.paths, digest) {
            Ok(blob) => Ok(Pinned::Present { size: blob.info().size }),
            Err(OpenFailure::BadTrailer) => Ok(Pinned::Damaged),
            Err(OpenFailure::Absent) if self.damaged.view(digest).is_damaged => Ok(Pinned::Damaged),
            Err(OpenFailure::Absent) => Ok(Pinned::Absent),
            Err(OpenFailure::Io(error)) => Err(error),
        }
    }

    /// A file without a row may be one that a push has just given its name, and not made durable yet;
    /// or one of a process that was killed before it did.
    pub(super) fn make_name_durable(
        &self,
        disk: &dyn Disk,
        digest: &Digest,
    ) -> Result<(), StoreIo> {
        let has_row = matches!(self.inventory.get(digest), Ok(Some(_)));
        if has_row && self.inventory.is_checked(digest) {
            return Ok(());
        }
        let shard = self.paths.shard(digest);
        disk.sync_dir(&shard).at("sync", &shard)
    }

    pub(super) fn has_file(&self, disk: &dyn Disk, digest: &Digest) -> Result<bool, StoreIo> {
        let path = self.paths.blob_data(digest);
        match disk.file_len(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            len => len.map(|_| true).at("look at", &path),
        }
    }

    /// Moves the blob's folder among the unfinished uploads, which makes it invisible in one step, and
    /// removes it there. What a crash leaves of it the next start removes.
    fn delete_blocking(&self, disk: &dyn Disk, digest: &Digest) -> Result<Deletion, StoreIo> {
        let (blob, away) = (self.paths.blob(digest), self.paths.upload(self.new_id()));
        match disk.rename(&blob, &away) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Deletion::Absent);
            }
            renamed => renamed.at("delete", &blob)?,
        }
        // The file is gone for every reader: its row is worth nothing, whatever follows.
        let unnoted = self.inventory.remove(digest);
        let shard = self.paths.shard(digest);
        disk.sync_dir(&shard).at("sync", &shard)?;
        if let Err(error) = unnoted {
            tracing::debug!(%digest, %error, "row of a deleted blob left in the inventory");
        }
        let file_bytes = remove_folder(disk, &away)?;
        let _ = self.space.refresh(disk);
        self.counters.deleted.add(1);
        Ok(Deletion::Deleted { size: content_bytes_of_file(file_bytes).unwrap_or(file_bytes) })
    }
}
