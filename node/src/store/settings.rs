//! What the store is allowed, each bound with its reason.

use std::time::Duration;

use atoll_core::upload::{UploadBudgetLimits, UploadLimits};

use super::inventory::SumKey;

/// Settings of a [`BlobStore`](super::BlobStore). The defaults suit one node with a disk of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreSettings {
    /// The longest blob in bytes. 64 GiB: far above any image layer, low enough that a client
    /// which never stops sending is stopped.
    pub blob_bytes_max: u64,
    /// How long an upload session may go without receiving anything. 24 hours: a build that
    /// resumes the next morning still can.
    pub session_idle_max: Duration,
    /// Open upload sessions. 10,000, at less than 1 KiB of memory each while unused.
    pub sessions_max: usize,
    /// Bytes in all unfinished uploads together. 1 TiB; the reserve below usually binds first.
    pub session_bytes_max: u64,
    /// Share of the disk, in percent, that uploads may not touch. 5 %: room for metadata, and for
    /// the node to go on serving and cleaning up on a disk that is nearly full.
    pub disk_reserve_percent: u8,
    /// Files of idle sessions that stay open between requests. 1,024; beyond it a session's file
    /// is made durable and closed when its request ends, which costs one fsync.
    pub idle_files_max: usize,
    /// Bytes gathered before they are hashed and written as one batch. 1 MiB: a hand-over to the
    /// blocking pool costs some 10 µs, hashing this much some 500 µs. At most two batches of a
    /// session are in memory, one being written and one being gathered.
    pub batch_bytes: usize,
    /// What the sums of this store's arcs are keyed with: nodes that compare sums have the same. Zeros
    /// for a node that compares with nobody.
    pub sum_key: SumKey,
    /// How often the background worker looks for sessions that expired. One minute.
    pub reap_interval: Duration,
}

impl Default for StoreSettings {
    fn default() -> Self {
        StoreSettings {
            blob_bytes_max: 64 << 30,
            session_idle_max: Duration::from_secs(24 * 60 * 60),
            sessions_max: 10_000,
            session_bytes_max: 1 << 40,
            disk_reserve_percent: 5,
            idle_files_max: 1_024,
            batch_bytes: 1 << 20,
            sum_key: SumKey::default(),
            reap_interval: Duration::from_secs(60),
        }
    }
}

impl StoreSettings {
    pub(crate) fn upload_limits(&self) -> UploadLimits {
        UploadLimits { blob_bytes_max: self.blob_bytes_max, idle_max: self.session_idle_max }
    }

    pub(crate) fn budget_limits(&self) -> UploadBudgetLimits {
        UploadBudgetLimits { sessions_max: self.sessions_max, bytes_max: self.session_bytes_max }
    }
}
