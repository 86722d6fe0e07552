//! What the admin API needs of the node it runs in.
//!
//! Two traits, each as narrow as the questions that are asked: [`Pieces`] for what this node knows and
//! can do by itself, [`Ledger`] for what all nodes agree on. The node composes them from its parts
//! when it starts; tests answer from memory.

use std::{collections::BTreeMap, fmt::Debug, time::Duration};

use atoll_core::{
    Digest, Reference, RepoName,
    admin::{Collected, Coordination, JoinToken, NodeChange, NodeReport, ObjectKind},
    view::{Epoch, MemberRecord, NodeId},
};
use futures_util::future::BoxFuture;

use super::AdminError;

/// What this node knows and does by itself.
pub trait Pieces: Debug + Send + Sync + 'static {
    /// Who votes and leads in group 0.
    fn coordination(&self) -> Coordination;

    /// This node's own account: at once, without asking anybody.
    fn report(&self) -> BoxFuture<'_, NodeReport>;

    /// Begins to compare copies with all co-owners now.
    fn repair(&self);

    /// Who drives garbage collection now.
    fn collector(&self) -> Option<NodeId>;

    /// Begins to collect garbage, or says what would be collected. Only the collector can.
    fn collect(&self, dry_run: bool) -> BoxFuture<'_, Result<Collected, AdminError>>;

    /// The parts of an image: the manifest first; `None` when there is no such manifest.
    fn image<'a>(
        &'a self,
        repo: &'a RepoName,
        reference: &'a Reference,
    ) -> BoxFuture<'a, Result<Option<Vec<Part>>, AdminError>>;

    /// Which of the digests `node` has a durable copy of; `None` when it does not answer.
    fn have<'a>(&'a self, node: NodeId, digests: &'a [Digest]) -> BoxFuture<'a, Option<Vec<bool>>>;

    /// Makes a join token that is good for `ttl`.
    fn mint(&self, ttl: Duration) -> BoxFuture<'_, Result<JoinToken, AdminError>>;
}

/// One object of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// What it is.
    pub kind: ObjectKind,
    /// Its digest.
    pub digest: Digest,
    /// Its size, where it is known.
    pub size_bytes: Option<u64>,
}

/// What all nodes agree on, for reading and for compare-and-set.
pub trait Ledger: Debug + Send + Sync + 'static {
    /// Everything an operator may change, as fresh as any acknowledged change when `fresh`.
    fn read(&self, fresh: bool) -> BoxFuture<'_, Result<Page, AdminError>>;

    /// Carries out all of `writes`, or none.
    fn write(&self, writes: Vec<Write>) -> BoxFuture<'_, Result<(), AdminError>>;
}

/// What stands in the ledger.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Every member's record, and its version.
    pub members: BTreeMap<NodeId, (MemberRecord, i32)>,
    /// The epoch up to which each node has reported to hold all it owns.
    pub synced: BTreeMap<NodeId, Epoch>,
    /// The staged plan, and its version.
    pub plan: Option<(Staged, i32)>,
}

/// A staged plan, without what follows from it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Staged {
    /// The epoch of the view it was made from.
    pub base_epoch: u64,
    /// The changes.
    pub changes: Vec<NodeChange>,
}

/// One change of the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Replaces a member's record that is at this version.
    Member(NodeId, MemberRecord, i32),
    /// Stages a plan where there is none.
    Stage(Staged),
    /// Takes away the plan that is at this version.
    Unstage(i32),
    /// Fails when a plan is staged: two operators must not work against each other.
    NothingStaged,
}
