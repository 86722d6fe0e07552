//! Signs of life of a session at a ZooKeeper ensemble, and what its owner may believe of it.

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;
use zookeeper_client::{Client, SessionState as ZkState, StateWatcher};

use super::HEARTBEAT_INTERVAL;
use crate::{
    coordination::{Liveness, SessionState},
    io::Clock,
};

/// Keeps [`Liveness`] true.
pub(super) struct Heartbeat {
    pub client: Client,
    pub clock: Arc<dyn Clock>,
    pub liveness: watch::Sender<Liveness>,
}

impl Heartbeat {
    /// Until the session has ended.
    pub async fn run(self) {
        let mut states = self.client.state_watcher();
        let beats = self.beat();
        tokio::select! {
            biased;
            () = self.follow(&mut states) => {}
            () = beats => {}
        }
    }

    /// Follows what the library says, up to the end.
    async fn follow(&self, states: &mut StateWatcher) {
        loop {
            let state = match states.changed().await {
                ZkState::Disconnected => SessionState::Suspended,
                ZkState::Expired | ZkState::AuthFailed => SessionState::Expired,
                ZkState::Closed => SessionState::Closed,
                // The next answered heartbeat says so, and since when.
                ZkState::SyncConnected | ZkState::ConnectedReadOnly => continue,
            };
            self.state(state);
            if state.is_final() {
                return;
            }
        }
    }

    async fn beat(&self) {
        loop {
            let sent = self.clock.monotonic();
            let timeout = self.liveness.borrow().timeout;
            let asked = tokio::time::timeout(timeout / 2, self.client.check_stat("/")).await;
            match asked {
                Ok(Ok(_)) => self.acknowledged(sent),
                Ok(Err(_)) | Err(_) => {
                    let lost =
                        self.clock.monotonic() >= self.liveness.borrow().acknowledged + timeout;
                    self.state(if lost { SessionState::Lost } else { SessionState::Suspended });
                }
            }
            let spent = self.clock.monotonic().saturating_sub(sent);
            tokio::time::sleep(HEARTBEAT_INTERVAL.saturating_sub(spent)).await;
        }
    }

    fn acknowledged(&self, sent: Duration) {
        self.liveness.send_if_modified(|liveness| {
            let lives = !liveness.state.is_final();
            if lives {
                liveness.state = SessionState::Connected;
                liveness.acknowledged = sent.max(liveness.acknowledged);
            }
            lives
        });
    }

    fn state(&self, state: SessionState) {
        self.liveness.send_if_modified(|liveness| {
            let changed = liveness.state != state && !liveness.state.is_final();
            if changed {
                liveness.state = state;
            }
            changed
        });
    }
}
