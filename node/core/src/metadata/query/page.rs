//! Listings in pages.
//!
//! A page starts after a name and holds at most a number of names, in the order of their bytes. The
//! name to start after is whatever a client sent: it need not exist, nor even be a valid name.

use super::{QueryError, condemned, corrupt_key, scan};
use crate::{
    Digest, RepoName, Tag,
    metadata::{keys, kv::KvRead, record::CorruptRecord},
};

/// Some of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// What is listed, in order.
    pub items: Vec<T>,
    /// Whether there are more after the last of `items`. Never set on an empty page.
    pub more: bool,
}

/// The tags of a repository after `after`, at most `limit`.
pub fn tags_page<K: KvRead + ?Sized>(
    kv: &K,
    repo: &RepoName,
    after: Option<&str>,
    limit: usize,
) -> Result<Page<Tag>, QueryError<K::Error>> {
    names_page(kv, &keys::tags_of(repo), after, limit, |name| {
        keys::text(name).ok_or_else(|| corrupt_key("tag"))
    })
}

/// The repositories after `after`, at most `limit`. A repository is listed while it holds anything:
/// a blob or a manifest.
pub fn repos_page<K: KvRead + ?Sized>(
    kv: &K,
    after: Option<&str>,
    limit: usize,
) -> Result<Page<RepoName>, QueryError<K::Error>> {
    names_page(kv, &keys::repos(), after, limit, |name| {
        keys::text(name).ok_or_else(|| corrupt_key("repository"))
    })
}

/// The repositories in which a blob is visible, after `after`, at most `limit`: a mount without a
/// source looks here for one that the client may read.
pub fn linking_repos_page<K: KvRead + ?Sized>(
    kv: &K,
    digest: &Digest,
    after: Option<&str>,
    limit: usize,
) -> Result<Page<RepoName>, QueryError<K::Error>> {
    if condemned(kv, digest)?.is_some() {
        return Ok(Page { items: Vec::new(), more: false });
    }
    names_page(kv, &keys::holders_of(digest), after, limit, |name| {
        keys::text(name).ok_or_else(|| corrupt_key("blob link"))
    })
}

/// Lists what follows a prefix in the keys.
fn names_page<T, K: KvRead + ?Sized>(
    kv: &K,
    prefix: &[u8],
    after: Option<&str>,
    limit: usize,
    parse: impl Fn(&[u8]) -> Result<T, CorruptRecord>,
) -> Result<Page<T>, QueryError<K::Error>> {
    let mut page = Page { items: Vec::new(), more: false };
    if limit == 0 {
        return Ok(page);
    }
    let after = after.map(|name| [prefix, name.as_bytes()].concat());
    let mut corrupt = None;
    scan(kv, prefix, after.as_deref(), &mut |key, _| {
        if page.items.len() == limit {
            page.more = true;
            return false;
        }
        match parse(&key[prefix.len()..]) {
            Ok(item) => page.items.push(item),
            Err(error) => corrupt = Some(error),
        }
        corrupt.is_none()
    })?;
    corrupt.map_or(Ok(page), |error| Err(error.into()))
}
