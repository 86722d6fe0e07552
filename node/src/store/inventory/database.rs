//! The file of the inventory.
//!
//! Blob files are the truth, the rows follow them; a file that cannot be read is put aside and begun
//! anew. Rows are committed without a sync, so a power cut may take the latest, and bring back old
//! ones. One fact must not be lost: the *high stamp*, at least as high as any stamp this node ever
//! answered for. It is durable before such an answer; and after a start every copy counts as stamped
//! with it. So a stamp costs a sync once per collection, not once per blob.

use std::{io, path::Path, sync::Arc};

use atoll_core::gc::GcEpoch;
use redb::{
    Builder, Database, Durability, ReadableDatabase, ReadableTable, StorageError, Table,
    TableDefinition,
};

use super::{Inventory, Stored, sums::Change};
use crate::io::{Disk, disk::redb_backend::DiskBackend};

pub(super) const ROWS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("rows");
const FACTS: TableDefinition<&str, u64> = TableDefinition::new("facts");
const HIGH: &str = "high stamp";
const CLEAN: &str = "closed cleanly";

/// Bytes that redb may keep in memory of the file.
const CACHE_BYTES: usize = 16 << 20;

/// Changes between two durable commits. It bounds the pages that redb may not reuse meanwhile; what
/// a power cut takes is found again by comparing with the files.
pub(super) const SYNC_CHANGES: usize = 1024;

/// The inventory failed, and stays so until the next start. Blobs are not affected.
#[derive(Debug, thiserror::Error)]
pub enum InventoryError {
    /// The file failed just now.
    #[error("the inventory failed: {0}")]
    Failed(#[source] Box<redb::Error>),
    /// It failed before.
    #[error("the inventory failed earlier and waits for a restart")]
    Broken,
}

impl InventoryError {
    /// Was there no room?
    pub(super) fn is_no_space(&self) -> bool {
        let InventoryError::Failed(error) = self else { return false };
        matches!(&**error, redb::Error::Io(error) if error.kind() == io::ErrorKind::StorageFull)
    }
}

impl<E: Into<redb::Error>> From<E> for InventoryError {
    fn from(error: E) -> Self {
        InventoryError::Failed(Box::new(error.into()))
    }
}

pub(super) type Rows<'txn> = Table<'txn, &'static [u8], &'static [u8]>;

/// Opens the file, or begins a new one where there is none or none that can be read. From now on it
/// is not closed cleanly. Answers also what it knew.
pub(super) fn open(
    disk: &Arc<dyn Disk>,
    path: &Path,
) -> Result<(Database, Stored), InventoryError> {
    let opened = open_file(disk, path).and_then(|database| {
        let stored = begin(&database)?;
        Ok((database, stored))
    });
    match opened {
        Err(InventoryError::Failed(error)) if !is_io(&error) => {
            tracing::warn!(path = %path.display(), %error, "inventory unreadable, begun anew");
            put_aside(disk.as_ref(), path).map_err(StorageError::from)?;
            let database = open_file(disk, path)?;
            let stored = begin(&database)?;
            Ok((database, stored))
        }
        opened => opened,
    }
}

/// An empty one that is on no disk.
pub(super) fn in_memory() -> Result<Database, InventoryError> {
    Ok(Builder::new().create_with_backend(redb::backends::InMemoryBackend::new())?)
}

fn open_file(disk: &Arc<dyn Disk>, path: &Path) -> Result<Database, InventoryError> {
    let backend = DiskBackend::open(disk, path).map_err(StorageError::from)?;
    Ok(Builder::new().set_cache_size(CACHE_BYTES).create_with_backend(backend)?)
}

fn put_aside(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    disk.rename(path, &path.with_extension("unreadable"))?;
    disk.sync_dir(path.parent().unwrap_or(Path::new("")))
}

/// Did the disk fail, rather than give back something that is no inventory?
fn is_io(error: &redb::Error) -> bool {
    use io::ErrorKind::{InvalidData, UnexpectedEof};
    match error {
        redb::Error::Io(error) => !matches!(error.kind(), InvalidData | UnexpectedEof),
        redb::Error::PreviousIo => true,
        _ => false,
    }
}

/// Reads what is known, and notes that the file is in use.
fn begin(database: &Database) -> Result<Stored, InventoryError> {
    let mut txn = database.begin_write()?;
    txn.set_durability(Durability::Immediate)?;
    txn.set_quick_repair(true);
    let stored = {
        txn.open_table(ROWS)?;
        let mut facts = txn.open_table(FACTS)?;
        let high = facts.get(HIGH)?.map(|high| GcEpoch(high.value()));
        let clean = facts.get(CLEAN)?.is_some_and(|clean| clean.value() == 1);
        facts.insert(CLEAN, 0)?;
        Stored { high, clean }
    };
    txn.commit()?;
    Ok(stored)
}

/// What one commit does beside its rows.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Commit {
    /// The high stamp must be at least this, durably.
    pub high: Option<GcEpoch>,
    /// The file is closed after this.
    pub close: bool,
    /// It must be durable in any case.
    pub sync: bool,
}

impl Inventory {
    /// Changes rows in one commit; a failure breaks the inventory. Blocks.
    pub(super) fn write(
        &self,
        commit: Commit,
        edit: impl FnOnce(&mut Rows<'_>, &mut Vec<Change>) -> Result<(), InventoryError>,
    ) -> Result<(), InventoryError> {
        if self.locked().broken {
            return Err(InventoryError::Broken);
        }
        let written = self.try_write(commit, edit);
        if let Err(error) = &written
            && !std::mem::replace(&mut self.locked().broken, true)
        {
            tracing::error!(%error, "inventory failed; nothing is collected here until a restart");
        }
        written
    }

    fn try_write(
        &self,
        commit: Commit,
        edit: impl FnOnce(&mut Rows<'_>, &mut Vec<Change>) -> Result<(), InventoryError>,
    ) -> Result<(), InventoryError> {
        // From here to the commit nobody else writes, and no part of the rows is added up.
        let mut txn = self.database.begin_write()?;
        let unsynced = self.locked().unsynced;
        let stored = {
            let facts = txn.open_table(FACTS)?;
            let high = facts.get(HIGH)?.map(|high| GcEpoch(high.value()));
            let clean = facts.get(CLEAN)?.is_some_and(|clean| clean.value() == 1);
            Stored { high, clean }
        };
        let next = Stored { high: stored.high.max(commit.high), clean: commit.close };
        let durable = commit.sync || next != stored || unsynced + 1 >= SYNC_CHANGES;
        txn.set_durability(if durable { Durability::Immediate } else { Durability::None })?;
        txn.set_quick_repair(durable);
        let mut changes = Vec::new();
        edit(&mut txn.open_table(ROWS)?, &mut changes)?;
        if next != stored {
            let mut facts = txn.open_table(FACTS)?;
            facts.insert(CLEAN, u64::from(next.clean))?;
            if let Some(high) = next.high {
                facts.insert(HIGH, high.0)?;
            }
        }
        // Before the commit: behind it the rows may be added up at once. Should it fail, the sums are
        // not told any more.
        self.locked().sums.change(&changes);
        txn.commit()?;
        let mut state = self.locked();
        state.high = state.high.max(next.high);
        state.unsynced = if durable { 0 } else { unsynced + 1 };
        Ok(())
    }

    /// Reads in a frozen view of the rows. Blocks.
    pub(super) fn read<T>(
        &self,
        read: impl FnOnce(
            &redb::ReadOnlyTable<&'static [u8], &'static [u8]>,
        ) -> Result<T, InventoryError>,
    ) -> Result<T, InventoryError> {
        if self.locked().broken {
            return Err(InventoryError::Broken);
        }
        read(&self.database.begin_read()?.open_table(ROWS)?)
    }

    /// Looks at the rows while nobody changes them. Blocks.
    pub(super) fn look_alone<T>(
        &self,
        look: impl FnOnce(&Rows<'_>) -> Result<T, InventoryError>,
    ) -> Result<T, InventoryError> {
        let txn = self.database.begin_write()?;
        let looked = look(&txn.open_table(ROWS)?);
        txn.abort()?;
        looked
    }
}
