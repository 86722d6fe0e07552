//! Figures for operators.

use std::sync::atomic::Ordering;

use openraft::ServerState;

use super::group::Group;

/// Figures of every metadata group, in order of their ids.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetadataStats {
    /// One for each group.
    pub groups: Vec<GroupStats>,
}

/// Figures of one group on this node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupStats {
    /// Which.
    pub group: u16,
    /// Does this node lead it?
    pub leader: bool,
    /// Raft's term.
    pub term: u64,
    /// Index of the last entry in the log.
    pub last_log: Option<u64>,
    /// Index of the last entry applied to the state.
    pub applied: Option<u64>,
    /// Index of the last entry purged from the log.
    pub purged: Option<u64>,
    /// Entries this node has proposed since it started.
    pub batches: u64,
    /// Requests in them.
    pub requests: u64,
    /// Has the group stopped for good?
    pub stopped: bool,
}

pub(super) fn of(group: &Group) -> GroupStats {
    let metrics = group.raft.metrics();
    let metrics = metrics.borrow();
    GroupStats {
        group: group.id,
        leader: metrics.state == ServerState::Leader,
        term: metrics.current_term,
        last_log: metrics.last_log_index,
        applied: metrics.last_applied.map(|log_id| log_id.index),
        purged: metrics.purged.map(|log_id| log_id.index),
        batches: group.proposer.counters.batches.load(Ordering::Relaxed),
        requests: group.proposer.counters.requests.load(Ordering::Relaxed),
        stopped: metrics.running_state.is_err(),
    }
}
