//! One group's Raft log and vote, in redb.
//!
//! Every append and every vote is one durable commit: openraft counts an entry as this voter's only
//! after that. The newest entries also stay in memory, because each of them is read once more right
//! after it was written, to be applied.
//!
//! Commits are redb's one-phase ones: a single sync, and after a crash the checksums of every page
//! tell a whole commit from a half-written one. Two-phase commits would not need the checksums, but
//! sync twice, and a push waits for exactly this sync: measured, 3.9 ms became 7.9 ms on a disk whose
//! sync takes 3.7 ms. What checksums cost is a walk over the log when it is opened after a crash; the
//! log is kept short by its purges.
//!
//! A purge is not made durable by itself. Losing it in a power cut brings entries back that nobody
//! needs; the next append makes it durable on the way.

use std::{
    collections::BTreeMap,
    fmt::Debug,
    ops::{Bound, RangeBounds},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use openraft::{
    AnyError, LogState, OptionalSend, RaftLogReader, StorageIOError,
    storage::{LogFlushed, RaftLogStorage},
};
use redb::{Durability, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};

use super::{
    codec,
    database::{SharedDatabase, open_or_create},
    error::StoreError,
    layout::GroupPaths,
    raft::{Entry, LogId, StorageError, TypeConfig, Vote},
    settings::MetadataSettings,
};
use crate::io::{Disk, plant::Plant, rt::blocking};

const ENTRIES: TableDefinition<u64, &[u8]> = TableDefinition::new("entries");
const POSITIONS: TableDefinition<&str, &[u8]> = TableDefinition::new("positions");
const VOTE: &str = "vote";
const PURGED: &str = "purged";

/// Entries kept in memory: those in flight between append and apply, with room for a follower that
/// is a few batches behind.
const TAIL_ENTRIES_MAX: usize = 32;

/// Bytes of entries that go to a follower in one message. An entry is at most one batch, or one
/// request if that is larger; see [`super::proposer`].
const REPLICATED_BYTES_MAX: usize = 4 << 20;

/// A group's log. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct LogStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    database: SharedDatabase,
    /// The newest entries, without a gap, up to the last one in the log.
    tail: Mutex<BTreeMap<u64, Entry>>,
}

impl LogStore {
    /// Opens the log, or founds an empty one. Blocks.
    pub fn open(
        disk: &Arc<dyn Disk>,
        paths: &GroupPaths,
        settings: &MetadataSettings,
    ) -> Result<Self, StoreError> {
        let database = open_or_create(disk, &paths.log, settings.log_cache_bytes, |database| {
            let txn = database.begin_write()?;
            txn.open_table(ENTRIES)?;
            txn.open_table(POSITIONS)?;
            Ok(txn.commit()?)
        })?;
        let database = SharedDatabase::new(database);
        Ok(Self { inner: Arc::new(Inner { database, tail: Mutex::default() }) })
    }

    /// First and last entry of the log and what was purged before. Blocks.
    pub fn state(&self) -> Result<LogState<TypeConfig>, StoreError> {
        let txn = self.inner.database.get()?.begin_read()?;
        let purged = txn.open_table(POSITIONS)?.get(PURGED)?;
        let purged: Option<LogId> = purged.map(|bytes| codec::decode(bytes.value())).transpose()?;
        let last = match txn.open_table(ENTRIES)?.last()? {
            Some((_, bytes)) => Some(codec::decode::<Entry>(bytes.value())?.log_id),
            None => purged,
        };
        Ok(LogState { last_purged_log_id: purged, last_log_id: last })
    }

    /// Closes the file; every later operation fails. Answers whether it is closed.
    pub async fn close(&self) -> bool {
        self.inner.database.close().await
    }

    /// The last vote, if there ever was one.
    pub fn vote(&self) -> Result<Option<Vote>, StoreError> {
        let txn = self.inner.database.get()?.begin_read()?;
        let vote = txn.open_table(POSITIONS)?.get(VOTE)?;
        Ok(vote.map(|bytes| codec::decode(bytes.value())).transpose()?)
    }

    fn tail(&self) -> MutexGuard<'_, BTreeMap<u64, Entry>> {
        // A poisoned lock: the map is whole after every statement below.
        self.inner.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The entries of `range`, if memory has them all.
    fn tail_entries(&self, range: &(Bound<u64>, Bound<u64>)) -> Option<Vec<Entry>> {
        let start = first_index(range);
        let tail = self.tail();
        let (oldest, _) = tail.first_key_value()?;
        (*oldest <= start && !is_empty(range))
            .then(|| tail.range(*range).map(|(_, entry)| entry.clone()).collect())
    }

    fn write(
        &self,
        change: impl FnOnce(&WriteTransaction) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut txn = self.inner.database.get()?.begin_write()?;
        if Plant::AckBeforeLogSync.is_planted() {
            txn.set_durability(Durability::None)?;
        }
        change(&txn)?;
        Ok(txn.commit()?)
    }

    fn append_durably(&self, entries: Vec<Entry>) -> Result<(), StoreError> {
        self.write(|txn| {
            let mut table = txn.open_table(ENTRIES)?;
            for entry in &entries {
                table.insert(entry.log_id.index, codec::encode(entry)?.as_slice())?;
            }
            Ok(())
        })?;
        let mut tail = self.tail();
        tail.extend(entries.into_iter().map(|entry| (entry.log_id.index, entry)));
        while tail.len() > TAIL_ENTRIES_MAX {
            tail.pop_first();
        }
        Ok(())
    }

    fn truncate_durably(&self, since: u64) -> Result<(), StoreError> {
        self.tail().split_off(&since);
        self.write(|txn| Ok(txn.open_table(ENTRIES)?.retain_in(since.., |_, _| false)?))
    }

    fn purge_upto(&self, upto: LogId) -> Result<(), StoreError> {
        let mut txn = self.inner.database.get()?.begin_write()?;
        txn.set_durability(Durability::None)?;
        txn.open_table(ENTRIES)?.retain_in(..=upto.index, |_, _| false)?;
        txn.open_table(POSITIONS)?.insert(PURGED, codec::encode(&upto)?.as_slice())?;
        txn.commit()?;
        let mut tail = self.tail();
        *tail = tail.split_off(&upto.index.saturating_add(1));
        Ok(())
    }

    /// Entries of `range` from disk, stopping behind the first that exceeds `bytes_max` in sum.
    fn read(
        &self,
        range: (Bound<u64>, Bound<u64>),
        bytes_max: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        if is_empty(&range) {
            return Ok(Vec::new());
        }
        let txn = self.inner.database.get()?.begin_read()?;
        let table = txn.open_table(ENTRIES)?;
        let mut entries = Vec::new();
        let mut bytes_read = 0;
        for row in table.range(range)? {
            let (_, bytes) = row?;
            entries.push(codec::decode(bytes.value())?);
            bytes_read += bytes.value().len();
            if bytes_read >= bytes_max {
                break;
            }
        }
        Ok(entries)
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(Self) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let log = self.clone();
        blocking(move || work(log)).await
    }
}

fn first_index(range: &(Bound<u64>, Bound<u64>)) -> u64 {
    match range.0 {
        Bound::Included(index) => index,
        Bound::Excluded(index) => index.saturating_add(1),
        Bound::Unbounded => 0,
    }
}

/// redb and `BTreeMap` both panic on a range that ends before it starts.
fn is_empty(range: &(Bound<u64>, Bound<u64>)) -> bool {
    let start = first_index(range);
    match range.1 {
        Bound::Included(end) => end < start,
        Bound::Excluded(end) => end <= start,
        Bound::Unbounded => false,
    }
}

fn cannot_read(error: StoreError) -> StorageError {
    StorageIOError::read_logs(AnyError::new(&error)).into()
}

fn cannot_write(error: StoreError) -> StorageError {
    StorageIOError::write_logs(AnyError::new(&error)).into()
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, StorageError> {
        let range = (range.start_bound().cloned(), range.end_bound().cloned());
        if let Some(entries) = self.tail_entries(&range) {
            return Ok(entries);
        }
        self.run(move |log| log.read(range, usize::MAX)).await.map_err(cannot_read)
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<Entry>, StorageError> {
        let range = (Bound::Included(start), Bound::Excluded(end));
        self.run(move |log| log.read(range, REPLICATED_BYTES_MAX)).await.map_err(cannot_read)
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, StorageError> {
        self.run(|log| log.state()).await.map_err(cannot_read)
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), StorageError> {
        let vote = *vote;
        let saved = self.run(move |log| {
            log.write(|txn| {
                txn.open_table(POSITIONS)?.insert(VOTE, codec::encode(&vote)?.as_slice())?;
                Ok(())
            })
        });
        saved.await.map_err(|error| StorageIOError::write_vote(AnyError::new(&error)).into())
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, StorageError> {
        let vote = self.run(|log| log.vote()).await;
        vote.map_err(|error| StorageIOError::read_vote(AnyError::new(&error)).into())
    }

    async fn append<I>(
        &mut self,
        entries: I,
        callback: LogFlushed<TypeConfig>,
    ) -> Result<(), StorageError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        // openraft waits for the callback before it goes on, so there is nothing to win by
        // answering earlier.
        self.run(move |log| log.append_durably(entries)).await.map_err(cannot_write)?;
        callback.log_io_completed(Ok(()));
        Ok(())
    }

    async fn truncate(&mut self, log_id: LogId) -> Result<(), StorageError> {
        self.run(move |log| log.truncate_durably(log_id.index)).await.map_err(cannot_write)
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), StorageError> {
        self.run(move |log| log.purge_upto(log_id)).await.map_err(cannot_write)
    }
}
