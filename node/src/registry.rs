//! The registry's operations: what a route does, without HTTP.
//!
//! Order is everything here. A blob is durable in the store before a link makes it visible (P1,
//! P4); a manifest's bytes are durable before the one command that records the manifest, its
//! references, its referrer row and its tags. What is visible is decided by the repository's own
//! links, never by what the store holds: content of another repository cannot be told from content
//! that does not exist.

mod blobs;
mod convert;
mod error;
mod listings;
mod manifests;
mod pins;
mod removal;
mod uploads;

use std::time::Duration;

use atoll_core::{
    RepoName,
    metadata::{Command, Outcome, Refusal, command::TagProtection},
};

pub use crate::replicate::FoundBlob;
pub use error::{ErrorCode, RegistryError, UploadPosition};
pub use listings::Listing;
pub use manifests::{FoundManifest, PushedManifest, TagCondition};
pub use uploads::{BeginUpload, Begun};

use crate::{
    auth::Policy,
    cluster::Standing,
    config::TagPattern,
    metadata::{Metadata, Snapshot},
    replicate::Replicator,
    tiers::Tiers,
};

/// What a repository has, and what that is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told<T> {
    /// What it has.
    pub what: T,
    /// Is it told by a node that has lost touch with its cluster? It may have been deleted since.
    pub is_stale: bool,
}

/// What an operator decides about a registry.
#[derive(Clone, Debug)]
pub struct RegistrySettings {
    /// May manifests, tags and blobs be deleted?
    pub delete_enabled: bool,
    /// Tags that may be created but not moved or deleted.
    pub protected_tags: Vec<TagPattern>,
    /// Are manifests accepted whose config or layers are not in the repository?
    pub sparse_manifests: bool,
    /// The largest manifest in bytes.
    pub manifest_bytes_max: usize,
    /// The most entries of one page of a listing.
    pub page_entries_max: usize,
    /// The most tags of one push by digest.
    pub tags_per_push_max: usize,
    /// Is a tag answered out of what this node has applied when the quorum is out of reach?
    pub stale_pulls: bool,
    /// How long a removal waits for a member that does not answer: longer than the session of one
    /// that died lasts.
    pub removal_wait: Duration,
}

impl Default for RegistrySettings {
    fn default() -> Self {
        RegistrySettings {
            delete_enabled: true,
            protected_tags: Vec::new(),
            sparse_manifests: false,
            manifest_bytes_max: atoll_core::manifest::MANIFEST_BYTES_MAX,
            page_entries_max: 1_000,
            tags_per_push_max: 64,
            stale_pulls: false,
            removal_wait: Duration::from_secs(4),
        }
    }
}

/// The registry of one node.
#[derive(Debug)]
pub struct Registry {
    blobs: Replicator,
    metadata: Metadata,
    policy: Policy,
    settings: RegistrySettings,
}

impl Registry {
    /// Puts the registry together.
    pub fn new(
        blobs: Replicator,
        metadata: Metadata,
        policy: Policy,
        settings: RegistrySettings,
    ) -> Registry {
        Registry { blobs, metadata, policy, settings }
    }

    /// What the operator decided.
    pub fn settings(&self) -> &RegistrySettings {
        &self.settings
    }

    /// Who may do what.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The blobs of the cluster.
    pub fn blobs(&self) -> &Replicator {
        &self.blobs
    }

    /// The memory tier of this node, and through it its store.
    pub fn tiers(&self) -> &Tiers {
        self.blobs.tiers()
    }

    /// The metadata groups.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// Which tags of the repository are create-only.
    fn protection(&self, repo: &RepoName) -> TagProtection {
        let patterns = self.settings.protected_tags.iter();
        let of_repo: Vec<_> = patterns.filter_map(|pattern| pattern.tags_of(repo)).collect();
        if of_repo.is_empty() { TagProtection::None } else { TagProtection::Patterns(of_repo) }
    }

    fn require_deletes(&self) -> Result<(), RegistryError> {
        if self.settings.delete_enabled {
            return Ok(());
        }
        let message = "deleting is switched off on this registry (`registry.delete_enabled`)";
        Err(ErrorCode::Unsupported.error(message))
    }

    async fn submit(&self, command: Command) -> Result<(), RegistryError> {
        Ok(self.decide(command).await??)
    }

    /// Submits, and hands a refusal on.
    async fn decide(&self, command: Command) -> Result<Result<(), Refusal>, RegistryError> {
        match self.metadata.submit(command).await? {
            // The latter answers no command of a registry.
            Outcome::Done | Outcome::Coordinated(_) => Ok(Ok(())),
            Outcome::Refused(refusal) => Ok(Err(refusal)),
        }
    }

    /// Asks the state that this node has applied; when it finds nothing, asks again at a state that
    /// is as fresh as any acknowledged write, so that absence is only ever said when it is true.
    ///
    /// Presence is true of what a member has applied, for a removal waits for all members. A node
    /// that was no member for a while, or only starts, first catches up. One that has lost touch
    /// tells what there was, and says that it is stale.
    async fn find<T>(
        &self,
        repo: &RepoName,
        ask: impl Fn(&Snapshot) -> Result<Option<T>, RegistryError>,
    ) -> Result<Option<Told<T>>, RegistryError> {
        let fresh = |what: T| Told { what, is_stale: false };
        let standing = self.blobs.cluster().standing();
        let applied = match standing {
            Standing::Newcomer => {
                return Ok(ask(&self.metadata.linearizable(repo).await?)?.map(fresh));
            }
            Standing::Member(tenure) => self.metadata.settled(repo, tenure).await?,
            Standing::OutOfTouch => self.metadata.snapshot(repo)?,
        };
        if let Some(what) = ask(&applied)? {
            return Ok(Some(Told { what, is_stale: standing == Standing::OutOfTouch }));
        }
        Ok(ask(&self.metadata.linearizable(repo).await?)?.map(fresh))
    }
}
