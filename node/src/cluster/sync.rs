//! The report of a node that it holds everything it owns.
//!
//! Who moves copies says up to which view this node has caught up; here it is written down where the
//! view keeper looks. When every acting node has reported, earlier configurations are closed.

use std::time::Duration;

use atoll_core::view::Epoch;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{Cluster, SessionSlot, registrar::report_synced};

/// Pause before a report that did not arrive is tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// The way in for whoever moves copies. Clones share it.
#[derive(Clone, Debug)]
pub struct SyncReports {
    synced: std::sync::Arc<watch::Sender<Epoch>>,
}

impl Default for SyncReports {
    fn default() -> Self {
        Self { synced: std::sync::Arc::new(watch::Sender::new(Epoch(0))) }
    }
}

impl SyncReports {
    /// This node holds all that it owns in the view of `epoch`: it has pulled from enough members of
    /// every open set, each of which had adopted that view before it was scanned.
    pub fn report(&self, epoch: Epoch) {
        self.synced.send_if_modified(|synced| {
            let newer = epoch > *synced;
            *synced = epoch.max(*synced);
            newer
        });
    }

    /// Writes every report down until `stop`.
    pub async fn run(self, cluster: Cluster, session: SessionSlot, stop: CancellationToken) {
        let mut synced = self.synced.subscribe();
        let mut written = Epoch(0);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                changed = synced.wait_for(|epoch| *epoch > written) => if changed.is_err() { return },
            }
            let epoch = *synced.borrow_and_update();
            let Some(session) = session.wait(&stop).await else { return };
            match report_synced(session.as_ref(), cluster.me(), epoch).await {
                Ok(()) => {
                    tracing::info!(node = %cluster.me(), %epoch, "holds everything it owns");
                    written = epoch;
                }
                Err(error) => {
                    tracing::debug!(%error, "report not written yet");
                    tokio::time::sleep(RETRY_PAUSE).await;
                }
            }
        }
    }
}
