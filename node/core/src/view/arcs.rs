//! Arcs: the pieces of the circle on which every digest has the same owners.
//!
//! The arc of a point reaches from the point before it (left out) to the point itself (included).
//! Copies are pulled, compared and finalised by arcs.

use super::{NodeId, View};
use crate::{
    Digest,
    ring::{Position, Ring, position},
};

/// A piece of the circle. It may reach over the end of the numbers, where `after >= upto`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArcRange {
    /// Digests greater than this.
    pub after: Position,
    /// Digests up to and including this.
    pub upto: Position,
}

impl ArcRange {
    /// Is the place on this arc?
    pub fn contains(&self, at: &Position) -> bool {
        if self.after < self.upto {
            self.after < *at && *at <= self.upto
        } else {
            self.after < *at || *at <= self.upto
        }
    }
}

/// An arc that a node owns, with everyone who does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedArc {
    /// The number of its point in the ring.
    pub index: usize,
    /// Where it is.
    pub range: ArcRange,
    /// Its acting owners, the master first.
    pub owners: Vec<NodeId>,
}

impl View {
    /// The arc a digest is on: the number of its point in the ring.
    pub fn arc_of(&self, digest: &Digest) -> usize {
        self.ring.point_at(&position(digest))
    }

    /// Where arc `index` of the ring is; `index` is below the number of its points.
    pub fn arc_range(&self, index: usize) -> ArcRange {
        arc_range(&self.ring, index)
    }

    /// The arcs for which the node acts now, in the order of the circle.
    ///
    /// All places on one arc have the same acting owners. They have the same open sets too in an
    /// assigned ring; in a paper ring, whose earlier points may have lain between, cut the arc
    /// further with [`Self::pieces`].
    pub fn owned_arcs(&self, node: NodeId) -> impl Iterator<Item = OwnedArc> + '_ {
        (0..self.ring.len()).filter_map(move |index| {
            let owners = self.ring.walk(index, self.copies(), |owner| self.is_up(owner));
            let range = || self.arc_range(index);
            owners.contains(&node).then(|| OwnedArc { index, range: range(), owners })
        })
    }

    /// The pieces of an arc on which every open configuration has one set of owners: the whole arc
    /// in an assigned ring.
    pub fn pieces(&self, range: ArcRange) -> Vec<ArcRange> {
        let mut ends = vec![range.upto];
        for open in self.open.iter().filter(|open| open.ring.points() != self.ring.points()) {
            let first = open.ring.point_at(&range.after);
            for step in 0..open.ring.len() {
                let place = open.ring.place((first + step) % open.ring.len());
                if place == range.after {
                    continue;
                }
                if !range.contains(&place) {
                    break;
                }
                ends.push(place);
            }
        }
        let before_the_end = |place: &Position| *place <= range.after;
        ends.sort_unstable_by_key(|place| (before_the_end(place), *place));
        ends.dedup();
        let starts = std::iter::once(range.after).chain(ends.iter().copied());
        starts.zip(&ends).map(|(after, upto)| ArcRange { after, upto: *upto }).collect()
    }
}

/// Where arc `index` of a ring is.
pub(super) fn arc_range(ring: &Ring, index: usize) -> ArcRange {
    let before = (index + ring.len() - 1) % ring.len();
    ArcRange { after: ring.place(before), upto: ring.place(index) }
}
