//! What a node must look at so that every copy is where it belongs.
//!
//! The circle is cut into *cells* of equal size, by the first bits of a digest. With the assigned ring
//! a cell is the arc of one pseudo identity, so all digests of a cell have the same owners; with the
//! paper's ring a cell may hold the end of an arc, and its digests are told apart one by one. Nodes
//! compare cells by [`sums`] first and list digests only where the sums differ.
//!
//! - [`Sync`]: after a change of owners, which nodes must be scanned until this node may report that it
//!   holds all it owns;
//! - [`co_owners`]: in quiet times, who should hold the same as this node.

mod sync;

pub mod sums;

use std::collections::{BTreeMap, BTreeSet};

pub use sync::Sync;

use crate::{
    Digest,
    ring::{NodeId, Points, Position, Ring, position},
    view::View,
};

/// Most cells: the first 16 bits of a digest name one.
pub const CELLS_MAX: usize = 65_536;

/// Cells when the ring has no grid of its own.
const CELLS_WITHOUT_GRID: usize = 4_096;

/// A cell: the number that the first bits of its digests make.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cell(pub u32);

/// How the circle is cut: into a power of two of cells, 2 to [`CELLS_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cells {
    bits: u32,
}

impl Cells {
    /// The cells of a view: one for each point of an assigned ring.
    pub fn of(view: &View) -> Cells {
        let count = match view.ring.points() {
            Points::Assigned { owners } => owners.len().clamp(2, CELLS_MAX),
            Points::Paper { .. } => CELLS_WITHOUT_GRID,
        };
        Cells::new(count).unwrap_or(Cells { bits: CELLS_WITHOUT_GRID.trailing_zeros() })
    }

    /// `count` cells; `None` unless it is a power of two from 2 to [`CELLS_MAX`].
    pub fn new(count: usize) -> Option<Cells> {
        let valid = count.is_power_of_two() && (2..=CELLS_MAX).contains(&count);
        valid.then(|| Cells { bits: count.trailing_zeros() })
    }

    /// The number of bits that name a cell.
    pub fn bits(self) -> u32 {
        self.bits
    }

    /// How many there are.
    pub fn count(self) -> usize {
        1 << self.bits
    }

    /// All of them.
    pub fn iter(self) -> impl Iterator<Item = Cell> {
        (0..1 << self.bits).map(Cell)
    }

    /// The cell of a digest.
    pub fn cell(self, digest: &Digest) -> Cell {
        self.cell_at(&position(digest))
    }

    /// The cell of a place.
    pub fn cell_at(self, position: &Position) -> Cell {
        let head = u32::from_be_bytes([position[0], position[1], position[2], position[3]]);
        Cell(head >> (32 - self.bits))
    }

    /// The first place of a cell and the last.
    pub fn range(self, cell: Cell) -> (Position, Position) {
        let (mut first, mut last) = ([0; 32], [0xff; 32]);
        let low = cell.0 << (32 - self.bits);
        let high = low | (u32::MAX >> self.bits);
        first[..4].copy_from_slice(&low.to_be_bytes());
        last[..4].copy_from_slice(&high.to_be_bytes());
        (first, last)
    }

    /// The places at which the owners within a cell are to be asked: its end, and the end of every arc
    /// inside.
    ///
    /// The very first place of a cell is an end, too, when a grid point lies on it. It is left out: the
    /// only digest in that arc is 240 zero bits behind the number of the point.
    fn ends(self, cell: Cell, rings: &[&Ring]) -> BTreeSet<Position> {
        let (first, last) = self.range(cell);
        let mut ends = BTreeSet::from([last]);
        for ring in rings {
            if let Points::Paper { identities } = ring.points() {
                let from = identities.partition_point(|(at, _)| *at < first);
                let inside = identities[from..].iter().take_while(|(at, _)| *at <= last);
                ends.extend(inside.map(|(at, _)| *at));
            }
        }
        ends
    }
}

/// For every member that should hold some of what `me` should hold: in which cells.
///
/// Only members that are up are listed.
pub fn co_owners(view: &View, me: NodeId) -> BTreeMap<NodeId, Vec<Cell>> {
    let cells = Cells::of(view);
    let rings = [&*view.ring];
    let mut shared: BTreeMap<NodeId, Vec<Cell>> = BTreeMap::new();
    for cell in cells.iter() {
        let mut others = BTreeSet::new();
        for end in cells.ends(cell, &rings) {
            let placement = view.placement_at(&end);
            if placement.contains(&me) {
                others.extend(placement);
            }
        }
        others.remove(&me);
        for node in others.into_iter().filter(|node| view.is_up(*node)) {
            shared.entry(node).or_default().push(cell);
        }
    }
    shared
}

#[cfg(test)]
mod tests;
