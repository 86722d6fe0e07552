//! Which blobs are on this disk, in the order of the ring.
//!
//! The files are the truth; this is their index, so that nobody who asks "what is in this part of the ring", "what
//! could be collected" or "do we two hold the same" walks a million folders. It also keeps what the
//! files do not tell: the *stamp* of each copy, by which a late order to delete is recognised
//! ([`atoll_core::gc`]), and when it was last touched.
//!
//! A row is written when a copy was published and removed when it is gone. What a crash makes of the
//! rows is put right in the background ([`catch_up`]), so that a start is quick.
//!
//! A row also says that the copy's name is durable, once its part of the rows has been compared with
//! the files. Not one file beside each blob: a page would be a thousand reads.

mod catch_up;
mod database;
mod row;
mod stamps;
mod sums;
mod touches;

use std::{
    ops::Bound,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use atoll_core::{
    Digest,
    gc::GcEpoch,
    repair::{Cell, Cells, sums::Sum},
    ring::{Position, position},
};
use redb::{Database, ReadableTable, ReadableTableMetadata};

use self::{
    database::{Commit, Rows},
    sums::{Change, Seen, Sums},
    touches::Touches,
};
use crate::io::{Clock, Disk};

pub(super) use self::catch_up::{SHARDS, shard};
pub use self::{
    catch_up::InventoryProgress, database::InventoryError, row::InventoryEntry, sums::SumKey,
};

/// The inventory of one store.
#[derive(Debug)]
pub(super) struct Inventory {
    database: Database,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    touches: Mutex<Touches>,
}

/// What the file knows beside the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stored {
    /// The high stamp; none in a new file, which cannot know what was answered before.
    high: Option<GcEpoch>,
    /// Was it closed in order?
    clean: bool,
}

#[derive(Debug)]
struct State {
    /// The high stamp, as it is durable.
    high: Option<GcEpoch>,
    /// Every copy counts as stamped with at least this: the high stamp at the start. While it is not
    /// known, every copy counts as newer than any order to delete.
    floor: Option<GcEpoch>,
    /// The highest stamp that this process answered for.
    witnessed: GcEpoch,
    /// Changes since the last durable commit.
    unsynced: usize,
    /// Did the file fail?
    broken: bool,
    /// Shards whose rows are known to be those of the files.
    shards_checked: usize,
    sums: Sums,
}

impl State {
    /// The stamp of a copy whose row says `stamp`, if there is a row.
    fn stamp(&self, stamp: Option<GcEpoch>) -> GcEpoch {
        match self.floor {
            Some(floor) if !self.broken => stamp.unwrap_or(floor).max(floor),
            _ => GcEpoch(u64::MAX),
        }
    }
}

impl Inventory {
    /// Opens the inventory in the file `path`. Blocks; reads no rows.
    pub fn open(
        disk: &Arc<dyn Disk>,
        path: &Path,
        clock: Arc<dyn Clock>,
        key: SumKey,
    ) -> Result<Inventory, InventoryError> {
        let (database, stored) = match database::open(disk, path) {
            Err(error) if error.is_no_space() => return Inventory::without_file(clock, key),
            opened => opened?,
        };
        let state = State {
            high: stored.high,
            floor: stored.high,
            witnessed: GcEpoch(0),
            unsynced: 0,
            broken: false,
            shards_checked: if stored.clean { SHARDS } else { 0 },
            sums: Sums::new(key),
        };
        let touches = Mutex::new(Touches::new(clock.monotonic()));
        Ok(Inventory { database, clock, state: Mutex::new(state), touches })
    }

    /// On a full disk the node still serves what it has: it lists nothing, deletes nothing, and answers
    /// for no stamp that is news.
    fn without_file(clock: Arc<dyn Clock>, key: SumKey) -> Result<Inventory, InventoryError> {
        tracing::warn!("no room for the inventory; nothing is collected here until a restart");
        let state = State {
            high: Some(GcEpoch(0)),
            floor: None,
            witnessed: GcEpoch(0),
            unsynced: 0,
            broken: true,
            shards_checked: 0,
            sums: Sums::new(key),
        };
        let touches = Mutex::new(Touches::new(clock.monotonic()));
        let database = database::in_memory()?;
        Ok(Inventory { database, clock, state: Mutex::new(state), touches })
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A copy was published: it is durable, with at least the high stamp. Blocks.
    pub fn note(&self, digest: &Digest, size: u64) -> Result<(), InventoryError> {
        self.touch(digest);
        self.restore(digest, size)
    }

    /// A copy was found. Blocks.
    pub fn restore(&self, digest: &Digest, size: u64) -> Result<(), InventoryError> {
        let stamp = self.locked().high.unwrap_or_default();
        if self.row(digest)?.is_some_and(|(old_size, old)| old_size == size && old >= stamp) {
            return Ok(());
        }
        self.write(Commit::default(), |rows, changes| put(rows, changes, digest, size, stamp))
    }

    /// The copy is gone. Blocks.
    pub fn remove(&self, digest: &Digest) -> Result<(), InventoryError> {
        self.write(Commit::default(), |rows, changes| {
            if rows.remove(&row::key(digest)[..])?.is_some() {
                changes.push(Change { digest: *digest, comes: false });
            }
            Ok(())
        })
    }

    /// The row of a blob. Blocks.
    pub fn get(&self, digest: &Digest) -> Result<Option<InventoryEntry>, InventoryError> {
        let row = self.row(digest)?;
        let state = self.locked();
        Ok(row.map(|(size, stamp)| InventoryEntry {
            digest: *digest,
            size,
            stamp: state.stamp(Some(stamp)),
        }))
    }

    fn row(&self, digest: &Digest) -> Result<Option<(u64, GcEpoch)>, InventoryError> {
        self.read(|rows| {
            let value = rows.get(&row::key(digest)[..])?;
            Ok(value.and_then(|value| row::decode(value.value())))
        })
    }

    /// Rows after `after` in the order of the ring, at most `limit`. Blocks.
    pub fn page(
        &self,
        after: Option<&Digest>,
        limit: usize,
    ) -> Result<Vec<InventoryEntry>, InventoryError> {
        let from = after.map_or(Bound::Unbounded, |digest| Bound::Excluded(row::key(digest)));
        self.rows_between(from, Bound::Unbounded, limit)
    }

    /// Rows from the place `first` to the place `last`, both among them, in order, those after `after`
    /// only, at most `limit`. Blocks.
    pub fn range(
        &self,
        first: &Position,
        last: &Position,
        after: Option<&Digest>,
        limit: usize,
    ) -> Result<Vec<InventoryEntry>, InventoryError> {
        let mut from = Bound::Included(first.to_vec());
        if let Some(after) = after.filter(|after| position(after) >= *first) {
            from = Bound::Excluded(row::key(after));
        }
        let to = row::behind(last).map_or(Bound::Unbounded, Bound::Excluded);
        self.rows_between(from, to, limit)
    }

    fn rows_between(
        &self,
        from: Bound<Vec<u8>>,
        to: Bound<Vec<u8>>,
        limit: usize,
    ) -> Result<Vec<InventoryEntry>, InventoryError> {
        let mut found = Vec::new();
        self.read(|rows| {
            visit(rows, &from, &to, limit, |digest, size, stamp| {
                found.push(InventoryEntry { digest, size, stamp });
            })
        })?;
        let state = self.locked();
        found.iter_mut().for_each(|entry| entry.stamp = state.stamp(Some(entry.stamp)));
        Ok(found)
    }

    /// The sums of some cells; none until all rows were added up.
    pub fn sums(&self, of: Cells, some: &[Cell]) -> Option<Vec<Sum>> {
        let state = self.locked();
        if state.broken { None } else { state.sums.of(of, some) }
    }

    /// How many rows there are. Blocks.
    pub fn len(&self) -> Result<u64, InventoryError> {
        self.read(|rows| Ok(rows.len()?))
    }

    /// Notes that somebody may come to rely on the blob.
    pub fn touch(&self, digest: &Digest) {
        self.touched().touch(digest, self.clock.monotonic());
    }

    /// For how long the blob has not been touched.
    pub fn idle(&self, digest: &Digest) -> Duration {
        self.touched().idle(digest, self.clock.monotonic())
    }

    fn touched(&self) -> MutexGuard<'_, Touches> {
        self.touches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes everything durable and notes that nothing is to be put right at the next start. Blocks.
    pub fn close(&self) -> Result<(), InventoryError> {
        let checked = self.locked().shards_checked == SHARDS;
        self.write(Commit { close: checked, sync: true, ..Commit::default() }, |_, _| Ok(()))
    }
}

/// Sets a row; its stamp never falls.
fn put(
    rows: &mut Rows<'_>,
    changes: &mut Vec<Change>,
    digest: &Digest,
    size: u64,
    stamp: GcEpoch,
) -> Result<(), InventoryError> {
    let key = row::key(digest);
    let old = rows.get(&key[..])?.and_then(|value| row::decode(value.value()));
    let stamp = old.map_or(stamp, |(_, old)| old.max(stamp));
    if rows.insert(&key[..], &row::encode(size, stamp)[..])?.is_none() {
        changes.push(Change { digest: *digest, comes: true });
    }
    Ok(())
}

/// Visits rows in order.
fn visit(
    rows: &impl ReadableTable<&'static [u8], &'static [u8]>,
    from: &Bound<Vec<u8>>,
    to: &Bound<Vec<u8>>,
    limit: usize,
    mut found: impl FnMut(Digest, u64, GcEpoch),
) -> Result<(), InventoryError> {
    let bytes = |bound: &'_ Bound<Vec<u8>>| bound.as_ref().map(|key| key.clone());
    let (from, to) = (bytes(from), bytes(to));
    if is_empty(&from, &to) {
        return Ok(());
    }
    let bounds = (from.as_ref().map(Vec::as_slice), to.as_ref().map(Vec::as_slice));
    for row in rows.range::<&[u8]>(bounds)?.take(limit) {
        let (key, value) = row?;
        // A row that is none of ours is as good as no row: the file is looked at.
        if let (Some(digest), Some((size, stamp))) =
            (row::digest(key.value()), row::decode(value.value()))
        {
            found(digest, size, stamp);
        }
    }
    Ok(())
}

/// redb panics on a range that ends before it starts.
fn is_empty(from: &Bound<Vec<u8>>, to: &Bound<Vec<u8>>) -> bool {
    match (from, to) {
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
        (Bound::Included(low), Bound::Included(high)) => low > high,
        (
            Bound::Included(low) | Bound::Excluded(low),
            Bound::Included(high) | Bound::Excluded(high),
        ) => low >= high,
    }
}

#[cfg(test)]
mod tests;
