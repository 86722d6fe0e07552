//! What the next view is made of: what operators want, who is there, who has caught up.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Epoch, NodeId};

/// What an operator wants of a member.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Intent {
    /// Take part in the ring.
    #[default]
    In,
    /// Leave the ring, stay a member while others fetch what it holds.
    Draining,
    /// Leave the ring, and the cluster when nothing depends on it any more.
    Removed,
}

/// What is written down about a member, whether it is there or not (`/atoll/members/<node>`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberRecord {
    /// The name it was given or drew.
    pub name: String,
    /// Where clients reach it, `host:port`.
    pub http: String,
    /// Where nodes reach it, `host:port`.
    pub grpc: String,
    /// Replicas are spread over zones.
    pub zone: String,
    /// Its share of the points, relative to others; 0 keeps it out of the ring.
    pub weight: u32,
    /// What an operator wants of it.
    pub intent: Intent,
}

/// What a node says of itself while its session lives (`/atoll/registries/<node>`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    /// Which start of the node this is.
    pub incarnation: u64,
    /// Where clients reach it, `host:port`.
    pub http: String,
    /// Where nodes reach it, `host:port`.
    pub grpc: String,
}

/// All that [`super::next()`] looks at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Records of members. A member without one stays as it is.
    pub members: BTreeMap<NodeId, MemberRecord>,
    /// Nodes whose session lives.
    pub registered: BTreeMap<NodeId, Registration>,
    /// For each node the newest epoch for which it has reported that it holds all it owns.
    pub synced: BTreeMap<NodeId, Epoch>,
    /// Nodes that have been down for longer than `down_out_interval`.
    pub down_too_long: BTreeSet<NodeId>,
}
