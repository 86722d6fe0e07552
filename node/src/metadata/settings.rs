//! What an operator, or a test, may choose about metadata.

use std::{collections::BTreeMap, time::Duration};

use super::raft::NodeId;

/// Most groups a cluster may be founded with. More would only multiply files and heartbeats.
pub const GROUPS_MAX: u16 = 256;

/// The id of the group that coordinates the nodes: group 0 of the design, beside the metadata groups,
/// whose ids count from 0.
pub const COORDINATION: u16 = u16::MAX;

const _: () = assert!(GROUPS_MAX < COORDINATION, "no metadata group has its id");

/// Numbers and names; the components (clock, disk, peers) come separately.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetadataSettings {
    /// How many Raft groups share the repositories, 1 to [`GROUPS_MAX`]. Chosen when the data folder
    /// is founded and never changed: it decides which group owns a repository.
    pub groups: u16,
    /// This node within the groups.
    pub node: NodeId,
    /// Does this node found the groups with `voters` if they have no member yet? A node that joins
    /// others must not: it waits until they add it.
    pub found: bool,
    /// The founding voters and where they listen (`host:port`). Only read on the very first start;
    /// every founding voter is given the same map.
    pub voters: BTreeMap<NodeId, String>,
    /// Which cluster this is. Messages of another cluster are refused.
    pub cluster_id: String,
    /// How long a submit is retried before it is given up as unavailable.
    pub submit_deadline: Duration,
    /// How long a linearizable read waits for the leader's word and for the log to be applied.
    pub read_deadline: Duration,
    /// How long the opening waits until a single voter has replayed its log.
    pub open_deadline: Duration,
    /// Log entries between two durable points of the state, after which older entries are purged.
    pub snapshot_interval: u64,
    /// Log entries kept behind a durable point, so that a voter that fell a little behind is served
    /// from the log and not with the whole state.
    pub entries_kept: u64,
    /// Leader to follower, when there is nothing to replicate.
    pub heartbeat_interval: Duration,
    /// A follower that heard nothing for `election_timeout_max`, and then for a time drawn between
    /// this and `election_timeout_max`, stands for election; before the former it votes for nobody.
    pub election_timeout_min: Duration,
    /// Upper end of that draw.
    pub election_timeout_max: Duration,
    /// Page cache of each group's log, in bytes. The tail of a log is all that is read.
    pub log_cache_bytes: usize,
    /// Page cache of each group's state, in bytes.
    pub state_cache_bytes: usize,
}

impl Default for MetadataSettings {
    fn default() -> Self {
        Self {
            groups: 1,
            node: 1,
            found: true,
            voters: BTreeMap::from([(1, String::new())]),
            cluster_id: "atoll".to_owned(),
            // Longer than two elections in a row, so that clients see neither.
            submit_deadline: Duration::from_secs(10),
            read_deadline: Duration::from_secs(10),
            open_deadline: Duration::from_secs(60),
            snapshot_interval: 8192,
            entries_kept: 1024,
            // Every message to a follower has one interval to be answered: a busy machine that takes
            // longer than that would never replicate.
            heartbeat_interval: Duration::from_millis(250),
            election_timeout_min: Duration::from_millis(500),
            election_timeout_max: Duration::from_millis(1000),
            log_cache_bytes: 8 << 20,
            state_cache_bytes: 64 << 20,
        }
    }
}
