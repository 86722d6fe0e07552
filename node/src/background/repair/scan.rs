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

    /// What the node holds in these cells, this one lacks, and should have.
    pub(super) async fn missing(&self) -> Result<Vec<Copy>, String> {
        let mut missing = Vec::new();
        for cells in self.of.chunks(CELLS_PER_CALL_MAX) {
            let sums = match self.parts.holdings.sums(self.cells, cells) {
                Ok(sums) => sums,
                Err(error @ (HoldingsError::Counting | HoldingsError::Failed(_))) => {
                    return Err(error.to_string());
                }
            };
            let differing = self.peer.compare(cells, &sums).await;
            let differing = differing.map_err(|status| status.to_string())?;
            self.collect(&differing, &mut missing).await?;
            if missing.len() >= MISSING_MAX {
                return Err(format!(
                    "more than {MISSING_MAX} copies are missing: fetch these first"
                ));
            }
        }
        Ok(missing)
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
        let me = self.parts.cluster.me();
        let owned: Vec<Copy> = page
            .copies
            .into_iter()
            .filter(|copy| cells.binary_search(&self.cells.cell(&copy.digest)).is_ok())
            .filter(|copy| self.view.placement(&copy.digest).contains(&me))
            .collect();
        let mut lacking = Vec::new();
        for copy in owned {
            if !self.holds(&copy.digest).await? {
                lacking.push(copy);
            }
        }
        Ok(lacking)
    }

    async fn holds(&self, digest: &Digest) -> Result<bool, String> {
        self.parts.holdings.holds(digest).await.map_err(|error| error.to_string())
    }
}
