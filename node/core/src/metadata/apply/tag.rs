//! Tags: what must hold before one changes, and how it changes.

use super::{Stop, put, remove, repo};
use crate::{
    Digest, RepoName, Tag,
    metadata::{
        command::{Precondition, Refusal, TagProtection},
        keys::{self, MARK},
        kv::Kv,
        query::{self, QueryError},
        record::{Record, TagRecord},
    },
};

/// May `tag` be pointed at `digest`? A protected tag may be set again to what it points to.
pub(super) fn check_set<K: Kv>(
    kv: &K,
    repo: &RepoName,
    tag: &Tag,
    digest: &Digest,
    precondition: &Precondition,
    protected: &TagProtection,
) -> Result<(), Stop<K::Error>> {
    let found = query::tag(kv, repo, tag)?.map(|record| record.digest);
    check_precondition(tag, found, precondition)?;
    if found.is_some_and(|found| found != *digest) && protected.covers(tag) {
        return Err(Refusal::TagProtected { tag: tag.clone() }.into());
    }
    Ok(())
}

/// Points `tag` at `digest`, whatever it pointed to.
pub(super) fn set<K: Kv>(
    kv: &mut K,
    place: u64,
    repo: &RepoName,
    tag: &Tag,
    digest: &Digest,
) -> Result<(), Stop<K::Error>> {
    if let Some(old) = query::tag(kv, repo, tag)? {
        remove(kv, &keys::pointer(repo, &old.digest, tag))?;
    }
    put(kv, &keys::tag(repo, tag), &TagRecord { digest: *digest, version: place }.encode())?;
    put(kv, &keys::pointer(repo, digest, tag), MARK)?;
    Ok(())
}

/// [`Command::DeleteTag`](crate::metadata::Command::DeleteTag). A tag that is not there is unknown,
/// whatever the precondition says of it.
pub(super) fn delete<K: Kv>(
    kv: &mut K,
    repo: &RepoName,
    tag: &Tag,
    precondition: &Precondition,
    protected: &TagProtection,
) -> Result<(), Stop<K::Error>> {
    repo::require(kv, repo)?;
    let Some(record) = query::tag(kv, repo, tag)? else {
        return Err(Refusal::TagUnknown { repo: repo.clone(), tag: tag.clone() }.into());
    };
    check_precondition(tag, Some(record.digest), precondition)?;
    if protected.covers(tag) {
        return Err(Refusal::TagProtected { tag: tag.clone() }.into());
    }
    unset(kv, repo, tag, &record.digest)
}

/// Removes a tag that points to `digest`.
pub(super) fn unset<K: Kv>(
    kv: &mut K,
    repo: &RepoName,
    tag: &Tag,
    digest: &Digest,
) -> Result<(), Stop<K::Error>> {
    remove(kv, &keys::tag(repo, tag))?;
    remove(kv, &keys::pointer(repo, digest, tag))?;
    Ok(())
}

/// The tags that point to a manifest, in order.
pub(super) fn pointing_to<K: Kv>(
    kv: &K,
    repo: &RepoName,
    digest: &Digest,
) -> Result<Vec<Tag>, QueryError<K::Error>> {
    let prefix = keys::pointers_to(repo, digest);
    let mut tags = Some(Vec::new());
    query::scan(kv, &prefix, None, &mut |key, _| {
        match (keys::text(&key[prefix.len()..]), &mut tags) {
            (Some(tag), Some(tags)) => tags.push(tag),
            _ => tags = None,
        }
        tags.is_some()
    })?;
    tags.ok_or_else(|| query::corrupt_key("tag pointer").into())
}

/// Refuses when one of `tags` is protected.
pub(super) fn refuse_protected<E>(tags: &[Tag], protected: &TagProtection) -> Result<(), Stop<E>> {
    match tags.iter().find(|tag| protected.covers(tag)) {
        Some(tag) => Err(Refusal::TagProtected { tag: tag.clone() }.into()),
        None => Ok(()),
    }
}

fn check_precondition<E>(
    tag: &Tag,
    found: Option<Digest>,
    precondition: &Precondition,
) -> Result<(), Stop<E>> {
    let holds = match precondition {
        Precondition::Always => true,
        Precondition::PointsTo(digests) => found.is_some_and(|found| digests.contains(&found)),
        Precondition::Exists => found.is_some(),
        Precondition::Absent => found.is_none(),
    };
    if holds { Ok(()) } else { Err(Refusal::PreconditionFailed { tag: tag.clone(), found }.into()) }
}
