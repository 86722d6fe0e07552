//! Listings: tags, repositories, referrers. Each costs its page, not what lies around it.

use std::collections::BTreeSet;

use atoll_core::{
    Digest, RepoName,
    metadata::query::{self, ReferrersPage},
};

use super::{ErrorCode, Registry, RegistryError};
use crate::io::{plant::Plant, rt};

/// One page of names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// The names, in byte order.
    pub names: Vec<String>,
    /// Are there more behind the last one?
    pub more: bool,
}

impl Registry {
    /// A page of a repository's tags, those after `after`.
    ///
    /// # Errors
    /// `NAME_UNKNOWN`, or the metadata is out of reach.
    pub async fn list_tags(
        &self,
        repo: &RepoName,
        after: Option<String>,
        entries: usize,
    ) -> Result<Listing, RegistryError> {
        let snapshot = self.metadata.linearizable(repo).await?;
        let repo = repo.clone();
        rt::blocking(move || {
            if !query::repo_exists(&snapshot, &repo)? {
                return Err(
                    ErrorCode::NameUnknown.error(format_args!("there is no repository `{repo}`"))
                );
            }
            let page = query::tags_page(&snapshot, &repo, after.as_deref(), entries)?;
            let mut names: Vec<String> = page.items.iter().map(ToString::to_string).collect();
            if Plant::ShortListing.is_planted() {
                names.pop();
            }
            Ok(Listing { names, more: page.more })
        })
        .await
    }

    /// A page of the repositories that the caller may see, those after `after`.
    ///
    /// # Errors
    /// The metadata is out of reach.
    pub async fn list_repositories(
        &self,
        after: Option<String>,
        entries: usize,
    ) -> Result<Listing, RegistryError> {
        let snapshots = self.metadata.linearizable_all().await?;
        rt::blocking(move || {
            // Each group holds its repositories in order: the first `entries` of all are among the
            // first `entries` of each.
            let mut names = BTreeSet::new();
            let mut more = false;
            for snapshot in &snapshots {
                let page = query::repos_page(snapshot, after.as_deref(), entries)?;
                more |= page.more;
                names.extend(page.items.iter().map(ToString::to_string));
            }
            more |= names.len() > entries;
            Ok(Listing { names: names.into_iter().take(entries).collect(), more })
        })
        .await
    }

    /// A page of the manifests that refer to `subject`. Unknown subjects and repositories have none.
    ///
    /// # Errors
    /// The metadata is out of reach.
    pub async fn list_referrers(
        &self,
        repo: &RepoName,
        subject: &Digest,
        artifact_type: Option<String>,
        after: Option<Digest>,
        entries: usize,
    ) -> Result<ReferrersPage, RegistryError> {
        let snapshot = self.metadata.linearizable(repo).await?;
        let (repo, subject) = (repo.clone(), *subject);
        rt::blocking(move || {
            let filter = artifact_type.as_deref();
            Ok(query::referrers_page(&snapshot, &repo, &subject, filter, after.as_ref(), entries)?)
        })
        .await
    }
}
