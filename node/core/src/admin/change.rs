//! Changes of who belongs to the cluster: asked for, shown, staged, committed.
//!
//! A change of one node (`drain`, `remove`, …) is committed at once, or only shown with `dry_run`. A
//! larger one is *staged* first: it lies in the cluster, anyone can look at it and at what it would
//! move, and one more request commits or discards it. There is one staged change at a time, and
//! none is committed while copies still move for the one before: two plans made from one picture
//! would each be wrong once the other is done.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::status::Intent;

/// What can be asked of one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Move its copies elsewhere and keep it as a member.
    Drain,
    /// Take it back into the ring.
    Undrain,
    /// Move its copies elsewhere and forget it.
    Remove,
}

impl Change {
    /// Every change, in the order of the documents.
    pub const ALL: [Change; 3] = [Change::Drain, Change::Undrain, Change::Remove];

    /// The intent that the change writes down.
    pub fn intent(self) -> Intent {
        match self {
            Change::Drain => Intent::Draining,
            Change::Undrain => Intent::In,
            Change::Remove => Intent::Removed,
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Change::Drain => "drain",
            Change::Undrain => "undrain",
            Change::Remove => "remove",
        })
    }
}

/// One line of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeChange {
    /// Which node.
    pub node: u16,
    /// What is to happen to it.
    pub change: Change,
}

/// `POST /v1/plan`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanRequest {
    /// The changes, each node at most once.
    pub changes: Vec<NodeChange>,
}

/// What a change of the ring moves.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Movement {
    /// Points there are.
    pub points: u64,
    /// Points that get another first owner.
    pub points_changed: u64,
    /// Pairs of an arc and a node that newly owns it.
    pub arcs_moved: u64,
    /// The fewest such pairs that any plan for this change could do with.
    pub arcs_moved_min: u64,
    /// Part of all copies that crosses the network, in percent.
    pub percent_moved: f64,
    /// The shares afterwards, in percent, by node number.
    pub shares_after: Vec<(u16, f64)>,
}

/// A change that waits for its commit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StagedPlan {
    /// The view it was made from; another view makes it void.
    pub base_epoch: u64,
    /// The changes.
    pub changes: Vec<NodeChange>,
    /// What they would move.
    pub movement: Movement,
}

/// The answer to a change.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ChangeAnswer {
    /// Was it committed? False for a plan that was only shown or staged.
    pub committed: bool,
    /// Was it staged?
    pub staged: bool,
    /// The changes.
    pub changes: Vec<NodeChange>,
    /// What they move.
    pub movement: Movement,
    /// Sentences an operator should read before going on.
    pub notes: Vec<String>,
}

/// `POST /v1/tokens`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct JoinToken {
    /// The token; it works once. Whoever has it may join: treat it as a password.
    pub token: String,
    /// How long it is good for.
    pub ttl_seconds: u64,
    /// An address of this cluster that a new node may join at.
    pub join: String,
}
