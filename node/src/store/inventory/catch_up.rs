//! Putting the rows right after a start, and adding them up, in the background.
//!
//! After a process that ended in order the rows are those of the files. After any other, one shard
//! folder at a time is compared with its rows: a file without a row gets one, a row without a file
//! goes. Then the rows are added up. Both go on while blobs come and go: a difference is
//! looked at again under the claim of its blob before anything is changed.
//!
//! A file without a row counts as stamped with the high stamp, which is never too low.

use std::{collections::BTreeMap, ops::Bound};

use atoll_core::{Algorithm, Digest};

use super::{Inventory, InventoryError, Seen, row, visit};

/// Shard folders: 256 of each algorithm.
pub(in crate::store) const SHARDS: usize = 256 * Algorithm::ALL.len();

/// Rows added up in one go, while nobody may write: well under a millisecond.
const ADDED_UP_MAX: usize = 512;

/// How far the background work of a start has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InventoryProgress {
    /// Shard folders that were compared.
    pub shards_checked: usize,
    /// Of so many.
    pub shards: usize,
    /// Are all rows in the sums?
    pub is_added_up: bool,
}

impl InventoryProgress {
    /// Is there nothing left to do?
    pub fn is_complete(&self) -> bool {
        self.shards_checked == self.shards && self.is_added_up
    }
}

/// A shard folder: its algorithm and the first byte of its digests.
pub(in crate::store) fn shard(number: usize) -> (Algorithm, u8) {
    (Algorithm::ALL[number / 256], (number % 256) as u8)
}

fn shard_of(digest: &Digest) -> usize {
    let place = Algorithm::ALL.iter().position(|one| *one == digest.algorithm());
    place.unwrap_or_default() * 256 + usize::from(digest.as_bytes()[0])
}

impl Inventory {
    /// How far the background work has come.
    pub fn progress(&self) -> InventoryProgress {
        let state = self.locked();
        InventoryProgress {
            shards_checked: state.shards_checked,
            shards: SHARDS,
            is_added_up: *state.sums.seen() == Seen::All,
        }
    }

    /// Does a row of this blob say that its name is durable?
    pub fn is_checked(&self, digest: &Digest) -> bool {
        shard_of(digest) < self.locked().shards_checked
    }

    /// The next shard to compare.
    pub fn next_shard(&self) -> Option<usize> {
        let checked = self.locked().shards_checked;
        (checked < SHARDS).then_some(checked)
    }

    /// A shard was compared, and all before it.
    pub fn shard_is_checked(&self, number: usize) {
        let mut state = self.locked();
        if state.shards_checked == number {
            state.shards_checked += 1;
        }
    }

    /// There are no files: without rows too, nothing is to be compared. Blocks.
    pub fn handle_no_files(&self) -> Result<(), InventoryError> {
        let mut is_empty = true;
        self.read(|rows| {
            visit(rows, &Bound::Unbounded, &Bound::Unbounded, 1, |_, _, _| is_empty = false)
        })?;
        if is_empty {
            self.locked().shards_checked = SHARDS;
        }
        Ok(())
    }

    /// The rows of a shard with their sizes. Blocks.
    pub fn rows_of_shard(&self, number: usize) -> Result<BTreeMap<Digest, u64>, InventoryError> {
        let (algorithm, byte) = shard(number);
        let from = Bound::Included(vec![byte]);
        let to = byte.checked_add(1).map_or(Bound::Unbounded, |next| Bound::Excluded(vec![next]));
        let mut found = BTreeMap::new();
        self.read(|rows| {
            visit(rows, &from, &to, usize::MAX, |digest, size, _| {
                if digest.algorithm() == algorithm {
                    found.insert(digest, size);
                }
            })
        })?;
        Ok(found)
    }

    /// Adds the next rows up; `false` when all are. Blocks.
    pub fn add_up(&self) -> Result<bool, InventoryError> {
        if self.locked().broken {
            return Err(InventoryError::Broken);
        }
        self.look_alone(|rows| {
            let from = match self.locked().sums.seen() {
                Seen::None => Bound::Unbounded,
                Seen::UpTo(last) => Bound::Excluded(last.clone()),
                Seen::All => return Ok(false),
            };
            let mut next = Vec::new();
            visit(rows, &from, &Bound::Unbounded, ADDED_UP_MAX, |digest, _, _| next.push(digest))?;
            let last = (next.len() == ADDED_UP_MAX).then(|| next.last().map(row::key)).flatten();
            let is_last = last.is_none();
            self.locked().sums.see(&next, last);
            Ok(!is_last)
        })
    }
}
