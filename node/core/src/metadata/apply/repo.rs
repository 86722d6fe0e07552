//! The row of a repository: there exactly while the repository holds a blob or a manifest.
//!
//! Whether it still does is looked up when something leaves, not counted: two look-ups cannot drift.

use super::{Stop, put, remove};
use crate::{
    RepoName,
    metadata::{
        command::Refusal,
        keys,
        kv::Kv,
        query::{self, QueryError},
        record::{Record, RepoRecord},
    },
};

/// Makes sure that the repository has its row.
pub(super) fn ensure<K: Kv>(kv: &mut K, place: u64, repo: &RepoName) -> Result<(), Stop<K::Error>> {
    if !query::repo_exists(kv, repo)? {
        put(kv, &keys::repo(repo), &RepoRecord { since: place }.encode())?;
    }
    Ok(())
}

/// Refuses what is asked of a repository that does not exist.
pub(super) fn require<K: Kv>(kv: &K, repo: &RepoName) -> Result<(), Stop<K::Error>> {
    if query::repo_exists(kv, repo)? {
        return Ok(());
    }
    Err(Refusal::RepoUnknown { repo: repo.clone() }.into())
}

/// Removes the row when the last thing has left. Tags need no look: they point to manifests.
pub(super) fn drop_if_empty<K: Kv>(kv: &mut K, repo: &RepoName) -> Result<(), Stop<K::Error>> {
    if is_empty(kv, &keys::links_of(repo))? && is_empty(kv, &keys::manifests_of(repo))? {
        remove(kv, &keys::repo(repo))?;
    }
    Ok(())
}

fn is_empty<K: Kv>(kv: &K, prefix: &[u8]) -> Result<bool, QueryError<K::Error>> {
    let mut empty = true;
    query::scan(kv, prefix, None, &mut |_, _| {
        empty = false;
        false
    })?;
    Ok(empty)
}
