//! Who has how much of the ring.

use serde::{Deserialize, Serialize};

use super::change::StagedPlan;

/// `GET /v1/ring`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Shares {
    /// Epoch of the view.
    pub epoch: u64,
    /// How the points are placed: `assigned` or `paper`.
    pub mode: String,
    /// Number of points.
    pub points: u64,
    /// Copies that each blob should have.
    pub replicas: u8,
    /// The largest share over the fair one; 1 is perfect.
    pub imbalance: f64,
    /// Nodes that have points or should have, by number.
    pub nodes: Vec<NodeShare>,
    /// A staged change and what it would move.
    pub plan: Option<StagedPlan>,
}

/// One node's part of the ring.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeShare {
    /// Its number.
    pub id: u16,
    /// Its name.
    pub name: String,
    /// Its zone.
    pub zone: String,
    /// Its weight.
    pub weight: u32,
    /// Points it has.
    pub points: u64,
    /// The part of the circle for which it is the first owner, in percent.
    pub percent: f64,
    /// What its weight entitles it to, in percent.
    pub target_percent: f64,
}
