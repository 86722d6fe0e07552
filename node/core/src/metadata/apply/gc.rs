//! Collection: marks come, and go with or without what they mark. Why it is safe is in
//! [`crate::gc`].

use super::{Stop, put, remove, repo};
use crate::{
    Digest, RepoName,
    gc::GcEpoch,
    metadata::{
        command::Refusal,
        keys,
        kv::Kv,
        query::{self, QueryError},
        record::{CondemnedRecord, GcRecord, Record},
    },
};

/// Refuses a command that was prepared before the newest collection, or that relies on a blob that is
/// being collected.
///
/// The epoch alone is not enough: a command prepared *after* the mark was set has the right epoch,
/// and would bring back a blob whose copies are going. The mark alone is not enough either: a
/// command prepared before the mark may come when the round is over, and rely on copies that are gone.
pub(super) fn verify<'a, K: Kv>(
    kv: &K,
    vg: GcEpoch,
    digests: impl IntoIterator<Item = &'a Digest>,
) -> Result<(), Stop<K::Error>> {
    let epoch = query::gc_epoch(kv)?;
    if vg < epoch {
        return Err(Refusal::Reverify.into());
    }
    if epoch == GcEpoch(0) {
        return Ok(());
    }
    for digest in digests {
        if query::condemned(kv, digest)?.is_some() {
            return Err(Refusal::Reverify.into());
        }
    }
    Ok(())
}

/// [`Command::Condemn`](crate::metadata::Command::Condemn). An epoch is accepted once, whatever it
/// then marks: what it did not mark it never will.
pub(super) fn condemn<K: Kv>(
    kv: &mut K,
    e: GcEpoch,
    digests: &[Digest],
) -> Result<(), Stop<K::Error>> {
    let epoch = query::gc_epoch(kv)?;
    if e <= epoch {
        return Err(Refusal::GcEpochPassed { epoch }.into());
    }
    put(kv, &keys::gc(), &GcRecord { epoch: e }.encode())?;
    for digest in digests {
        if !query::referenced(kv, digest)? && query::condemned(kv, digest)?.is_none() {
            put(kv, &keys::condemned(digest), &CondemnedRecord { epoch: e }.encode())?;
        }
    }
    Ok(())
}

/// [`Command::CondemnAbort`](crate::metadata::Command::CondemnAbort).
pub(super) fn abort<K: Kv>(
    kv: &mut K,
    e: GcEpoch,
    digests: &[Digest],
) -> Result<(), Stop<K::Error>> {
    for digest in digests {
        if query::condemned(kv, digest)? == Some(e) {
            remove(kv, &keys::condemned(digest))?;
        }
    }
    Ok(())
}

/// [`Command::CondemnFinish`](crate::metadata::Command::CondemnFinish). Costs as much as the blobs have
/// links.
pub(super) fn finish<K: Kv>(
    kv: &mut K,
    e: GcEpoch,
    digests: &[Digest],
) -> Result<(), Stop<K::Error>> {
    for digest in digests {
        if query::condemned(kv, digest)? != Some(e) {
            continue;
        }
        for name in holders(kv, digest)? {
            remove(kv, &keys::link(&name, digest))?;
            remove(kv, &keys::holder(digest, &name))?;
            repo::drop_if_empty(kv, &name)?;
        }
        remove(kv, &keys::condemned(digest))?;
    }
    Ok(())
}

/// The repositories that link the blob, condemned or not.
fn holders<K: Kv>(kv: &K, digest: &Digest) -> Result<Vec<RepoName>, QueryError<K::Error>> {
    let prefix = keys::holders_of(digest);
    let mut names = Some(Vec::new());
    query::scan(kv, &prefix, None, &mut |key, _| {
        match (keys::text(&key[prefix.len()..]), &mut names) {
            (Some(name), Some(names)) => names.push(name),
            _ => names = None,
        }
        names.is_some()
    })?;
    names.ok_or_else(|| query::corrupt_key("blob link").into())
}
