//! Sums over the digests that a node holds in a cell: equal sums, equal sets.
//!
//! A sum is the number of digests and the XOR of a 128-bit mark of each. Digests are hashes already;
//! the mark is taken from bytes that the cell does not fix, so two different sets collide with a
//! chance of 2^-128 unless somebody constructs blobs for it. Who can do that has pushed them, and
//! gains that two replicas of their own blobs are compared one pass later: every pass that lists a
//! cell, and every read, still tells a missing copy.

use crate::Digest;

/// The sum of one cell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    /// How many digests.
    pub count: u64,
    /// XOR of their marks.
    pub mark: u128,
}

impl Sum {
    /// Adds a digest that is not in the sum.
    pub fn add(&mut self, digest: &Digest) {
        self.count += 1;
        self.mark ^= mark(digest);
    }

    /// Takes a digest out that is in the sum.
    pub fn remove(&mut self, digest: &Digest) {
        self.count = self.count.saturating_sub(1);
        self.mark ^= mark(digest);
    }
}

/// The last 16 bytes, and the algorithm, so that two digests of one content differ.
fn mark(digest: &Digest) -> u128 {
    let bytes = digest.as_bytes();
    let tail = bytes.last_chunk::<16>().expect("digests have 32 bytes or more");
    u128::from_be_bytes(*tail) ^ u128::from(bytes.len() as u64)
}
