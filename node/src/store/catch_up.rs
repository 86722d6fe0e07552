//! Bringing the inventory up to the files after a start: the side that looks at the disk. What is done
//! and why is told in `inventory/catch_up.rs`.

use std::sync::Arc;

use atoll_core::Digest;

use super::{
    BlobStore, Shared,
    claims::ClaimGuard,
    error::{At, StoreIo},
    inventory::{InventoryProgress, SHARDS, shard},
    paths::{data_in, shard_name},
    reader::{OpenBlob, OpenFailure},
};
use crate::io::Disk;

/// What one step of [`BlobStore::catch_up`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CaughtUp {
    /// Rows that were missing.
    pub added: u64,
    /// Rows whose files were gone.
    pub removed: u64,
}

impl BlobStore {
    /// How far the background work of the start has come.
    pub fn inventory_progress(&self) -> InventoryProgress {
        self.shared.inventory.progress()
    }

    /// One step of the background work of a start: a shard folder is compared with its rows, or some
    /// rows are added up. Nothing is left to do when [`Self::inventory_progress`] says complete.
    ///
    /// # Errors
    /// The disk failed.
    pub async fn catch_up(&self) -> Result<CaughtUp, StoreIo> {
        let Some(number) = self.shared.inventory.next_shard() else {
            let shared = Arc::clone(&self.shared);
            self.shared.io.disk_op(move |_| shared.inventory.add_up()).await?;
            return Ok(CaughtUp::default());
        };
        let shared = Arc::clone(&self.shared);
        let compare = move |disk: &Arc<dyn Disk>| shared.compare_shard(&**disk, number);
        let (without_row, without_file) = self.shared.io.disk_op(compare).await?;
        let mut done = CaughtUp::default();
        for digest in without_row {
            let claim = self.shared.claims.publish(digest).await;
            let shared = Arc::clone(&self.shared);
            let add = move |disk: &Arc<dyn Disk>| shared.add_row(&**disk, &digest, claim);
            done.added += u64::from(self.shared.io.disk_op(add).await?);
        }
        for digest in without_file {
            let claim = self.shared.claims.alone(digest).await;
            let shared = Arc::clone(&self.shared);
            let remove = move |disk: &Arc<dyn Disk>| shared.remove_row(&**disk, &digest, claim);
            done.removed += u64::from(self.shared.io.disk_op(remove).await?);
        }
        self.shared.inventory.shard_is_checked(number);
        if number + 1 == SHARDS {
            tracing::info!("inventory compared with the files");
        }
        Ok(done)
    }

    /// Makes the inventory durable, so that the next start need not compare it with the files. For the
    /// end of a graceful shutdown.
    pub(super) async fn close_inventory(&self) {
        let shared = Arc::clone(&self.shared);
        if let Err(error) = self.shared.io.disk_op(move |_| shared.inventory.close()).await {
            tracing::warn!(%error, "inventory not closed; the next start compares it with the files");
        }
    }
}

impl Shared {
    /// The blobs of a shard that have a file and no row, and those that have a row and no file. The
    /// names of the files are durable after this.
    fn compare_shard(
        &self,
        disk: &dyn Disk,
        number: usize,
    ) -> Result<(Vec<Digest>, Vec<Digest>), StoreIo> {
        let (algorithm, byte) = shard(number);
        let folder = self.paths.shards(algorithm).join(shard_name(byte));
        disk.sync_dir(&folder).at("sync", &folder)?;
        let mut rows = self.inventory.rows_of_shard(number)?;
        let mut without_row = Vec::new();
        for entry in disk.list(&folder).at("list", &folder)? {
            let Ok(digest) = format!("{algorithm}:{}", entry.name).parse::<Digest>() else {
                continue;
            };
            let is_here = disk.file_len(&data_in(&self.paths.blob(&digest))).is_ok();
            if is_here && rows.remove(&digest).is_none() {
                without_row.push(digest);
            }
        }
        Ok((without_row, rows.into_keys().collect()))
    }

    fn add_row(
        &self,
        disk: &dyn Disk,
        digest: &Digest,
        _claim: ClaimGuard,
    ) -> Result<bool, StoreIo> {
        let size = match OpenBlob::open(disk, &self.paths, digest) {
            Ok(blob) => blob.info().size,
            Err(OpenFailure::Absent) => return Ok(false),
            Err(OpenFailure::Io(error)) => return Err(error),
            // The row makes sure that scrubbing finds it.
            Err(OpenFailure::BadTrailer) => 0,
        };
        self.make_name_durable(disk, digest)?;
        self.inventory.restore(digest, size)?;
        Ok(true)
    }

    fn remove_row(
        &self,
        disk: &dyn Disk,
        digest: &Digest,
        _claim: ClaimGuard,
    ) -> Result<bool, StoreIo> {
        if self.has_file(disk, digest)? {
            return Ok(false);
        }
        self.inventory.remove(digest)?;
        Ok(true)
    }
}
