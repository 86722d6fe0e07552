//! A group's state on its way to another voter.
//!
//! The sender reads frames of rows from one frozen view; the receiver writes them into a fresh
//! database beside its own and, when the last frame says that the count is right, makes it durable
//! and lets openraft put it in place. Each frame carries a CRC-32C of its bytes, and they are
//! numbered, so a frame that was lost, repeated or damaged ends the transfer and nothing changes.
//!
//! Frames and not a copy of the redb file: rows do not depend on the version of redb, and a copy
//! would need a file that stands still.

use std::{ops::Bound, sync::Arc};

use atoll_core::metadata::KvRead;
use bytes::Bytes;
use redb::{Database, Durability};
use tokio::sync::OwnedSemaphorePermit;

use super::{
    database::open,
    error::{ReadError, StoreError},
    raft::SnapshotMeta,
    state::{Applied, ROWS, Snapshot, StateStore, write_position},
};
use crate::io::{disk::unlink_if_there, plant::Plant, rt::blocking};

/// Rows are gathered into a frame until they exceed this. One row is a few KiB at most, but for a
/// manifest with large annotations.
const FRAME_BYTES: usize = 256 << 10;

/// Length of the two length fields before each row.
const ROW_HEADER_BYTES: usize = 8;

/// A part of a state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Which, from 0.
    pub sequence: u64,
    /// Rows: length of the key and of the value (u32, little endian), key, value; and so on.
    pub rows: Bytes,
    /// CRC-32C of `rows`.
    pub crc32c: u32,
    /// Set in the last frame: the number of rows in all.
    pub rows_total: Option<u64>,
}

/// Why a received state is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// Another transfer into this group is going on.
    #[error("a snapshot is being received already")]
    Busy,
    /// A frame is missing or came twice.
    #[error("frame {found} came where {expected} was due")]
    OutOfOrder {
        /// What was due.
        expected: u64,
        /// What came.
        found: u64,
    },
    /// The bytes of a frame are not what was sent.
    #[error("frame {sequence} is damaged")]
    Damaged {
        /// Which.
        sequence: u64,
    },
    /// The stream ended early, or did not hold as many rows as it says.
    #[error("{received} rows came, {announced:?} were announced")]
    Incomplete {
        /// Rows that came.
        received: u64,
        /// What the last frame said, if there was one.
        announced: Option<u64>,
    },
    /// The disk.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What openraft carries between voters.
pub enum SnapshotData {
    /// Nothing: this node's state is durable up to the position, and is its own snapshot.
    Synced,
    /// A view of this node's state, to be sent.
    Local(Box<Snapshot>),
    /// A state of another node, to be installed.
    Received(ReceivedState),
}

/// A received state, durable beside the present one.
pub struct ReceivedState {
    pub(super) database: Database,
    /// Nobody else may write beside the present state until this one is in place.
    pub(super) turn: OwnedSemaphorePermit,
}

/// The sending side.
#[derive(Debug)]
pub struct Sender {
    snapshot: Arc<Snapshot>,
    after: Option<Vec<u8>>,
    sequence: u64,
    rows: u64,
    done: bool,
}

impl Sender {
    pub(super) fn new(snapshot: Snapshot) -> Self {
        Self { snapshot: Arc::new(snapshot), after: None, sequence: 0, rows: 0, done: false }
    }

    /// The next frame; `None` after the last.
    pub async fn next(mut self) -> Result<Option<(Frame, Self)>, ReadError> {
        if self.done {
            return Ok(None);
        }
        blocking(move || {
            let frame = self.read_frame()?;
            Ok(Some((frame, self)))
        })
        .await
    }

    fn read_frame(&mut self) -> Result<Frame, ReadError> {
        let mut bytes = Vec::with_capacity(FRAME_BYTES);
        let mut last_key = None;
        let mut full = false;
        let from = self.after.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        self.snapshot.scan(from, None, &mut |key, value| {
            if bytes.len() >= FRAME_BYTES {
                full = true;
                return false;
            }
            if Plant::ThinSnapshot.is_planted() && key.len() % 4 == 0 {
                return true;
            }
            put_row(&mut bytes, key, value);
            self.rows += 1;
            last_key = Some(key.to_vec());
            true
        })?;
        let sequence = self.sequence;
        self.sequence += 1;
        self.done = !full;
        self.after = last_key;
        let crc32c = crc32c::crc32c(&bytes);
        let rows_total = self.done.then_some(self.rows);
        Ok(Frame { sequence, rows: bytes.into(), crc32c, rows_total })
    }
}

fn put_row(bytes: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    // redb bounds both below 4 GiB.
    let length = |part: &[u8]| u32::try_from(part.len()).unwrap_or(u32::MAX).to_le_bytes();
    bytes.extend(length(key));
    bytes.extend(length(value));
    bytes.extend(key);
    bytes.extend(value);
}

/// The next row and what follows it.
fn take_row(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (header, rest) = bytes.split_at_checked(ROW_HEADER_BYTES)?;
    let (key_len, value_len) = header.split_at(ROW_HEADER_BYTES / 2);
    let length = |field: &[u8]| Some(u32::from_le_bytes(field.try_into().ok()?) as usize);
    let (key, rest) = rest.split_at_checked(length(key_len)?)?;
    let (value, rest) = rest.split_at_checked(length(value_len)?)?;
    Some((key, value, rest))
}

/// The receiving side.
pub struct Receiver {
    database: Database,
    turn: OwnedSemaphorePermit,
    expected: u64,
    rows: u64,
    announced: Option<u64>,
}

impl Receiver {
    /// Begins a fresh database beside the present one.
    pub(super) async fn begin(
        store: StateStore,
        turn: OwnedSemaphorePermit,
    ) -> Result<Self, TransferError> {
        let database = blocking(move || {
            let (disk, paths, cache_bytes) = store.place();
            unlink_if_there(disk.as_ref(), &paths.state_new())?;
            let database = open(disk, &paths.state_new(), &paths.state, cache_bytes)?;
            write_position(&database, &Applied::default())?;
            Ok::<_, StoreError>(database)
        })
        .await?;
        Ok(Self { database, turn, expected: 0, rows: 0, announced: None })
    }

    /// Takes one frame.
    pub async fn write(mut self, frame: Frame) -> Result<Self, TransferError> {
        blocking(move || {
            self.write_frame(&frame)?;
            Ok(self)
        })
        .await
    }

    fn write_frame(&mut self, frame: &Frame) -> Result<(), TransferError> {
        let sequence = frame.sequence;
        if sequence != self.expected || self.announced.is_some() {
            return Err(TransferError::OutOfOrder { expected: self.expected, found: sequence });
        }
        if crc32c::crc32c(&frame.rows) != frame.crc32c {
            return Err(TransferError::Damaged { sequence });
        }
        let mut txn = self.database.begin_write().map_err(StoreError::from)?;
        txn.set_durability(Durability::None).map_err(StoreError::from)?;
        {
            let mut table = txn.open_table(ROWS).map_err(StoreError::from)?;
            let mut bytes = frame.rows.as_ref();
            while !bytes.is_empty() {
                let (key, value, rest) =
                    take_row(bytes).ok_or(TransferError::Damaged { sequence })?;
                table.insert(key, value).map_err(StoreError::from)?;
                self.rows += 1;
                bytes = rest;
            }
        }
        txn.commit().map_err(StoreError::from)?;
        self.expected += 1;
        self.announced = frame.rows_total;
        Ok(())
    }

    /// Checks that all came and makes it durable.
    pub(super) async fn finish(self, meta: &SnapshotMeta) -> Result<ReceivedState, TransferError> {
        if self.announced != Some(self.rows) {
            let announced = self.announced;
            return Err(TransferError::Incomplete { received: self.rows, announced });
        }
        let applied =
            Applied { log_id: meta.last_log_id, membership: meta.last_membership.clone() };
        blocking(move || {
            write_position(&self.database, &applied)?;
            Ok(ReceivedState { database: self.database, turn: self.turn })
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        io::{
            Disk,
            disk::{
                create_dir_all_durable,
                sim::{Faults, SimDisk},
            },
        },
        metadata::{layout::GroupPaths, settings::MetadataSettings},
    };

    fn store() -> StateStore {
        let disk: Arc<dyn Disk> = SimDisk::new(1, Faults::default()).mount();
        let paths = GroupPaths::new(0);
        create_dir_all_durable(disk.as_ref(), &paths.folder).unwrap();
        StateStore::open(&disk, &paths, &MetadataSettings::default()).unwrap()
    }

    async fn receiver() -> Receiver {
        let turns = Arc::new(tokio::sync::Semaphore::new(1));
        Receiver::begin(store(), turns.try_acquire_owned().unwrap()).await.unwrap()
    }

    fn frame(sequence: u64, rows: &[(&str, &str)], rows_total: Option<u64>) -> Frame {
        let mut bytes = Vec::new();
        rows.iter().for_each(|(key, value)| put_row(&mut bytes, key.as_bytes(), value.as_bytes()));
        Frame { sequence, crc32c: crc32c::crc32c(&bytes), rows: bytes.into(), rows_total }
    }

    async fn fate(frames: Vec<Frame>) -> Result<ReceivedState, TransferError> {
        let mut receiver = receiver().await;
        for frame in frames {
            receiver = receiver.write(frame).await?;
        }
        receiver.finish(&SnapshotMeta::default()).await
    }

    #[tokio::test]
    async fn only_a_whole_state_is_accepted() {
        let first = || frame(0, &[("a", "1"), ("b", "")], None);
        let last = |total| frame(1, &[("c", "3")], Some(total));
        assert!(fate(vec![first(), last(3)]).await.is_ok());
        assert!(matches!(fate(vec![first()]).await, Err(TransferError::Incomplete { .. })));
        assert!(matches!(fate(vec![]).await, Err(TransferError::Incomplete { .. })));
        assert!(matches!(
            fate(vec![first(), last(4)]).await,
            Err(TransferError::Incomplete { .. })
        ));
        assert!(matches!(fate(vec![last(1)]).await, Err(TransferError::OutOfOrder { .. })));
        assert!(matches!(
            fate(vec![first(), first()]).await,
            Err(TransferError::OutOfOrder { .. })
        ));
        let more = vec![first(), last(3), frame(2, &[("d", "")], None)];
        assert!(matches!(fate(more).await, Err(TransferError::OutOfOrder { .. })));
    }

    #[tokio::test]
    async fn damage_is_noticed() {
        let flipped = Frame { crc32c: 7, ..frame(0, &[("a", "1")], Some(1)) };
        assert!(matches!(fate(vec![flipped]).await, Err(TransferError::Damaged { sequence: 0 })));
        // A frame that is what its sender made of it, but not rows.
        let cut = Bytes::from_static(&[9, 0, 0, 0, 0, 0, 0, 0, b'a']);
        let cut =
            Frame { sequence: 0, crc32c: crc32c::crc32c(&cut), rows: cut, rows_total: Some(1) };
        assert!(matches!(fate(vec![cut]).await, Err(TransferError::Damaged { .. })));
    }

    #[tokio::test]
    async fn frames_of_a_state_rebuild_it() {
        let source = receiver().await;
        let value = "v".repeat(1000);
        let rows: Vec<(String, &str)> =
            (0..1000).map(|i| (format!("key {i:04}"), value.as_str())).collect();
        let rows: Vec<(&str, &str)> = rows.iter().map(|(key, value)| (&**key, *value)).collect();
        let source = source.write(frame(0, &rows, Some(1000))).await.unwrap();
        let received = source.finish(&SnapshotMeta::default()).await.unwrap();
        let holder = store();
        let (disk, paths, _) = holder.place();
        // What `replace` renames; here the received database belongs to another disk.
        disk.create_new(&paths.state_new()).unwrap();
        holder.replace(received.database).unwrap();

        let mut sender = Sender::new(holder.snapshot().unwrap());
        let mut sent = Vec::new();
        while let Some((frame, next)) = sender.next().await.unwrap() {
            sent.push(frame);
            sender = next;
        }
        assert!(sent.len() >= 4, "{} frames", sent.len());
        let mut all = Vec::new();
        for frame in &sent {
            let mut bytes = frame.rows.as_ref();
            while let Some((key, value, rest)) = take_row(bytes) {
                all.push((key.to_vec(), value.to_vec()));
                bytes = rest;
            }
        }
        let expected: Vec<_> =
            rows.iter().map(|(k, v)| (k.as_bytes().to_vec(), v.as_bytes().to_vec())).collect();
        assert_eq!(all, expected);
        assert!(fate(sent).await.is_ok());
    }
}
