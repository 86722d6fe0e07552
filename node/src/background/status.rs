//! How far the background work has come, for operators and metrics.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use atoll_core::view::Epoch;
use serde::Serialize;

/// What repair is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Nothing is missing as far as is known.
    #[default]
    Idle,
    /// Comparing with other nodes.
    Comparing,
    /// Getting copies.
    Fetching,
    /// Waiting for a source that does not answer.
    Waiting,
}

/// Where one pass is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Progress {
    /// What it is doing.
    pub phase: Phase,
    /// The view it is about.
    pub epoch: u64,
    /// Nodes to look at, in this pass.
    pub sources: u64,
    /// Nodes looked at.
    pub sources_done: u64,
    /// Copies found missing here.
    pub copies: u64,
    /// Of them, fetched.
    pub copies_done: u64,
    /// Bytes of the copies found missing here.
    pub bytes: u64,
    /// Of them, fetched.
    pub bytes_done: u64,
    /// When all will be here, in seconds, by the rate so far; none when there is nothing to do or
    /// nothing to go by.
    pub eta_seconds: Option<u64>,
    /// The last view for which this node has reported that it is synced.
    pub synced_epoch: u64,
}

/// What background work has done since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RepairStats {
    /// Passes over co-owners that ended.
    pub passes: u64,
    /// Copies fetched because they were missing.
    pub copies_fetched: u64,
    /// Bytes of them.
    pub bytes_fetched: u64,
    /// Fetches that failed and will be tried again.
    pub fetches_failed: u64,
    /// Copies known to be missing here now.
    pub missing: u64,
    /// Copies read again.
    pub scrubbed: u64,
    /// Bytes of them.
    pub scrubbed_bytes: u64,
    /// Of them, bad.
    pub scrub_found_bad: u64,
    /// Copies removed because others own them.
    pub disowned_removed: u64,
    /// Bytes of them.
    pub disowned_bytes: u64,
}

/// Shared between the workers and who asks.
#[derive(Debug, Default)]
pub struct RepairStatus {
    progress: Mutex<(Progress, Duration)>,
    /// Counters of [`RepairStats`].
    pub passes: AtomicU64,
    /// Of [`RepairStats`].
    pub copies_fetched: AtomicU64,
    /// Of [`RepairStats`].
    pub bytes_fetched: AtomicU64,
    /// Of [`RepairStats`].
    pub fetches_failed: AtomicU64,
    /// Of [`RepairStats`].
    pub missing: AtomicU64,
    /// Of [`RepairStats`].
    pub scrubbed: AtomicU64,
    /// Of [`RepairStats`].
    pub scrubbed_bytes: AtomicU64,
    /// Of [`RepairStats`].
    pub scrub_found_bad: AtomicU64,
    /// Of [`RepairStats`].
    pub disowned_removed: AtomicU64,
    /// Of [`RepairStats`].
    pub disowned_bytes: AtomicU64,
}

impl RepairStatus {
    /// Begins a pass at `now`: what was known of the pass before is forgotten.
    pub(super) fn begin(&self, epoch: Epoch, sources: u64, now: Duration) {
        let mut held = self.held();
        let synced_epoch = held.0.synced_epoch;
        let progress = Progress {
            phase: if sources > 0 { Phase::Comparing } else { Phase::Idle },
            epoch: epoch.0,
            sources,
            synced_epoch,
            ..Progress::default()
        };
        *held = (progress, now);
    }

    /// Changes where the pass is.
    pub(super) fn update(&self, change: impl FnOnce(&mut Progress)) {
        change(&mut self.held().0);
    }

    /// Where the pass is at `now`.
    pub fn progress(&self, now: Duration) -> Progress {
        let (mut progress, began) = *self.held();
        progress.eta_seconds = eta(&progress, now.saturating_sub(began));
        progress
    }

    /// What was done since the start.
    pub fn stats(&self) -> RepairStats {
        RepairStats {
            passes: self.passes.load(Relaxed),
            copies_fetched: self.copies_fetched.load(Relaxed),
            bytes_fetched: self.bytes_fetched.load(Relaxed),
            fetches_failed: self.fetches_failed.load(Relaxed),
            missing: self.missing.load(Relaxed),
            scrubbed: self.scrubbed.load(Relaxed),
            scrubbed_bytes: self.scrubbed_bytes.load(Relaxed),
            scrub_found_bad: self.scrub_found_bad.load(Relaxed),
            disowned_removed: self.disowned_removed.load(Relaxed),
            disowned_bytes: self.disowned_bytes.load(Relaxed),
        }
    }

    fn held(&self) -> std::sync::MutexGuard<'_, (Progress, Duration)> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// At the rate so far.
fn eta(progress: &Progress, elapsed: Duration) -> Option<u64> {
    let left = progress.bytes.checked_sub(progress.bytes_done)?;
    if left == 0 || progress.bytes_done == 0 {
        return None;
    }
    let seconds = u128::from(left) * elapsed.as_millis() / u128::from(progress.bytes_done) / 1000;
    u64::try_from(seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_takes_as_long_as_the_rate_says() {
        let progress = Progress { bytes: 300, bytes_done: 100, ..Progress::default() };
        assert_eq!(eta(&progress, Duration::from_secs(10)), Some(20));
        let nothing_yet = Progress { bytes: 300, ..Progress::default() };
        assert_eq!(eta(&nothing_yet, Duration::from_secs(10)), None);
        assert_eq!(eta(&Progress::default(), Duration::from_secs(10)), None);
    }
}
