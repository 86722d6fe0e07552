//! Finding what another node holds and this one lacks.

use std::sync::Arc;

use atoll_core::{
    Digest,
    repair::{Cell, Cells},
    view::{NodeId, View},
};

use super::Parts;
use crate::background::{
    holdings::{Copy, HoldingsError, Page},
    peer::{CELLS_PER_CALL_MAX, Peer},
};

/// Copies found missing in one scan at most; the next pass finds the rest. Bounds memory to some ten
/// megabytes.
const MISSING_MAX: usize = 100_000;

/// What a scan found.
#[derive(Debug, Default)]
pub(super) struct Lacks {
    /// The node has them and this one should.
    pub(super) missing: Vec<Copy>,
    /// This node should have them, and the other has a bad copy only.
    pub(super) damaged: Vec<Digest>,
}

/// The comparison with one node.
pub(super) struct Scan<'a> {
    parts: &'a Parts,
    view: Arc<View>,
    cells: Cells,
    of: Vec<Cell>,
    peer: Peer,
}

impl<'a> Scan<'a> {
    pub(super) fn new(
        parts: &'a Parts,
        view: Arc<View>,
        source: NodeId,
        cells: Cells,
        of: Vec<Cell>,
    ) -> Scan<'a> {
        let peer = Peer::new(parts.cluster.clone(), source, view.epoch, cells);
        Scan { parts, view, cells, of, peer }
    }

    /// What the node holds in these cells, this one lacks, and should have; and of what it has only a
    /// bad copy.
    pub(super) async fn lacks(&self) -> Result<Lacks, String> {
        let mut lacks = Lacks::default();
        let missing = &mut lacks.missing;
        for cells in self.of.chunks(CELLS_PER_CALL_MAX) {
            let sums = match self.parts.holdings.sums(self.cells, cells) {
                Ok(sums) => sums,
                Err(error @ (HoldingsError::Counting | HoldingsError::Failed(_))) => {
                    return Err(error.to_string());
                }
            };
            let compared = self.peer.compare(cells, &sums).await;
            let compared = compared.map_err(|status| status.to_string())?;
            for digest in compared.damaged {
                if self.owns(cells, &digest) && !self.holds(&digest).await? {
                    lacks.damaged.push(digest);
                }
            }
            self.collect(&compared.differing, missing).await?;
            if missing.len() >= MISSING_MAX {
                return Err(format!(
                    "more than {MISSING_MAX} copies are missing: fetch these first"
                ));
            }
        }
        Ok(lacks)
    }

    async fn collect(&self, cells: &[Cell], missing: &mut Vec<Copy>) -> Result<(), String> {
        let mut after = None;
        while !cells.is_empty() {
            let page = self.peer.list(cells, after).await.map_err(|status| status.to_string())?;
            after = page.copies.last().map(|copy| copy.digest);
            let more = page.more && after.is_some();
            missing.extend(self.lacking(cells, page).await?);
            if !more {
                break;
            }
        }
        Ok(())
    }

    /// Of a page, what this node should have and has not.
    async fn lacking(&self, cells: &[Cell], page: Page) -> Result<Vec<Copy>, String> {
        let mut lacking = Vec::new();
        for copy in page.copies {
            if self.owns(cells, &copy.digest) && !self.holds(&copy.digest).await? {
                lacking.push(copy);
            }
        }
        Ok(lacking)
    }

    /// Is this node an owner of the blob, and was it asked for?
    fn owns(&self, cells: &[Cell], digest: &Digest) -> bool {
        let is_asked = cells.binary_search(&self.cells.cell(digest)).is_ok();
        is_asked && self.view.placement(digest).contains(&self.parts.cluster.me())
    }

    async fn holds(&self, digest: &Digest) -> Result<bool, String> {
        self.parts.holdings.holds(digest).await.map_err(|error| error.to_string())
    }
}
