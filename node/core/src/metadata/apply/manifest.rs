//! Manifests: push and delete.

use std::collections::BTreeSet;

use super::{Stop, gc, put as put_row, remove, repo, tag};
use crate::{
    Digest, RepoName,
    metadata::{
        command::{MISSING_BLOBS_LISTED_MAX, PutManifest, Refusal, TagProtection},
        keys::{self, MARK},
        kv::Kv,
        query,
        record::{ManifestRecord, Record, ReferrerRecord},
    },
};

/// [`Command::PutManifest`](crate::metadata::Command::PutManifest).
///
/// Pushing again what is there only sets the tags. The same bytes under another media type replace
/// the record, since the pusher is told that they are served under it and that what they refer to is
/// kept; where a protected tag points to them that would move the tag in all but name, and is refused.
pub(super) fn put<K: Kv>(kv: &mut K, place: u64, push: &PutManifest) -> Result<(), Stop<K::Error>> {
    let PutManifest { repo, digest, tags, precondition, protected, vg, .. } = push;
    let record = record_of(push);
    gc::verify(kv, *vg, &needed(digest, &record))?;
    require_blobs(kv, push)?;
    for tag in tags {
        tag::check_set(kv, repo, tag, digest, precondition, protected)?;
    }
    let old = query::manifest(kv, repo, digest)?;
    if let Some(old) = &old
        && old.media_type != record.media_type
    {
        tag::refuse_protected(&tag::pointing_to(kv, repo, digest)?, protected)?;
    }

    if old.as_ref() != Some(&record) {
        if let Some(old) = &old {
            remove_rows(kv, repo, digest, old)?;
        }
        insert_rows(kv, repo, digest, &record)?;
    }
    repo::ensure(kv, place, repo)?;
    for tag in tags {
        tag::set(kv, place, repo, tag, digest)?;
    }
    Ok(())
}

/// [`Command::DeleteManifest`](crate::metadata::Command::DeleteManifest). Costs as much as the
/// manifest has tags and references.
pub(super) fn delete<K: Kv>(
    kv: &mut K,
    repo: &RepoName,
    digest: &Digest,
    protected: &TagProtection,
) -> Result<(), Stop<K::Error>> {
    repo::require(kv, repo)?;
    let Some(record) = query::manifest(kv, repo, digest)? else {
        return Err(Refusal::ManifestUnknown { repo: repo.clone(), digest: *digest }.into());
    };
    let tags = tag::pointing_to(kv, repo, digest)?;
    tag::refuse_protected(&tags, protected)?;
    for tag in &tags {
        tag::unset(kv, repo, tag, digest)?;
    }
    remove_rows(kv, repo, digest, &record)?;
    repo::drop_if_empty(kv, repo)
}

/// Refuses a push whose blobs are not all visible in the repository.
fn require_blobs<K: Kv>(kv: &K, push: &PutManifest) -> Result<(), Stop<K::Error>> {
    let mut missing = Vec::new();
    for blob in &push.blobs {
        if query::link(kv, &push.repo, blob)?.is_none() {
            missing.push(*blob);
        }
        if missing.len() == MISSING_BLOBS_LISTED_MAX {
            break;
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    Err(Refusal::ManifestBlobUnknown { repo: push.repo.clone(), missing }.into())
}

fn record_of(push: &PutManifest) -> ManifestRecord {
    ManifestRecord {
        media_type: push.media_type.clone(),
        size: push.size,
        blobs: push.blobs.clone(),
        foreign_blobs: push.foreign_blobs.clone(),
        children: push.children.clone(),
        subject: push.subject,
        artifact_type: push.artifact_type.clone(),
        annotations: push.annotations.clone(),
    }
}

/// What a manifest keeps from being collected: its own bytes, and all it needs. Not its subject,
/// which may well go before what was said of it.
fn needed(digest: &Digest, record: &ManifestRecord) -> BTreeSet<Digest> {
    let lists = [&record.blobs, &record.foreign_blobs, &record.children];
    lists.into_iter().flatten().chain([digest]).copied().collect()
}

fn insert_rows<K: Kv>(
    kv: &mut K,
    repo: &RepoName,
    digest: &Digest,
    record: &ManifestRecord,
) -> Result<(), Stop<K::Error>> {
    put_row(kv, &keys::manifest(repo, digest), &record.encode())?;
    for content in needed(digest, record) {
        put_row(kv, &keys::reference(&content, repo, digest), MARK)?;
    }
    if let Some(subject) = &record.subject {
        let row = ReferrerRecord { artifact_type: record.artifact_type.clone() };
        put_row(kv, &keys::referrer(repo, subject, digest), &row.encode())?;
    }
    Ok(())
}

fn remove_rows<K: Kv>(
    kv: &mut K,
    repo: &RepoName,
    digest: &Digest,
    record: &ManifestRecord,
) -> Result<(), Stop<K::Error>> {
    remove(kv, &keys::manifest(repo, digest))?;
    for content in needed(digest, record) {
        remove(kv, &keys::reference(&content, repo, digest))?;
    }
    if let Some(subject) = &record.subject {
        remove(kv, &keys::referrer(repo, subject, digest))?;
    }
    Ok(())
}
