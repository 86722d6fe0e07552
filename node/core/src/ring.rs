//! The ring: which nodes own a digest.
//!
//! A sorted list of *pseudo identities*, points on a circle of 256-bit numbers, each belonging to one
//! node. A digest is a point on the same circle, not hashed again. Its first owner is the node of the
//! first pseudo identity at or after it (Bolt, Algorithm 1); its replicas are the next distinct nodes
//! clockwise (Algorithm 2).
//!
//! Two ways to place the identities:
//! - [`Points::Assigned`]: evenly spaced points whose owners a deterministic allocator chooses, so
//!   that every node's share follows its weight and a change moves as little as possible;
//! - [`Points::Paper`]: fifty hashed identities for each node, as the paper has it.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use crate::Digest;

/// A node's number within its cluster: given once when it joins and never used again.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct NodeId(pub u16);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A place on the circle: a 256-bit number, most significant byte first.
pub type Position = [u8; 32];

/// The place of a digest: its first 256 bits, as they are.
pub fn position(digest: &Digest) -> Position {
    let mut position = [0; 32];
    position.copy_from_slice(&digest.as_bytes()[..32]);
    position
}

/// Where the pseudo identities are and whose they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Points {
    /// Pseudo identity `i` of `owners.len()` (a power of two, 2 to 65,536) is `i · 2^256 / len`.
    Assigned {
        /// The owner of each.
        owners: Vec<NodeId>,
    },
    /// Sorted positions with their owners.
    Paper {
        /// Position and owner of each.
        identities: Vec<(Position, NodeId)>,
    },
}

/// A ring: the points, and the zones that replicas are spread over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ring {
    points: Points,
    /// The zone of every node that owns a point.
    zones: BTreeMap<NodeId, String>,
}

impl Ring {
    /// A ring of these points.
    pub fn new(points: Points, zones: BTreeMap<NodeId, String>) -> Ring {
        Ring { points, zones }
    }

    /// The points.
    pub fn points(&self) -> &Points {
        &self.points
    }

    /// The nodes that own a point.
    pub fn nodes(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.zones.keys().copied()
    }

    /// Number of points.
    pub fn len(&self) -> usize {
        match &self.points {
            Points::Assigned { owners } => owners.len(),
            Points::Paper { identities } => identities.len(),
        }
    }

    /// Are there no points?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The owner of point `point`.
    pub fn owner(&self, point: usize) -> NodeId {
        match &self.points {
            Points::Assigned { owners } => owners[point],
            Points::Paper { identities } => identities[point].1,
        }
    }

    /// The first point at or after `position` on the circle (Algorithm 1).
    pub fn point_at(&self, position: &Position) -> usize {
        match &self.points {
            Points::Assigned { owners } => {
                // `len` is a power of two: the first identity at or after a position is the one its
                // highest bits name, or the next when any lower bit is set.
                let bits = owners.len().trailing_zeros();
                let head = u32::from_be_bytes([position[0], position[1], position[2], position[3]]);
                let index = (u64::from(head) >> (32 - bits)) as usize;
                let exact = u64::from(head) & ((1 << (32 - bits)) - 1) == 0
                    && position[4..].iter().all(|byte| *byte == 0);
                if exact { index } else { (index + 1) % owners.len() }
            }
            Points::Paper { identities } => {
                let after = identities.partition_point(|(at, _)| at < position);
                if after == identities.len() { 0 } else { after }
            }
        }
    }

    /// The first `count` distinct nodes clockwise from point `point` that `admits` lets pass
    /// (Algorithm 2); fewer when there are not that many.
    ///
    /// Zones are spread first: a node of a zone that is already there is passed over as long as the
    /// walk finds others.
    pub fn walk(&self, point: usize, count: usize, admits: impl Fn(NodeId) -> bool) -> Vec<NodeId> {
        let mut found: Vec<NodeId> = Vec::with_capacity(count);
        for step in 0..self.len() {
            if found.len() == count {
                break;
            }
            let node = self.owner((point + step) % self.len());
            if admits(node) && !found.contains(&node) {
                found.push(node);
            }
        }
        found
    }
}
