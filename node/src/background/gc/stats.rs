//! What collection has done since the node started, as the node that drove it saw it.

use std::sync::atomic::{AtomicU64, Ordering};

/// Figures for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GcStats {
    /// Passes over everything.
    pub passes: u64,
    /// Rounds that condemned something.
    pub rounds: u64,
    /// Blobs condemned.
    pub condemned: u64,
    /// Blobs spared because somebody came to need them meanwhile.
    pub spared: u64,
    /// Copies deleted.
    pub copies: u64,
    /// Bytes freed.
    pub bytes: u64,
    /// Rounds and settlings that could not be ended at once.
    pub failed: u64,
}

/// The counters behind them.
#[derive(Debug, Default)]
pub struct GcCounters {
    pub(super) passes: Counter,
    pub(super) rounds: Counter,
    pub(super) condemned: Counter,
    pub(super) spared: Counter,
    pub(super) copies: Counter,
    pub(super) bytes: Counter,
    pub(super) failed: Counter,
}

impl GcCounters {
    /// As they are now.
    pub fn stats(&self) -> GcStats {
        GcStats {
            passes: self.passes.get(),
            rounds: self.rounds.get(),
            condemned: self.condemned.get(),
            spared: self.spared.get(),
            copies: self.copies.get(),
            bytes: self.bytes.get(),
            failed: self.failed.get(),
        }
    }
}

/// A number that only grows. Nothing is decided by it, so no ordering is needed.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
