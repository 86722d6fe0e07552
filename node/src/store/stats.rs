//! Counters of the store, for metrics and status pages.

use std::sync::atomic::{AtomicU64, Ordering};

/// What the store holds and has done since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreStats {
    /// Open upload sessions.
    pub sessions: u64,
    /// Bytes in open upload sessions.
    pub session_bytes: u64,
    /// Blobs published.
    pub commits: u64,
    /// Content bytes of the blobs published.
    pub committed_bytes: u64,
    /// Commits that failed for any reason.
    pub commits_failed: u64,
    /// Reads that found a bad block or trailer.
    pub corrupt_reads: u64,
    /// Copies moved to quarantine.
    pub quarantined: u64,
    /// Blobs in quarantine now, waiting for a new copy.
    pub damaged: u64,
    /// Damaged blobs that a new push healed.
    pub healed: u64,
    /// Copies deleted because nobody needs them.
    pub deleted: u64,
    /// Sessions cancelled by their clients.
    pub sessions_cancelled: u64,
    /// Sessions that nobody came back to.
    pub sessions_expired: u64,
    /// Bytes that may still be written to the disk, as last seen.
    pub disk_available_bytes: u64,
    /// Size of the disk in bytes.
    pub disk_total_bytes: u64,
}

/// The counters that only grow.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) commits: Counter,
    pub(crate) committed_bytes: Counter,
    pub(crate) commits_failed: Counter,
    pub(crate) corrupt_reads: Counter,
    pub(crate) quarantined: Counter,
    pub(crate) healed: Counter,
    pub(crate) deleted: Counter,
    pub(crate) sessions_cancelled: Counter,
    pub(crate) sessions_expired: Counter,
}

/// A number that only grows. Nothing is decided by it, so no ordering is needed.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
