//! The whole cluster, as one node sees it.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{
    change::StagedPlan,
    health::{Health, Problem},
    report::{Collection, NodeReport},
};
use crate::view::MemberState;

/// `GET /v1/status`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    /// Which cluster.
    pub cluster_id: String,
    /// The node that answered.
    pub node: u16,
    /// Epoch of its view.
    pub epoch: u64,
    /// How the cluster does as a whole.
    pub health: Health,
    /// What is not as it should be, the worst first.
    pub problems: Vec<Problem>,
    /// Copies that each blob should have.
    pub replicas: u8,
    /// Durable copies before a push is acknowledged.
    pub write_quorum: u64,
    /// The group that agrees on views.
    pub coordination: Coordination,
    /// Earlier configurations whose copies are still being fetched, oldest first.
    pub open: Vec<OpenConfiguration>,
    /// A change that was staged and neither committed nor discarded.
    pub plan: Option<StagedPlan>,
    /// Garbage collection, as told by the node that drives it.
    pub collection: Option<Collection>,
    /// Every member, by number.
    pub nodes: Vec<NodeStatus>,
}

/// Group 0: who agrees on views.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Coordination {
    /// Its leader, as this node knows.
    pub leader: Option<u16>,
    /// The term of that leader.
    pub term: u64,
    /// Who votes.
    pub voters: Vec<u16>,
    /// Who follows without a vote.
    pub learners: Vec<u16>,
}

/// A configuration that is not finalised.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct OpenConfiguration {
    /// The first epoch that had it.
    pub since_epoch: u64,
    /// Does its ring differ from the present one? Otherwise only who was up does.
    pub ring_differs: bool,
    /// Nodes that have not yet reported that they hold all they own.
    pub waiting_for: Vec<u16>,
}

/// One member.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeStatus {
    /// Its number.
    pub id: u16,
    /// Its name.
    pub name: String,
    /// What it is doing.
    pub state: NodeState,
    /// What its operator wants.
    pub intent: Intent,
    /// Which start of the node this is.
    pub incarnation: u64,
    /// Where clients reach it.
    pub http: String,
    /// Where nodes reach it.
    pub grpc: String,
    /// Its zone.
    pub zone: String,
    /// Its weight.
    pub weight: u32,
    /// Does it have points of the ring?
    pub in_ring: bool,
    /// Points of the ring it has, in percent.
    pub share_percent: f64,
    /// Does it vote in group 0?
    pub voter: bool,
    /// Does it lead group 0?
    pub leader: bool,
    /// Does the node that answered suspect it?
    pub suspected: bool,
    /// May it be switched off without a copy being lost? True once it is out of the ring and
    /// everything it held is elsewhere.
    pub safe_to_stop: bool,
    /// Its own account.
    pub report: Option<NodeReport>,
    /// Why there is no account.
    pub unreachable: Option<String>,
}

/// What a member is doing, for people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeState {
    /// Up, and not in the ring yet.
    Joining,
    /// It serves.
    Up,
    /// Its session has ended.
    Down,
    /// Up, out of the ring, and others are fetching what it holds.
    Draining,
    /// Up, out of the ring, and nothing depends on it any more.
    Drained,
    /// A state that this version does not know.
    #[default]
    #[serde(other)]
    Unknown,
}

impl NodeState {
    /// The state of a member; `safe_to_stop` tells a node that drains from one that has drained.
    pub fn of(state: MemberState, safe_to_stop: bool) -> NodeState {
        match state {
            MemberState::Joining => NodeState::Joining,
            MemberState::Up => NodeState::Up,
            MemberState::Down => NodeState::Down,
            MemberState::Draining if safe_to_stop => NodeState::Drained,
            MemberState::Draining => NodeState::Draining,
        }
    }
}

impl fmt::Display for NodeState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            NodeState::Joining => "joining",
            NodeState::Up => "up",
            NodeState::Down => "down",
            NodeState::Draining => "draining",
            NodeState::Drained => "drained",
            NodeState::Unknown => "unknown",
        })
    }
}

/// What an operator wants of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Intent {
    /// It holds copies.
    #[default]
    In,
    /// Its copies go elsewhere; it stays a member.
    Draining,
    /// Its copies go elsewhere, and then it is forgotten.
    Removed,
    /// An intent that this version does not know.
    #[serde(other)]
    Unknown,
}

impl fmt::Display for Intent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Intent::In => "in",
            Intent::Draining => "draining",
            Intent::Removed => "removed",
            Intent::Unknown => "unknown",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_understands_older_and_newer_writers() {
        let text = r#"{"epoch": 7, "colour": "red", "nodes": [{"id": 2, "state": "asleep"}]}"#;
        let status: Status = serde_json::from_str(text).unwrap();
        assert_eq!(status.epoch, 7);
        assert_eq!(status.nodes[0].state, NodeState::Unknown);
        assert_eq!(status.nodes[0].intent, Intent::In);
        let written = serde_json::to_string(&status).unwrap();
        assert_eq!(serde_json::from_str::<Status>(&written).unwrap(), status);
    }
}
