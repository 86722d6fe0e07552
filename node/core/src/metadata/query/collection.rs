//! What collection asks: how far it has come, what is condemned, what nobody needs.

use std::ops::Bound;

use super::{QueryError, corrupt_key, read, referenced, scan};
use crate::{
    Digest, RepoName,
    gc::{GcEpoch, Marks},
    metadata::{
        keys,
        kv::KvRead,
        record::{CondemnedRecord, GcRecord, LinkRecord, Record},
    },
};

/// Blobs looked at for one page of [`unreferenced`], at most: a page takes milliseconds also where
/// every blob is needed.
pub const UNREFERENCED_SCANNED_MAX: usize = 10_000;

/// The newest collection epoch; 0 when there was none.
pub fn gc_epoch<K: KvRead + ?Sized>(kv: &K) -> Result<GcEpoch, QueryError<K::Error>> {
    Ok(read::<K, GcRecord>(kv, &keys::gc())?.unwrap_or_default().epoch)
}

/// The epoch that condemned the blob, if it is condemned.
pub fn condemned<K: KvRead + ?Sized>(
    kv: &K,
    digest: &Digest,
) -> Result<Option<GcEpoch>, QueryError<K::Error>> {
    Ok(read::<K, CondemnedRecord>(kv, &keys::condemned(digest))?.map(|record| record.epoch))
}

/// The newest epoch and everything that is condemned. Rounds are small, so all of it is.
pub fn marks<K: KvRead + ?Sized>(kv: &K) -> Result<Marks, QueryError<K::Error>> {
    let mut marks = Marks { epoch: gc_epoch(kv)?, ..Marks::default() };
    let prefix = keys::all_condemned();
    let mut corrupt = None;
    scan(kv, &prefix, None, &mut |key, value| {
        match (keys::whole_digest(&key[prefix.len()..]), CondemnedRecord::decode(value)) {
            (Some(digest), Ok(record)) => {
                marks.condemned.insert(digest, record.epoch);
            }
            (None, _) => corrupt = Some(corrupt_key("condemned blob")),
            (_, Err(error)) => corrupt = Some(error),
        }
        corrupt.is_none()
    })?;
    corrupt.map_or(Ok(marks), |error| Err(error.into()))
}

/// Some blobs that are linked somewhere and needed by no manifest of this group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unreferenced {
    /// Which, with their lengths in bytes, in order.
    pub blobs: Vec<(Digest, u64)>,
    /// Where the next page starts; none when everything was looked at.
    pub cursor: Option<Digest>,
}

/// The linked blobs after `after` that no manifest of this group needs, the condemned ones left out:
/// at most `limit`, and at most [`UNREFERENCED_SCANNED_MAX`] looked at.
///
/// Other groups may need them, and blobs without a link are not here at all: what is stored but not
/// linked only the nodes know.
pub fn unreferenced<K: KvRead + ?Sized>(
    kv: &K,
    after: Option<&Digest>,
    limit: usize,
) -> Result<Unreferenced, QueryError<K::Error>> {
    let mut page = Unreferenced { blobs: Vec::new(), cursor: after.copied() };
    for _ in 0..UNREFERENCED_SCANNED_MAX {
        if page.blobs.len() >= limit {
            return Ok(page);
        }
        let Some((digest, size)) = linked_after(kv, page.cursor.as_ref())? else {
            page.cursor = None;
            return Ok(page);
        };
        if !referenced(kv, &digest)? && condemned(kv, &digest)?.is_none() {
            page.blobs.push((digest, size));
        }
        page.cursor = Some(digest);
    }
    Ok(page)
}

/// The first linked blob after a digest, whoever links it.
fn linked_after<K: KvRead + ?Sized>(
    kv: &K,
    after: Option<&Digest>,
) -> Result<Option<(Digest, u64)>, QueryError<K::Error>> {
    let all = keys::holders();
    let from = match after {
        None => Some(all.clone()),
        Some(digest) => keys::prefix_end(&keys::holders_of(digest)),
    };
    let Some(from) = from else { return Ok(None) };
    let mut first = None;
    let end = keys::prefix_end(&all);
    kv.scan(Bound::Included(&from), end.as_deref(), &mut |key, value| {
        let digest = keys::digest_and_text::<RepoName>(&key[all.len()..]);
        let digest = digest.map(|(digest, _)| digest).ok_or_else(|| corrupt_key("blob link"));
        first = Some(digest.and_then(|digest| Ok((digest, LinkRecord::decode(value)?.size))));
        false
    })
    .map_err(QueryError::Kv)?;
    Ok(first.transpose()?)
}
