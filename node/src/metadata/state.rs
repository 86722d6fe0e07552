//! One group's state machine in redb: the rows, the applied position, the membership.
//!
//! The applied position changes in the same transaction as the rows, so an entry is applied once
//! however often the node dies. These transactions are *not* made durable one by one: the log is,
//! and what a power cut takes from the state is applied again from the log. Every
//! [`SYNC_REQUESTS`] requests, at a snapshot and at shutdown the state is made durable; only what
//! lies behind such a point may be purged from the log. That leaves one sync per push, the log's.
//!
//! **The snapshot of a group is this database.** redb gives every reader its own frozen view at no
//! cost, so "building a snapshot" is one durable commit, and a learner is sent the rows of a read
//! transaction ([`super::transfer`]). A second file with the same rows would double the disk and
//! rewrite gigabytes every few thousand entries to say nothing new.

use std::{
    ops::Bound,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use atoll_core::{
    coordination::{Effects, Position},
    metadata::{Kv, KvRead, Outcome, apply::ApplyError, apply_at},
};
use openraft::EntryPayload;
use redb::{
    Database, Durability, ReadOnlyTable, ReadableDatabase, ReadableTable, Table, TableDefinition,
    WriteTransaction,
};
use serde::{Deserialize, Serialize};

use super::{
    changes::{Applied as AppliedEntries, Changes},
    codec,
    database::{SharedDatabase, open_or_create, put_in_place},
    error::{ReadError, StoreError},
    layout::GroupPaths,
    raft::{Entry, LogId, Membership, Outcomes},
    settings::MetadataSettings,
};
use crate::io::{Disk, plant::Plant};

pub(super) const ROWS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("rows");
const POSITIONS: TableDefinition<&str, &[u8]> = TableDefinition::new("positions");
const APPLIED: &str = "applied";

/// Requests applied between two durable commits. It bounds the replay after a crash (well under a
/// second) and the pages that redb may not reuse meanwhile.
pub(super) const SYNC_REQUESTS: usize = 1024;

/// How far the state has come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Applied {
    /// The last entry in it.
    pub log_id: Option<LogId>,
    /// The last membership in it.
    pub membership: Membership,
}

/// A group's state. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct StateStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    disk: Arc<dyn Disk>,
    paths: GroupPaths,
    cache_bytes: usize,
    /// Replaced as a whole when a snapshot of another voter is installed.
    database: SharedDatabase,
    unsynced_requests: AtomicUsize,
    changes: Changes,
}

impl StateStore {
    /// Opens the state, or founds an empty one. Blocks.
    pub fn open(
        disk: &Arc<dyn Disk>,
        paths: &GroupPaths,
        settings: &MetadataSettings,
    ) -> Result<Self, StoreError> {
        let cache_bytes = settings.state_cache_bytes;
        let database = open_or_create(disk, &paths.state, cache_bytes, |database| {
            write_position(database, &Applied::default())
        })?;
        Ok(Self {
            inner: Arc::new(Inner {
                disk: disk.clone(),
                paths: paths.clone(),
                cache_bytes,
                database: SharedDatabase::new(database),
                unsynced_requests: AtomicUsize::new(0),
                changes: Changes::of(paths.group),
            }),
        })
    }

    /// The seam and the paths, for a state that is being received.
    pub fn place(&self) -> (&Arc<dyn Disk>, &GroupPaths, usize) {
        (&self.inner.disk, &self.inner.paths, self.inner.cache_bytes)
    }

    /// A frozen view of the rows as they are now. Costs one small lock and no IO to speak of.
    pub fn snapshot(&self) -> Result<Snapshot, StoreError> {
        let database = self.inner.database.get()?;
        let txn = database.begin_read()?;
        let positions = txn.open_table(POSITIONS)?;
        Ok(Snapshot { rows: txn.open_table(ROWS)?, positions, _database: database })
    }

    /// What is applied, as it is.
    pub fn changes(&self) -> &Changes {
        &self.inner.changes
    }

    /// How far the state has come. Blocks.
    pub fn applied(&self) -> Result<Applied, StoreError> {
        let txn = self.inner.database.get()?.begin_read()?;
        read_applied(&txn.open_table(POSITIONS)?)
    }

    /// Applies committed entries in order, all in one transaction. Blocks.
    pub fn apply(&self, entries: &[Entry]) -> Result<Vec<Outcomes>, StoreError> {
        let database = self.inner.database.get()?;
        let mut txn = database.begin_write()?;
        let requests: usize = entries.iter().map(requests_in).sum();
        let unsynced = self.inner.unsynced_requests.load(Ordering::Relaxed) + requests;
        let durable = unsynced >= SYNC_REQUESTS;
        make_durable(&mut txn, durable)?;
        let mut effects = Effects::default();
        let outcomes = {
            let mut rows = Rows { table: txn.open_table(ROWS)? };
            let mut positions = txn.open_table(POSITIONS)?;
            let mut applied = read_applied(&positions)?;
            let mut outcomes = Vec::with_capacity(entries.len());
            for entry in entries {
                outcomes.push(apply_entry(&mut rows, &mut applied, entry, &mut effects)?);
            }
            positions.insert(APPLIED, codec::encode(&applied)?.as_slice())?;
            outcomes
        };
        txn.commit()?;
        self.inner.unsynced_requests.store(if durable { 0 } else { unsynced }, Ordering::Relaxed);
        if let Some(last) = entries.last() {
            self.inner.changes.tell(AppliedEntries::Entries { upto: last.log_id.index, effects });
        }
        Ok(outcomes)
    }

    /// Makes everything applied so far durable and says how far that is. Blocks.
    pub fn sync(&self) -> Result<Applied, StoreError> {
        let database = self.inner.database.get()?;
        let mut txn = database.begin_write()?;
        make_durable(&mut txn, !Plant::PurgeUnsynced.is_planted())?;
        let applied = {
            let mut positions = txn.open_table(POSITIONS)?;
            let applied = read_applied(&positions)?;
            positions.insert(APPLIED, codec::encode(&applied)?.as_slice())?;
            applied
        };
        txn.commit()?;
        // A request applied since is counted too early as durable: it only delays the next sync.
        self.inner.unsynced_requests.store(0, Ordering::Relaxed);
        Ok(applied)
    }

    /// Replaces the state by one that was received, durably. Blocks.
    ///
    /// Readers keep the view they have.
    pub fn replace(&self, received: Database) -> Result<(), StoreError> {
        put_in_place(
            self.inner.disk.as_ref(),
            &self.inner.paths.state_new(),
            &self.inner.paths.state,
        )?;
        self.inner.database.replace(received);
        let upto = self.applied()?.log_id.map_or(0, |log_id| log_id.index);
        self.inner.changes.tell(AppliedEntries::Replaced { upto });
        Ok(())
    }

    /// Closes the file; every later operation fails. Answers whether it is closed.
    pub async fn close(&self) -> bool {
        self.inner.database.close().await
    }
}

/// Writes the tables and the position of a state, durably. Blocks.
pub(super) fn write_position(database: &Database, applied: &Applied) -> Result<(), StoreError> {
    let mut txn = database.begin_write()?;
    make_durable(&mut txn, true)?;
    txn.open_table(ROWS)?;
    txn.open_table(POSITIONS)?.insert(APPLIED, codec::encode(applied)?.as_slice())?;
    Ok(txn.commit()?)
}

/// A durable commit of the state also saves redb's allocator (quick repair): after a crash a state
/// of gigabytes opens at once and need not be walked.
fn make_durable(txn: &mut WriteTransaction, durable: bool) -> Result<(), StoreError> {
    txn.set_durability(if durable { Durability::Immediate } else { Durability::None })?;
    txn.set_quick_repair(durable);
    Ok(())
}

fn read_applied(
    positions: &impl ReadableTable<&'static str, &'static [u8]>,
) -> Result<Applied, StoreError> {
    let bytes = positions.get(APPLIED)?.ok_or(StoreError::Missing { what: "applied position" })?;
    Ok(codec::decode(bytes.value())?)
}

fn requests_in(entry: &Entry) -> usize {
    match &entry.payload {
        EntryPayload::Normal(batch) => batch.0.len(),
        EntryPayload::Blank | EntryPayload::Membership(_) => 0,
    }
}

fn apply_entry(
    rows: &mut Rows<'_>,
    applied: &mut Applied,
    entry: &Entry,
    effects: &mut Effects,
) -> Result<Outcomes, StoreError> {
    let outcomes = match &entry.payload {
        EntryPayload::Blank => Vec::new(),
        EntryPayload::Membership(membership) => {
            applied.membership = Membership::new(Some(entry.log_id), membership.clone());
            Vec::new()
        }
        EntryPayload::Normal(batch) => {
            let (index, term) = (entry.log_id.index, entry.log_id.leader_id.term);
            let position = Position { index, term };
            let each = batch.0.iter().map(|request| apply_at(rows, position, request, effects));
            each.collect::<Result<Vec<Outcome>, _>>().map_err(|error| match error {
                ApplyError::Kv(error) => error,
                ApplyError::Corrupt(record) => StoreError::Row(record.to_string()),
            })?
        }
    };
    applied.log_id = Some(entry.log_id);
    Ok(Outcomes(outcomes))
}

/// The rows within a write transaction.
struct Rows<'txn> {
    table: Table<'txn, &'static [u8], &'static [u8]>,
}

impl KvRead for Rows<'_> {
    type Error = StoreError;

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.table.get(key)?.map(|value| value.value().to_vec()))
    }

    fn scan(
        &self,
        from: Bound<&[u8]>,
        to: Option<&[u8]>,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), StoreError> {
        Ok(scan(&self.table, from, to, visit)?)
    }
}

impl Kv for Rows<'_> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.table.insert(key, value)?;
        Ok(())
    }

    fn delete(&mut self, key: &[u8]) -> Result<(), StoreError> {
        self.table.remove(key)?;
        Ok(())
    }
}

fn scan(
    table: &impl ReadableTable<&'static [u8], &'static [u8]>,
    from: Bound<&[u8]>,
    to: Option<&[u8]>,
    visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
) -> Result<(), redb::StorageError> {
    // redb panics on a range that ends before it starts.
    if let (Bound::Included(low) | Bound::Excluded(low), Some(high)) = (from, to)
        && low >= high
    {
        return Ok(());
    }
    let end = to.map_or(Bound::Unbounded, Bound::Excluded);
    for row in table.range::<&[u8]>((from, end))? {
        let (key, value) = row?;
        if !visit(key.value(), value.value()) {
            break;
        }
    }
    Ok(())
}

/// A frozen view of one group's rows.
///
/// Point reads touch a few B-tree pages that are nearly always cached: run them where you are.
/// Listings belong in [`crate::io::rt::blocking`]. While a snapshot lives, redb keeps the pages it
/// may read: let go of it with the request it serves.
#[derive(Debug)]
pub struct Snapshot {
    rows: ReadOnlyTable<&'static [u8], &'static [u8]>,
    positions: ReadOnlyTable<&'static str, &'static [u8]>,
    /// Dropped last.
    _database: Arc<Database>,
}

impl Snapshot {
    /// The last log entry that this view holds; 0 for none.
    pub fn index(&self) -> Result<u64, ReadError> {
        Ok(self.applied()?.log_id.map_or(0, |log_id| log_id.index))
    }

    /// How far this view is applied.
    pub(super) fn applied(&self) -> Result<Applied, StoreError> {
        read_applied(&self.positions)
    }
}

impl KvRead for Snapshot {
    type Error = ReadError;

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
        Ok(self.rows.get(key)?.map(|value| value.value().to_vec()))
    }

    fn scan(
        &self,
        from: Bound<&[u8]>,
        to: Option<&[u8]>,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), ReadError> {
        Ok(scan(&self.rows, from, to, visit)?)
    }
}
