//! What the digests that a node holds in a cell add up to: equal sums, equal sets.
//!
//! Whoever keeps the sums hashes each digest with a key of the cluster before it is added, so that
//! nobody can choose blobs whose marks cancel out.

/// The sum of one cell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    /// How many digests.
    pub count: u64,
    /// XOR of their marks.
    pub mark: u128,
}
