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

pub mod allocator;
pub mod paper;
#[cfg(test)]
mod tests;
mod walk;

/// The most points a ring of assigned points can have: the first 16 bits of a digest name one. At
/// a thousand nodes the rounding to whole points costs 1.5 % of a share.
pub const POINTS_MAX: usize = 1 << 16;

/// The fewest points of an assigned ring.
pub const POINTS_MIN: usize = 2;

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

/// Points that make no ring.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRing {
    /// Assigned points are looked up by their first bits.
    #[error("{0} assigned points; allowed is a power of two from {POINTS_MIN} to {POINTS_MAX}")]
    Count(usize),
    /// Nobody would own anything.
    #[error("a ring of hashed identities has none")]
    Empty,
    /// The search needs them sorted.
    #[error("the hashed identities are not in ascending order")]
    Unsorted,
}

/// A ring: the points, and the zones that replicas are spread over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Stored", into = "Stored")]
pub struct Ring {
    points: Points,
    /// The zone of every node that owns a point.
    zones: BTreeMap<NodeId, String>,
    /// The same as numbers, for the walk.
    index: walk::ZoneIndex,
}

/// A ring as it is written down.
#[derive(Serialize, Deserialize)]
struct Stored {
    points: Points,
    zones: BTreeMap<NodeId, String>,
}

impl TryFrom<Stored> for Ring {
    type Error = InvalidRing;

    fn try_from(stored: Stored) -> Result<Ring, InvalidRing> {
        Ring::checked(stored.points, stored.zones)
    }
}

impl From<Ring> for Stored {
    fn from(ring: Ring) -> Stored {
        Stored { points: ring.points, zones: ring.zones }
    }
}

impl Ring {
    /// A ring of these points. Nodes without a point are left out of `zones`, owners that are
    /// missing there are in the zone without a name.
    pub fn new(points: Points, zones: BTreeMap<NodeId, String>) -> Ring {
        let mut named = BTreeMap::new();
        let mut name = |node: NodeId| {
            named.entry(node).or_insert_with(|| zones.get(&node).cloned().unwrap_or_default());
        };
        match &points {
            Points::Assigned { owners } => owners.iter().copied().for_each(&mut name),
            Points::Paper { identities } => identities.iter().for_each(|(_, node)| name(*node)),
        }
        let index = walk::ZoneIndex::new(&named);
        Ring { points, zones: named, index }
    }

    /// As [`Self::new`], for points that came from a wire or a disk.
    ///
    /// # Errors
    /// The points do not make a ring.
    pub fn checked(points: Points, zones: BTreeMap<NodeId, String>) -> Result<Ring, InvalidRing> {
        match &points {
            Points::Assigned { owners } => {
                let count = owners.len();
                if !count.is_power_of_two() || !(POINTS_MIN..=POINTS_MAX).contains(&count) {
                    return Err(InvalidRing::Count(count));
                }
            }
            Points::Paper { identities } if identities.is_empty() => {
                return Err(InvalidRing::Empty);
            }
            Points::Paper { identities } => {
                if !identities.is_sorted_by(|(a, _), (b, _)| a < b) {
                    return Err(InvalidRing::Unsorted);
                }
            }
        }
        Ok(Ring::new(points, zones))
    }

    /// The points.
    pub fn points(&self) -> &Points {
        &self.points
    }

    /// The nodes that own a point.
    pub fn nodes(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.zones.keys().copied()
    }

    /// Number of nodes that own a point.
    pub fn node_count(&self) -> usize {
        self.zones.len()
    }

    /// Does the node own a point?
    pub fn contains(&self, node: NodeId) -> bool {
        self.zones.contains_key(&node)
    }

    /// The zone of every node that owns a point.
    pub fn zones(&self) -> &BTreeMap<NodeId, String> {
        &self.zones
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

    /// The owner of point `point`, which is below [`Self::len`].
    pub fn owner(&self, point: usize) -> NodeId {
        match &self.points {
            Points::Assigned { owners } => owners[point],
            Points::Paper { identities } => identities[point].1,
        }
    }

    /// The place of point `point`, which is below [`Self::len`].
    pub fn place(&self, point: usize) -> Position {
        match &self.points {
            Points::Assigned { owners } => {
                let head = (point as u64) << (32 - owners.len().trailing_zeros());
                let mut place = [0; 32];
                place[..4].copy_from_slice(&(head as u32).to_be_bytes());
                place
            }
            Points::Paper { identities } => identities[point].0,
        }
    }

    /// The first point at or after `position` on the circle (Algorithm 1).
    pub fn point_at(&self, position: &Position) -> usize {
        match &self.points {
            Points::Assigned { owners } if owners.is_empty() => 0,
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
    /// With `count` zones in the ring or more, zones are spread first: a node of a zone that is
    /// already there is passed over as long as the walk finds others. So what a longer walk finds
    /// need not begin with what a shorter one does.
    pub fn walk(&self, point: usize, count: usize, admits: impl Fn(NodeId) -> bool) -> Vec<NodeId> {
        match walk::straight(self, point, count, &admits) {
            Some(found) => found,
            None => walk::spread(self, point, count, &admits),
        }
    }
}
