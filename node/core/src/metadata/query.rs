//! Questions to the state, all of them pure reads.
//!
//! A question costs as much as its answer: a row is one look-up, a page is one range scan that stops
//! at its end. Nothing here counts or lists what it does not return.

use super::{
    keys,
    kv::KvRead,
    record::{
        CorruptReason, CorruptRecord, LinkRecord, ManifestRecord, Record, RepoRecord, TagRecord,
    },
};
use crate::{Digest, RepoName, Tag};

mod collection;
mod page;
mod referrers;

pub use collection::{
    UNREFERENCED_SCANNED_MAX, Unreferenced, condemned, gc_epoch, marks, unreferenced,
};
pub use page::{Page, linking_repos_page, repos_page, tags_page};
pub use referrers::{
    REFERRERS_PAGE_BYTES_MAX, REFERRERS_SCANNED_MAX, Referrer, ReferrersPage, referrers_page,
};

/// A question that could not be answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError<E> {
    /// The key space failed beneath.
    #[error("read or write the key space")]
    Kv(#[source] E),
    /// A row does not hold what it must.
    #[error(transparent)]
    Corrupt(#[from] CorruptRecord),
}

/// The manifest, if it is in the repository.
pub fn manifest<K: KvRead + ?Sized>(
    kv: &K,
    repo: &RepoName,
    digest: &Digest,
) -> Result<Option<ManifestRecord>, QueryError<K::Error>> {
    read(kv, &keys::manifest(repo, digest))
}

/// Where the tag points, if it exists.
pub fn tag<K: KvRead + ?Sized>(
    kv: &K,
    repo: &RepoName,
    tag: &Tag,
) -> Result<Option<TagRecord>, QueryError<K::Error>> {
    read(kv, &keys::tag(repo, tag))
}

/// The blob, if it is visible in the repository: linked there, and not condemned.
pub fn link<K: KvRead + ?Sized>(
    kv: &K,
    repo: &RepoName,
    digest: &Digest,
) -> Result<Option<LinkRecord>, QueryError<K::Error>> {
    visible(kv, digest, read(kv, &keys::link(repo, digest))?)
}

/// Hides what is found of a condemned blob.
fn visible<K: KvRead + ?Sized, T>(
    kv: &K,
    digest: &Digest,
    found: Option<T>,
) -> Result<Option<T>, QueryError<K::Error>> {
    if found.is_some() && condemned(kv, digest)?.is_some() { Ok(None) } else { Ok(found) }
}

/// The blob, if it is visible in any repository. The answer must not show to a client that may not
/// read such a repository: [`linking_repos_page`] names them.
pub fn linked_anywhere<K: KvRead + ?Sized>(
    kv: &K,
    digest: &Digest,
) -> Result<Option<LinkRecord>, QueryError<K::Error>> {
    let prefix = keys::holders_of(digest);
    let mut first = None;
    scan(kv, &prefix, None, &mut |_, value| {
        first = Some(LinkRecord::decode(value));
        false
    })?;
    visible(kv, digest, first.transpose()?)
}

/// Does the repository hold anything (a blob or a manifest)?
pub fn repo_exists<K: KvRead + ?Sized>(
    kv: &K,
    repo: &RepoName,
) -> Result<bool, QueryError<K::Error>> {
    Ok(read::<K, RepoRecord>(kv, &keys::repo(repo))?.is_some())
}

/// Does any manifest in any repository need this content (as its own bytes, a config, a layer or a
/// child)? What garbage collection asks: it costs one row, however popular the content is.
pub fn referenced<K: KvRead + ?Sized>(
    kv: &K,
    digest: &Digest,
) -> Result<bool, QueryError<K::Error>> {
    let mut found = false;
    scan(kv, &keys::references_to(digest), None, &mut |_, _| {
        found = true;
        false
    })?;
    Ok(found)
}

/// How many manifests need this content, counted row by row: there is no counter that could drift.
/// For tests and operators; decisions only need [`referenced`].
pub fn refcount<K: KvRead + ?Sized>(kv: &K, digest: &Digest) -> Result<u64, QueryError<K::Error>> {
    let mut count = 0;
    scan(kv, &keys::references_to(digest), None, &mut |_, _| {
        count += 1;
        true
    })?;
    Ok(count)
}

/// Reads one record.
pub(super) fn read<K: KvRead + ?Sized, R: Record>(
    kv: &K,
    key: &[u8],
) -> Result<Option<R>, QueryError<K::Error>> {
    let value = kv.get(key).map_err(QueryError::Kv)?;
    Ok(value.map(|bytes| R::decode(&bytes)).transpose()?)
}

/// Visits the rows under a prefix, those after `after` (a whole key) only.
pub(super) fn scan<K: KvRead + ?Sized>(
    kv: &K,
    prefix: &[u8],
    after: Option<&[u8]>,
    visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
) -> Result<(), QueryError<K::Error>> {
    use std::ops::Bound;
    let from = after.map_or(Bound::Included(prefix), Bound::Excluded);
    kv.scan(from, keys::prefix_end(prefix).as_deref(), visit).map_err(QueryError::Kv)
}

/// The error of a key that no code of ours could have written.
pub(super) fn corrupt_key(kind: &'static str) -> CorruptRecord {
    CorruptRecord { kind, reason: CorruptReason::Key }
}

#[cfg(test)]
mod tests;
