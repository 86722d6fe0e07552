//! The real side of [`holdings`](super::holdings): this node's store, and the ways to other nodes.

use std::collections::BTreeSet;

use atoll_core::{
    Digest,
    repair::{Cell, Cells, sums::Sum},
    ring::Position,
    view::{Epoch, NodeId},
};
use futures_util::future::BoxFuture;

use super::holdings::{
    Copies, Copy, DAMAGED_MAX, Fetched, Holdings, HoldingsError, PAGE_COPIES_MAX, Page, Reports,
};
use crate::{
    cluster::sync::SyncReports,
    io::{plant::Plant, rt::blocking},
    replicate::{Holding, Peer, PullError, Replicator},
    store::{BLOCK_BYTES, BlobReader, BlobStore, Deletion, ReadError},
};

/// Blocks read at once while a copy is verified: a megabyte.
const BLOCKS_AT_ONCE: u64 = 16;

/// This node's copies.
#[derive(Clone, Debug)]
pub struct Own {
    store: BlobStore,
    replicator: Replicator,
}

impl Own {
    /// The copies of the node that `replicator` runs on.
    pub fn new(replicator: Replicator) -> Own {
        Own { store: replicator.tiers().store().clone(), replicator }
    }
}

fn failed(error: impl ToString) -> HoldingsError {
    HoldingsError::Failed(error.to_string())
}

impl Holdings for Own {
    fn sums(&self, cells: Cells, of: &[Cell]) -> Result<Vec<Sum>, HoldingsError> {
        self.store.cell_sums(cells, of).ok_or(HoldingsError::Counting)
    }

    fn holds<'a>(&'a self, digest: &'a Digest) -> BoxFuture<'a, Result<bool, HoldingsError>> {
        Box::pin(async move {
            match self.store.stat(digest).await {
                Ok(found) => Ok(found.is_some()),
                // Damaged is as good as missing: a good copy heals it.
                Err(ReadError::Corrupt(_) | ReadError::Damaged(_)) => Ok(false),
                Err(error) => Err(failed(error)),
            }
        })
    }

    fn damaged(&self, cells: Cells, of: &[Cell]) -> Vec<Digest> {
        let of: BTreeSet<Cell> = of.iter().copied().collect();
        self.store.damaged(DAMAGED_MAX + 1, |digest| of.contains(&cells.cell(digest)))
    }

    fn count(&self) -> Result<u64, HoldingsError> {
        self.store.inventory_len().map_err(failed)
    }

    fn page(
        &self,
        first: Position,
        last: Position,
        after: Option<Digest>,
    ) -> BoxFuture<'_, Result<Page, HoldingsError>> {
        Box::pin(async move {
            if !self.store.inventory_progress().is_complete() {
                return Err(HoldingsError::Counting);
            }
            // One more than a page tells whether there is more.
            let rows = self.store.inventory_range(first, last, after, PAGE_COPIES_MAX + 1).await;
            let rows = rows.map_err(failed)?;
            let more = rows.len() > PAGE_COPIES_MAX;
            let copies = rows.into_iter().take(PAGE_COPIES_MAX);
            let copies = copies.map(|row| Copy { digest: row.digest, size: row.size }).collect();
            Ok(Page { copies, more })
        })
    }
}

impl Copies for Own {
    fn fetch(&self, digest: Digest, source: Option<NodeId>) -> BoxFuture<'_, Fetched> {
        Box::pin(async move {
            if let Ok(Some(_)) = self.store.stat(&digest).await {
                return Fetched::Here(0);
            }
            match self.replicator.pull(&digest).await {
                Ok(info) => Fetched::Here(info.size),
                Err(error @ PullError::Read(_)) => {
                    self.unless_gone(&digest, source, error.to_string()).await
                }
                Err(error) => Fetched::Failed(error.to_string()),
            }
        })
    }

    fn held_by(
        &self,
        node: NodeId,
        digests: Vec<Digest>,
    ) -> BoxFuture<'_, Result<(Vec<bool>, Epoch), String>> {
        Box::pin(async move {
            let peer = Peer::new(self.replicator.cluster(), node);
            let (held, epoch) = peer.have(&digests).await.map_err(|status| status.to_string())?;
            let held = held.iter().map(|held| matches!(held, Holding::Present(_))).collect();
            Ok((held, epoch))
        })
    }

    fn owe(&self, node: NodeId, digest: Digest) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async move {
            self.replicator.note_hint(node, &digest).await.map_err(|error| error.to_string())
        })
    }

    fn verify(&self, digest: Digest) -> BoxFuture<'_, Result<bool, String>> {
        Box::pin(async move {
            match self.store.open_blob(&digest).await {
                Ok(None) => Ok(true),
                Ok(Some(blob)) => self.is_good(blob).await,
                Err(ReadError::Corrupt(_) | ReadError::Damaged(_)) => Ok(false),
                Err(error) => Err(error.to_string()),
            }
        })
    }

    fn mark_damaged(&self, digest: Digest) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async move {
            self.store.mark_damaged(&digest).await.map_err(|error| error.to_string())
        })
    }

    fn give_up(
        &self,
        digest: Digest,
        owners: Vec<NodeId>,
        since: Epoch,
    ) -> BoxFuture<'_, Result<Option<u64>, String>> {
        Box::pin(async move {
            self.learn_floor().await?;
            // Whoever relied on this copy relies on the owners' now: they get its stamp. A pin that
            // comes here in between raises it, and the copy stays.
            let stamp = self.store.stamp(&digest).await.map_err(|error| error.to_string())?;
            // While this node does not know what it answered for, it gives nothing up.
            let Some(stamp) = stamp else { return Ok(None) };
            let owners = if Plant::DisownedTooEarly.is_planted() { Vec::new() } else { owners };
            let peers: Vec<Peer> =
                owners.iter().map(|owner| Peer::new(self.replicator.cluster(), *owner)).collect();
            // Asked first without relying on anything: a pin is a touch, and a blob that is touched
            // again and again, because one of its owners is not ready, could never be collected.
            for peer in &peers {
                let (held, _) = peer.have(&[digest]).await.map_err(|status| status.to_string())?;
                match held.first() {
                    Some(Holding::Present(_)) => {}
                    Some(Holding::Unknown) => {
                        // Damaged, and nobody may ever read it there: it is replaced by a good one.
                        peer.fetch(&digest).await.map_err(|status| status.to_string())?;
                        return Ok(None);
                    }
                    // Repair brings it there, or it is owed to it, or it was collected.
                    Some(Holding::Absent) | None => return Ok(None),
                }
            }
            for peer in &peers {
                let (held, epoch) =
                    peer.pin(&[digest], stamp.0).await.map_err(|status| status.to_string())?;
                if epoch < since || !matches!(held.first(), Some(Holding::Present(_))) {
                    return Ok(None);
                }
            }
            match self.store.delete_if_older(&digest, stamp.next()).await {
                Ok(Deletion::Deleted { size }) => Ok(Some(size)),
                Ok(Deletion::Kept { .. } | Deletion::Absent) => Ok(None),
                Err(error) => Err(error.to_string()),
            }
        })
    }
}

impl Own {
    /// Collection teaches it, too, but may be off, and begins an hour after a start.
    async fn learn_floor(&self) -> Result<(), String> {
        if self.store.knows_floor() {
            return Ok(());
        }
        let newest = self.replicator.stamps().refreshed().await;
        let newest = newest.map_err(|error| error.to_string())?;
        self.store.learn_floor(newest).await.map_err(|error| error.to_string())
    }

    /// The node that listed the copy is asked again: one that says "absent" now has collected it.
    async fn unless_gone(&self, digest: &Digest, source: Option<NodeId>, error: String) -> Fetched {
        let Some(source) = source else { return Fetched::Failed(error) };
        match Peer::new(self.replicator.cluster(), source).have(&[*digest]).await {
            Ok((held, _)) if held.first() == Some(&Holding::Absent) => Fetched::Gone,
            _ => Fetched::Failed(error),
        }
    }

    /// Reads all of it, comparing block by block, and hashes it, too: a copy that was written wrong has
    /// good checksums.
    async fn is_good(&self, blob: BlobReader) -> Result<bool, String> {
        let info = blob.info();
        let mut hasher = info.digest.algorithm().hasher();
        let blocks = info.size.div_ceil(BLOCK_BYTES);
        let mut block = 0;
        while block < blocks {
            let count = BLOCKS_AT_ONCE.min(blocks - block);
            let rest = info.size - block * BLOCK_BYTES;
            let bytes = usize::try_from(rest.min(count * BLOCK_BYTES)).unwrap_or(usize::MAX);
            let buffer = match blob.read_blocks(block, vec![0; bytes]).await {
                Ok(buffer) => buffer,
                Err(ReadError::Corrupt(_) | ReadError::Damaged(_)) => return Ok(false),
                Err(error) => return Err(error.to_string()),
            };
            hasher = blocking(move || {
                hasher.update(&buffer);
                hasher
            })
            .await;
            block += count;
        }
        if hasher.finish() == info.digest {
            return Ok(true);
        }
        self.store.set_aside(&info.digest).await;
        Ok(false)
    }
}

impl Reports for SyncReports {
    fn synced(&self, epoch: Epoch) {
        self.report(epoch);
    }
}
