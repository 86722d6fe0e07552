//! What the blobs of a cell add up to.
//!
//! Two owners of a cell compare two numbers: how many blobs they hold there, and the XOR of a keyed
//! mark of each ([`atoll_core::repair`]). A sum follows a change at once: a blob that comes and one
//! that goes are the same XOR. Keyed, so that nobody can choose blobs whose marks cancel out.
//!
//! The sums are in memory only; at a start they are made anew from the rows, part by part. Until that
//! is through they are not told: a sum of half the rows would look like missing blobs.

use atoll_core::{
    Digest,
    repair::{CELLS_MAX, Cell, Cells, sums::Sum},
};
use sha2::{Digest as _, Sha256};

/// What tells two clusters' sums apart.
pub type SumKey = [u8; 16];

/// The mark of one blob.
pub(super) fn mark(key: &SumKey, digest: &Digest) -> u128 {
    let mut hash = Sha256::new();
    hash.update(key);
    hash.update(digest.algorithm().name());
    hash.update(digest.as_bytes());
    hash.finalize().iter().take(16).fold(0, |sum, byte| (sum << 8) | u128::from(*byte))
}

/// A blob that comes or goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub digest: Digest,
    pub comes: bool,
}

/// The smallest cells there are.
fn cells() -> Cells {
    Cells::new(CELLS_MAX).expect("the largest number of cells is one of those allowed")
}

/// Smallest cells whose sums are kept added up as well: a small cluster compares large cells.
const BLOCK: usize = 256;

/// The sums of all cells, and how far they have come.
#[derive(Debug)]
pub(super) struct Sums {
    key: SumKey,
    /// Of the smallest cells; larger ones are runs of these.
    sums: Vec<Sum>,
    /// Of each [`BLOCK`] of them.
    blocks: Vec<Sum>,
    seen: Seen,
}

/// Which rows are in the sums.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// None.
    None,
    /// Those up to this key.
    UpTo(Vec<u8>),
    /// All.
    All,
}

impl Sums {
    pub fn new(key: SumKey) -> Sums {
        let zeros = |count| vec![Sum::default(); count];
        Sums { key, sums: zeros(CELLS_MAX), blocks: zeros(CELLS_MAX / BLOCK), seen: Seen::None }
    }

    pub fn seen(&self) -> &Seen {
        &self.seen
    }

    /// Takes changes of rows in; those of rows that will yet be seen are left to that.
    pub fn change(&mut self, changes: &[Change]) {
        for change in changes {
            let is_seen = match &self.seen {
                Seen::None => false,
                Seen::UpTo(last) => super::row::key(&change.digest) <= *last,
                Seen::All => true,
            };
            if is_seen {
                self.add(change);
            }
        }
    }

    /// Takes the next rows in, up to the key `last`, or all that are left.
    pub fn see(&mut self, rows: &[Digest], last: Option<Vec<u8>>) {
        rows.iter().for_each(|digest| self.add(&Change { digest: *digest, comes: true }));
        self.seen = last.map_or(Seen::All, Seen::UpTo);
    }

    fn add(&mut self, change: &Change) {
        let cell = cells().cell(&change.digest).0 as usize;
        let one = if change.comes { 1 } else { u64::MAX };
        let one = Sum { count: one, mark: mark(&self.key, &change.digest) };
        for sum in [&mut self.sums[cell], &mut self.blocks[cell / BLOCK]] {
            *sum = plus(*sum, &one);
        }
    }

    /// The sums of some cells; none until all rows were seen.
    pub fn of(&self, of: Cells, some: &[Cell]) -> Option<Vec<Sum>> {
        if self.seen != Seen::All {
            return None;
        }
        let run = CELLS_MAX / of.count();
        let (sums, run) = match run / BLOCK {
            0 => (&self.sums, run),
            blocks => (&self.blocks, blocks),
        };
        let sum_of = |cell: &Cell| {
            let parts = sums.iter().skip(cell.0 as usize * run).take(run);
            parts.fold(Sum::default(), plus)
        };
        Some(some.iter().map(sum_of).collect())
    }
}

fn plus(sum: Sum, other: &Sum) -> Sum {
    Sum { count: sum.count.wrapping_add(other.count), mark: sum.mark ^ other.mark }
}

#[cfg(test)]
mod tests {
    use atoll_core::Algorithm;

    use super::*;

    fn blobs(count: u8) -> Vec<Digest> {
        let mut blobs: Vec<Digest> =
            (0..count).map(|number| Digest::of(Algorithm::Sha256, &[number])).collect();
        blobs.sort_by_key(super::super::row::key);
        blobs
    }

    fn all(sums: &Sums, bits: u32) -> Option<Vec<Sum>> {
        let of = Cells::new(1 << bits).unwrap();
        sums.of(of, &of.iter().collect::<Vec<_>>())
    }

    fn came(digest: &Digest) -> Change {
        Change { digest: *digest, comes: true }
    }

    fn went(digest: &Digest) -> Change {
        Change { digest: *digest, comes: false }
    }

    #[test]
    fn sums_know_sets_and_not_orders() {
        let blobs = blobs(50);
        let mut one = Sums::new([1; 16]);
        one.see(&blobs, None);
        let mut other = Sums::new([1; 16]);
        other.see(&[], None);
        other.change(&blobs.iter().rev().map(came).collect::<Vec<_>>());
        assert_eq!(all(&one, 16), all(&other, 16));
        other.change(&[went(&blobs[7])]);
        assert_ne!(all(&one, 16), all(&other, 16));
        one.change(&blobs.iter().map(went).collect::<Vec<_>>());
        assert_eq!(all(&one, 16), Some(vec![Sum::default(); CELLS_MAX]));
        assert_ne!(mark(&[1; 16], &blobs[0]), mark(&[2; 16], &blobs[0]));
    }

    #[test]
    fn a_large_cell_is_the_sum_of_its_digests() {
        let (blobs, key) = (blobs(200), [1; 16]);
        let mut sums = Sums::new(key);
        sums.see(&blobs, None);
        for bits in [1, 4, 12, 16] {
            let of = Cells::new(1 << bits).unwrap();
            let mut expected = vec![Sum::default(); of.count()];
            for blob in &blobs {
                let sum = &mut expected[of.cell(blob).0 as usize];
                *sum = Sum { count: sum.count + 1, mark: sum.mark ^ mark(&key, blob) };
            }
            assert_eq!(all(&sums, bits), Some(expected));
        }
    }

    #[test]
    fn nothing_is_told_before_all_was_seen() {
        let blobs = blobs(4);
        let mut sums = Sums::new([0; 16]);
        sums.see(&blobs[..2], Some(super::super::row::key(&blobs[1])));
        assert_eq!(all(&sums, 1), None);
        // One that was seen goes, one that will be seen goes: the rows will not have it.
        sums.change(&[went(&blobs[0]), went(&blobs[3])]);
        sums.see(&blobs[2..3], None);
        let mut expected = Sums::new([0; 16]);
        expected.see(&blobs[1..3], None);
        assert_eq!(all(&sums, 16), all(&expected, 16));
    }
}
