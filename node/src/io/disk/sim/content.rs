//! The bytes of one simulated file: what readers see, what the platter holds, and what lies between.
//!
//! A write changes the cache at once and is remembered as pending; a sync applies the pending
//! changes to the durable bytes. Durable bytes only ever change through pending ones, so a change
//! that was forgotten (fsyncgate) stays visible and never becomes durable, as on Linux.

use std::collections::BTreeMap;

use super::{faults::Loss, pages::Pages};
use crate::io::entropy::rng::SeededRng;

/// What a disk writes whole or not at all, in bytes.
pub(super) const SECTOR: u64 = 512;

/// A file's bytes.
#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    cache: Pages,
    durable: Pages,
    pending: Vec<Change>,
}

#[derive(Clone, Debug)]
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    SetLen(usize),
}

impl Change {
    fn apply(&self, to: &mut Pages) {
        match self {
            Change::Write { offset, bytes } => to.write(*offset, bytes),
            Change::SetLen(len) => to.resize(*len),
        }
    }

    /// The file's length after this change, given the one before.
    fn len_after(&self, len: usize) -> usize {
        match self {
            Change::Write { offset, bytes } => len.max(offset + bytes.len()),
            Change::SetLen(len) => *len,
        }
    }
}

impl Content {
    pub(super) fn len(&self) -> u64 {
        self.cache.len() as u64
    }

    /// Copies what lies at `offset` and answers how much that was.
    pub(super) fn read(&self, buffer: &mut [u8], offset: u64) -> usize {
        self.cache.read(buffer, offset as usize)
    }

    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.change(Change::Write { offset: offset as usize, bytes: bytes.to_vec() });
        }
    }

    pub(super) fn set_len(&mut self, len: u64) {
        self.change(Change::SetLen(len as usize));
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.cache);
        self.pending.push(change);
    }

    /// Makes everything pending durable.
    pub(super) fn sync(&mut self) {
        for change in self.pending.drain(..) {
            change.apply(&mut self.durable);
        }
    }

    /// A failed sync whose pages stay readable but are now called clean: never written again.
    pub(super) fn forget_pending(&mut self) {
        self.pending.clear();
    }

    /// A failed sync whose pages are dropped: readers see the old bytes, in a file of the new length.
    pub(super) fn drop_pending(&mut self) {
        let len = self.cache.len();
        self.pending.clear();
        self.cache = self.durable.clone();
        self.set_len(len as u64);
    }

    /// Flips one bit on the platter and in the cache. False when the file is shorter.
    pub(super) fn rot(&mut self, offset: u64, bit: u8) -> bool {
        let at = offset as usize;
        let mask = 1_u8 << (bit % 8);
        for copy in [&mut self.durable, &mut self.cache] {
            copy.flip(at, mask);
        }
        at < self.cache.len()
    }

    /// The power is gone: some of the pending changes reached the platter, the cache is no more.
    pub(super) fn power_cut(&mut self, loss: Loss, rng: &mut SeededRng) {
        let pending = std::mem::take(&mut self.pending);
        match loss {
            Loss::DropAll => {}
            Loss::KeepAll => pending.iter().for_each(|change| change.apply(&mut self.durable)),
            Loss::Random => {
                for change in pending.iter().filter(|_| rng.chance(0.5)) {
                    change.apply(&mut self.durable);
                }
            }
            Loss::Torn => tear(&mut self.durable, &pending, rng),
        }
        self.cache = self.durable.clone();
    }
}

/// Sector by sector: each holds what it held after some prefix of the writes that touched it. The
/// length is journalled on its own: it is the one after some prefix of all changes, and a length
/// that outran its data reads as zeros.
fn tear(durable: &mut Pages, pending: &[Change], rng: &mut SeededRng) {
    let journalled = rng.below(pending.len() as u64 + 1) as usize;
    let len = pending[..journalled].iter().fold(durable.len(), |len, change| change.len_after(len));
    let mut writes_left = surviving_writes(pending, rng);
    for (index, change) in pending.iter().enumerate() {
        match change {
            Change::Write { offset, bytes } => {
                for (sector, from, to) in pieces(*offset, bytes.len()) {
                    let left = writes_left.entry(sector).or_default();
                    if *left > 0 {
                        *left -= 1;
                        durable.write(offset + from, &bytes[from..to]);
                    }
                }
            }
            // A cut that reached the journal wipes what older writes left behind it.
            Change::SetLen(cut) if index < journalled => {
                durable.resize(durable.len().min(*cut));
            }
            Change::SetLen(_) => {}
        }
    }
    durable.resize(len);
}

/// How many of the pending writes to each sector reach it.
fn surviving_writes(pending: &[Change], rng: &mut SeededRng) -> BTreeMap<u64, u64> {
    let mut writes: BTreeMap<u64, u64> = BTreeMap::new();
    for change in pending {
        if let Change::Write { offset, bytes } = change {
            for (sector, ..) in pieces(*offset, bytes.len()) {
                *writes.entry(sector).or_default() += 1;
            }
        }
    }
    for count in writes.values_mut() {
        *count = rng.below(*count + 1);
    }
    writes
}

/// Cuts a write at sector borders: (sector number, start and end within the written bytes).
fn pieces(offset: usize, len: usize) -> impl Iterator<Item = (u64, usize, usize)> {
    let sector = SECTOR as usize;
    let end = offset + len;
    (offset / sector..end.div_ceil(sector)).map(move |number| {
        let from = (number * sector).max(offset);
        let to = ((number + 1) * sector).min(end);
        (number as u64, from - offset, to - offset)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(content: &Content) -> Vec<u8> {
        let mut buffer = vec![0; content.len() as usize];
        content.read(&mut buffer, 0);
        buffer
    }

    #[test]
    fn pieces_cover_a_write_and_respect_the_sectors() {
        let cut: Vec<_> = pieces(500, 600).collect();
        assert_eq!(cut, [(0, 0, 12), (1, 12, 524), (2, 524, 600)]);
        assert_eq!(pieces(512, 512).collect::<Vec<_>>(), [(1, 0, 512)]);
    }

    /// Every sector of a torn file is old, new or (where the length outran the data) zero.
    #[test]
    fn a_tear_leaves_whole_sectors() {
        let mut seen_mixed = false;
        let mut seen_zero = false;
        for seed in 0..200 {
            let mut content = Content::default();
            content.write(0, &[1; 2048]);
            content.sync();
            content.write(0, &[2; 4096]);
            content.power_cut(Loss::Torn, &mut SeededRng::new(seed));
            let after = bytes(&content);
            assert!(after.len() == 2048 || after.len() == 4096, "seed {seed}: {}", after.len());
            let mut kinds = std::collections::BTreeSet::new();
            for sector in after.chunks(512) {
                assert!(sector.iter().all(|byte| *byte == sector[0]), "seed {seed}");
                kinds.insert(sector[0]);
            }
            assert!(!after[..2048].contains(&0), "seed {seed}: durable bytes became zeros");
            seen_mixed |= kinds.contains(&1) && kinds.contains(&2);
            seen_zero |= kinds.contains(&0);
        }
        assert!(seen_mixed && seen_zero);
    }

    #[test]
    fn synced_bytes_survive_every_loss() {
        for loss in [Loss::DropAll, Loss::KeepAll, Loss::Random, Loss::Torn] {
            for seed in 0..50 {
                let mut content = Content::default();
                content.write(0, &[7; 3000]);
                content.sync();
                content.write(3000, &[8; 3000]);
                content.power_cut(loss, &mut SeededRng::new(seed));
                assert_eq!(&bytes(&content)[..3000], &[7; 3000], "{loss:?} seed {seed}");
            }
        }
    }

    #[test]
    fn a_forgotten_write_is_seen_until_the_power_goes() {
        let mut content = Content::default();
        content.write(0, b"old");
        content.sync();
        content.write(0, b"new");
        content.forget_pending();
        assert_eq!(bytes(&content), b"new");
        content.sync();
        content.power_cut(Loss::KeepAll, &mut SeededRng::new(0));
        assert_eq!(bytes(&content), b"old");
    }

    #[test]
    fn a_dropped_page_shows_the_old_bytes_in_the_new_length() {
        let mut content = Content::default();
        content.write(0, b"old");
        content.sync();
        content.write(0, b"newer");
        content.drop_pending();
        assert_eq!(bytes(&content), b"old\0\0");
    }
}
