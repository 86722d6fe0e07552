//! The background worker that ends upload sessions nobody came back to.
//!
//! `work()` does one round and finishes what it began; `wait()` may be dropped at any time. Who
//! runs it decides when it stops.

use super::{BlobStore, ReapReport};

/// Runs [`BlobStore::reap`] once per interval.
#[derive(Clone, Debug)]
pub struct Reaper {
    store: BlobStore,
}

impl Reaper {
    /// A worker for `store`.
    pub fn new(store: BlobStore) -> Reaper {
        Reaper { store }
    }

    /// One round.
    pub async fn work(&self) -> ReapReport {
        let report = self.store.reap().await;
        if report.sessions_expired > 0 {
            tracing::info!(sessions = report.sessions_expired, "idle upload sessions removed");
        }
        report
    }

    /// Waits until the next round is due.
    pub async fn wait(&self) {
        tokio::time::sleep(self.store.settings().reap_interval).await;
    }
}
