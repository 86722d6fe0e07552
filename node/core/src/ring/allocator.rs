//! Who owns which assigned point.

use std::collections::BTreeMap;

use super::{NodeId, Points, Ring};

/// What a node brings to the ring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// Its share of the points, relative to others.
    pub weight: u32,
    /// Replicas are spread over zones.
    pub zone: String,
}

/// A ring of `points` points for these nodes (first version: round robin).
pub fn allocate(
    _current: Option<&Ring>,
    nodes: &BTreeMap<NodeId, Share>,
    points: usize,
    _replicas: usize,
) -> Ring {
    let ids: Vec<NodeId> = nodes.keys().copied().collect();
    let owners = (0..points).map(|point| ids[point % ids.len()]).collect();
    let zones = nodes.iter().map(|(node, share)| (*node, share.zone.clone())).collect();
    Ring::new(Points::Assigned { owners }, zones)
}
