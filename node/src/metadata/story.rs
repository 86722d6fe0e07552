//! What happens to a group, for the log: who leads it, and that it has stopped.
//!
//! The Raft library tells every message that fails, many a second while a voter is away, as errors; it
//! is silent by default (`log.level`), and this says once what an operator can use.

use openraft::{BasicNode, RaftMetrics, error::Fatal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::raft::NodeId;

/// Follows a group until `stop`.
pub(super) async fn tell(
    group: u16,
    mut metrics: watch::Receiver<RaftMetrics<NodeId, BasicNode>>,
    stop: CancellationToken,
) {
    let mut told = None;
    loop {
        let (state, term, leader) = {
            let now = metrics.borrow_and_update();
            (now.running_state.clone(), now.current_term, now.current_leader)
        };
        match state {
            Ok(()) => {}
            Err(Fatal::Stopped) => return,
            Err(reason) => {
                error!(group, %reason, "metadata group has stopped; look at the disk, then restart");
                return;
            }
        }
        if told != Some(leader) {
            match (leader, told) {
                (Some(leader), _) => info!(group, term, leader, "metadata group has a leader"),
                (None, Some(Some(before))) => {
                    warn!(group, term, before, "metadata group has lost its leader");
                }
                (None, _) => {}
            }
            told = Some(leader);
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            changed = metrics.changed() => if changed.is_err() { return },
        }
    }
}
