//! What repair needs of a node's own copies, and of the ways to get more.
//!
//! Traits, because repair is decided and tested without a disk: the store's inventory and the
//! replicator are the real sides.

use std::fmt::Debug;

use atoll_core::{
    Digest,
    repair::{Cell, Cells, sums::Sum},
    ring::Position,
    view::{Epoch, NodeId},
};
use futures_util::future::BoxFuture;

/// Copies on a page of a listing. A page is some hundred kilobytes.
pub const PAGE_COPIES_MAX: usize = 4_096;

/// Damaged blobs that one answer names: some three hundred kilobytes. With more, a node is no source: what
/// it had is to be learned from others.
pub const DAMAGED_MAX: usize = 4_096;

/// A copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copy {
    /// Of what.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
}

/// Some copies in the order of their places, and whether there are more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The copies.
    pub copies: Vec<Copy>,
    /// Are there more behind the last one?
    pub more: bool,
}

/// Why holdings cannot be told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HoldingsError {
    /// The node has just started and does not know yet what it holds.
    #[error("this node is still counting its copies")]
    Counting,
    /// The disk failed.
    #[error("the inventory cannot be read: {0}")]
    Failed(String),
}

/// The copies this node holds.
pub trait Holdings: Debug + Send + Sync + 'static {
    /// The sum of each of these cells.
    fn sums(&self, cells: Cells, of: &[Cell]) -> Result<Vec<Sum>, HoldingsError>;

    /// Is there a good copy?
    fn holds<'a>(&'a self, digest: &'a Digest) -> BoxFuture<'a, Result<bool, HoldingsError>>;

    /// The blobs in these cells that were here once and have no good copy here; at most
    /// [`DAMAGED_MAX`] and one more.
    fn damaged(&self, cells: Cells, of: &[Cell]) -> Vec<Digest>;

    /// How many copies there are.
    fn count(&self) -> Result<u64, HoldingsError>;

    /// A page of the copies from `first` to `last`, those behind `after`; at most
    /// [`PAGE_COPIES_MAX`].
    fn page(
        &self,
        first: Position,
        last: Position,
        after: Option<Digest>,
    ) -> BoxFuture<'_, Result<Page, HoldingsError>>;
}

/// What came of fetching a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fetched {
    /// It is here and durable now, and this many bytes travelled: none when it was here already.
    Here(u64),
    /// Nobody has it any more: it was collected meanwhile.
    Gone,
    /// It could not be had now.
    Failed(String),
}

/// Changes of this node's copies.
pub trait Copies: Debug + Send + Sync + 'static {
    /// Gets a copy from another node. `source` is the one that was seen to have it.
    fn fetch(&self, digest: Digest, source: Option<NodeId>) -> BoxFuture<'_, Fetched>;

    /// Which of the digests `node` holds durably, and the epoch under which it looked; the error is
    /// for the log.
    fn held_by(
        &self,
        node: NodeId,
        digests: Vec<Digest>,
    ) -> BoxFuture<'_, Result<(Vec<bool>, Epoch), String>>;

    /// Notes that this node's copy is owed to `node`; the error is for the log.
    fn owe(&self, node: NodeId, digest: Digest) -> BoxFuture<'_, Result<(), String>>;

    /// Reads a copy to its end and compares every byte; a bad one is set aside. `false` when it was
    /// bad.
    fn verify(&self, digest: Digest) -> BoxFuture<'_, Result<bool, String>>;

    /// Remembers that the blob exists although no good copy can be had now; the error is for the log.
    fn mark_damaged(&self, digest: Digest) -> BoxFuture<'_, Result<(), String>>;

    /// Removes this node's copy, if every one of `owners` holds a durable one in a view not older than
    /// `since` and takes over what is relied on here. Answers the bytes given back; none when the
    /// copy stays.
    fn give_up(
        &self,
        digest: Digest,
        owners: Vec<NodeId>,
        since: Epoch,
    ) -> BoxFuture<'_, Result<Option<u64>, String>>;
}

/// Where a node says that it has caught up.
pub trait Reports: Debug + Send + Sync + 'static {
    /// This node holds everything it owns as of `epoch`.
    fn synced(&self, epoch: Epoch);
}
