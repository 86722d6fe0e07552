//! What can go wrong with blobs on several nodes: one struct per fact, one enum per operation.

use std::sync::Arc;

use atoll_core::{
    Digest,
    view::{Epoch, NodeId},
};

use crate::store::{CommitError, ReadError, UploadError};

/// Too few owners took a copy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "blob `{digest}` has {copies} durable copies; it needs {owners_needed} at its owners{}",
    listed(reasons)
)]
pub struct TooFewCopies {
    /// Which blob.
    pub digest: Digest,
    /// Copies that are durable.
    pub copies: usize,
    /// Owners that must have one.
    pub owners_needed: usize,
    /// What the others said.
    pub reasons: Vec<String>,
}

/// This node's lease has run out: it may not speak for the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this node has lost touch with its cluster")]
pub struct Fenced;

/// Others know a newer view, and it did not arrive here in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("view {epoch} did not arrive in time")]
pub struct ViewLate {
    /// Which view.
    pub epoch: Epoch,
}

/// No owner that could be reached has a good copy, and nobody may say that there is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no copy of blob `{digest}` can be reached{}", listed(reasons))]
pub struct OutOfReach {
    /// Which blob.
    pub digest: Digest,
    /// What each node said that was asked.
    pub reasons: Vec<String>,
}

/// The bytes that a peer sent are not the blob. The last of them were held back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("node {node} sent bytes that are not blob `{digest}`")]
pub struct WrongBytes {
    /// Which blob.
    pub digest: Digest,
    /// Who sent them.
    pub node: NodeId,
}

/// What an owner is owed cannot be recorded.
#[derive(Debug, thiserror::Error)]
#[error("cannot record a copy that is owed: {source}")]
pub struct DebtNotRecorded {
    /// What the disk said.
    #[from]
    pub source: std::io::Error,
}

/// Why a blob was not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The bytes did not become a blob here.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// Too few copies.
    #[error(transparent)]
    TooFewCopies(#[from] TooFewCopies),
    /// No lease.
    #[error(transparent)]
    Fenced(#[from] Fenced),
    /// A newer view did not come.
    #[error(transparent)]
    ViewLate(#[from] ViewLate),
    /// The outbox cannot be written.
    #[error(transparent)]
    Debt(#[from] DebtNotRecorded),
}

/// Why a blob cannot be read.
#[derive(Clone, Debug, thiserror::Error)]
pub enum FetchError {
    /// This node's disk, and there is nobody else to ask.
    #[error(transparent)]
    Local(#[from] Arc<ReadError>),
    /// Nobody has it who can be reached.
    #[error(transparent)]
    OutOfReach(#[from] OutOfReach),
    /// Wrong bytes.
    #[error(transparent)]
    WrongBytes(#[from] WrongBytes),
}

/// Why a copy was not pulled from the peers.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// It cannot be read.
    #[error(transparent)]
    Read(#[from] FetchError),
    /// It cannot be received.
    #[error(transparent)]
    Receive(#[from] UploadError),
    /// It cannot be published.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The pull that was under way already failed.
    #[error("the pull of blob `{0}` that was under way failed")]
    Shared(Digest),
}

fn listed(reasons: &[String]) -> String {
    if reasons.is_empty() { String::new() } else { format!(" ({})", reasons.join("; ")) }
}
