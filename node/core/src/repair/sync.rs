//! Catching up after the owners of something changed.
//!
//! The rule (COORDINATION of the design, exhausted in `node/core/tests/open_set_model.rs`): a new owner
//! may report that it is synced once, for every arc it owns, it has scanned enough members of every
//! open set that one of them must have seen any acknowledged write, each of which had adopted the
//! present epoch *before* it was scanned. A set of k acting owners took writes when W of them had it
//! durable, so k − W + 1 members meet every such W. A set of fewer than W took none.
//!
//! Whether a source had adopted the epoch is the source's to say; here it only counts when it did.

use std::collections::{BTreeMap, BTreeSet};

use super::{Cell, Cells};
use crate::{
    ring::{NodeId, Position, Ring},
    view::{Configuration, Epoch, View, write_quorum},
};

/// One catching-up of one node, as of one view.
#[derive(Clone, Debug)]
pub struct Sync {
    epoch: Epoch,
    duties: Vec<Duty>,
    stands_in: bool,
    scanned: BTreeSet<NodeId>,
    up: BTreeSet<NodeId>,
}

/// Cells whose open sets are the same.
#[derive(Clone, Debug)]
struct Duty {
    sets: Vec<OpenSet>,
    cells: Vec<Cell>,
}

/// The acting owners of an open configuration, and how many of them must be scanned.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct OpenSet {
    members: Vec<NodeId>,
    needed: usize,
}

impl Sync {
    /// What `me` has to catch up with in `view`.
    pub fn new(view: &View, me: NodeId) -> Sync {
        let cells = Cells::of(view);
        let rings: Vec<&Ring> =
            view.open.iter().map(|open| &*open.ring).chain([&*view.ring]).collect();
        let mut duties: BTreeMap<Vec<OpenSet>, Vec<Cell>> = BTreeMap::new();
        let mut stands_in = false;
        for cell in cells.iter() {
            let mut sets = BTreeSet::new();
            for end in cells.ends(cell, &rings) {
                let placed = view.placement_at(&end).contains(&me);
                stands_in |= !placed && view.acting_at(&end).contains(&me);
                if placed {
                    sets.extend(view.open.iter().map(|open| open_set(view, open, &end)));
                }
            }
            if !sets.is_empty() {
                duties.entry(sets.into_iter().collect()).or_default().push(cell);
            }
        }
        let duties = duties.into_iter().map(|(sets, cells)| Duty { sets, cells }).collect();
        let up = view.members.iter().filter(|(_, member)| member.is_up()).map(|(node, _)| *node);
        // A node knows what it holds itself.
        let scanned = BTreeSet::from([me]);
        Sync { epoch: view.epoch, duties, stands_in, scanned, up: up.collect() }
    }

    /// The view it is about. Sources must have adopted it, or a newer one, before they are scanned.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Whom to scan, and where: every member of an open set that is up and not scanned yet. More than
    /// the rule asks for, so that one that does not answer holds nothing up.
    pub fn sources(&self) -> BTreeMap<NodeId, Vec<Cell>> {
        let mut sources: BTreeMap<NodeId, BTreeSet<Cell>> = BTreeMap::new();
        for duty in &self.duties {
            for node in duty.sets.iter().flat_map(|set| &set.members) {
                if self.up.contains(node) && !self.scanned.contains(node) {
                    sources.entry(*node).or_default().extend(&duty.cells);
                }
            }
        }
        sources.into_iter().map(|(node, cells)| (node, cells.into_iter().collect())).collect()
    }

    /// A source was at [`Self::epoch`] or later, and was then scanned in all the cells that
    /// [`Self::sources`] named, and what was missing here has been fetched.
    pub fn handle_scanned(&mut self, source: NodeId) {
        self.scanned.insert(source);
    }

    /// Has enough been scanned?
    pub fn is_complete(&self) -> bool {
        let met = |set: &OpenSet| {
            set.members.iter().filter(|node| self.scanned.contains(node)).count() >= set.needed
        };
        self.duties.iter().flat_map(|duty| &duty.sets).all(met)
    }

    /// May the node report that it is synced as of [`Self::epoch`]?
    ///
    /// Not while it acts for another that is down: it does not copy that one's arcs, because down is
    /// not out, and so does not hold all that it acts for.
    pub fn may_report(&self) -> bool {
        !self.stands_in && self.is_complete()
    }
}

fn open_set(view: &View, open: &Configuration, at: &Position) -> OpenSet {
    let quorum = write_quorum(open.copies(view.replicas));
    let mut members = open.acting_at(at, usize::from(view.replicas));
    members.sort();
    let needed = (members.len() + 1).saturating_sub(quorum);
    OpenSet { members, needed }
}
