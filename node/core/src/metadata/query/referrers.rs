//! The referrers listing (distribution-spec, "Listing Referrers").
//!
//! The rows under a subject are small and carry the artifact type, so a filter reads no manifest it
//! does not return. Three bounds keep one request cheap: the number of referrers, the bytes of
//! their annotations, and the rows looked at, because a rare type in a huge listing would otherwise
//! scan all of it. Whichever is met first ends the page, and the cursor says where to go on.

use std::collections::BTreeMap;

use super::{QueryError, corrupt_key, manifest, scan};
use crate::{
    Digest, RepoName,
    metadata::{
        keys,
        kv::KvRead,
        record::{CorruptReason, CorruptRecord, ManifestRecord, Record, ReferrerRecord},
    },
};

/// The most rows one page looks at. A row is about 200 bytes: a page never reads more than a few
/// megabytes, and a million referrers are paged through in a hundred requests.
pub const REFERRERS_SCANNED_MAX: usize = 10_000;

/// A page ends once it holds this much text, so that the listing stays within the 4 MiB that clients
/// accept of a manifest (bytes; the last referrer may go beyond).
pub const REFERRERS_PAGE_BYTES_MAX: usize = 2 * 1024 * 1024;

/// One manifest that refers to a subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Referrer {
    /// The manifest.
    pub digest: Digest,
    /// The media type it was pushed with.
    pub media_type: String,
    /// Length in bytes.
    pub size: u64,
    /// Its `artifactType`, else the media type of its config; none for an index without.
    pub artifact_type: Option<String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
}

/// Some of a referrers listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReferrersPage {
    /// What is listed, in the order of the digests.
    pub items: Vec<Referrer>,
    /// Whether there may be more. Unlike in other pages this may be so although `items` is empty: the
    /// rows looked at did not match.
    pub more: bool,
    /// The last digest looked at: the next page starts after it. Set whenever `more` is.
    pub cursor: Option<Digest>,
}

/// The manifests in `repo` that refer to `subject`, after `after`, at most `limit`; only those of
/// `artifact_type` if one is given. The subject need not exist.
pub fn referrers_page<K: KvRead + ?Sized>(
    kv: &K,
    repo: &RepoName,
    subject: &Digest,
    artifact_type: Option<&str>,
    after: Option<&Digest>,
    limit: usize,
) -> Result<ReferrersPage, QueryError<K::Error>> {
    let matches = matching(kv, repo, subject, artifact_type, after, limit)?;
    let mut page = ReferrersPage { items: Vec::new(), more: false, cursor: None };
    let mut bytes = 0;
    for digest in &matches.found {
        if bytes >= REFERRERS_PAGE_BYTES_MAX {
            return Ok(ReferrersPage { more: true, ..page });
        }
        let referrer = describe(kv, repo, digest)?;
        bytes += text_bytes(&referrer);
        page.items.push(referrer);
        page.cursor = Some(*digest);
    }
    if matches.more {
        return Ok(ReferrersPage { more: true, cursor: matches.last, ..page });
    }
    Ok(ReferrersPage { cursor: None, ..page })
}

struct Matches {
    found: Vec<Digest>,
    last: Option<Digest>,
    more: bool,
}

/// Which referrers match, within the bounds on rows found and rows looked at.
fn matching<K: KvRead + ?Sized>(
    kv: &K,
    repo: &RepoName,
    subject: &Digest,
    artifact_type: Option<&str>,
    after: Option<&Digest>,
    limit: usize,
) -> Result<Matches, QueryError<K::Error>> {
    let mut matches = Matches { found: Vec::new(), last: None, more: false };
    if limit == 0 {
        return Ok(matches);
    }
    let prefix = keys::referrers_of(repo, subject);
    let after = after.map(|digest| keys::referrer(repo, subject, digest));
    let mut scanned = 0;
    let mut corrupt = None;
    scan(kv, &prefix, after.as_deref(), &mut |key, value| {
        if matches.found.len() == limit || scanned == REFERRERS_SCANNED_MAX {
            matches.more = true;
            return false;
        }
        scanned += 1;
        match row(&key[prefix.len()..], value) {
            Ok((digest, record)) => {
                matches.last = Some(digest);
                if artifact_type
                    .is_none_or(|wanted| record.artifact_type.as_deref() == Some(wanted))
                {
                    matches.found.push(digest);
                }
            }
            Err(error) => corrupt = Some(error),
        }
        corrupt.is_none()
    })?;
    corrupt.map_or(Ok(matches), |error| Err(error.into()))
}

fn row(name: &[u8], value: &[u8]) -> Result<(Digest, ReferrerRecord), CorruptRecord> {
    let digest = keys::whole_digest(name).ok_or_else(|| corrupt_key(ReferrerRecord::KIND))?;
    Ok((digest, ReferrerRecord::decode(value)?))
}

fn describe<K: KvRead + ?Sized>(
    kv: &K,
    repo: &RepoName,
    digest: &Digest,
) -> Result<Referrer, QueryError<K::Error>> {
    let Some(record) = manifest(kv, repo, digest)? else {
        let missing = CorruptRecord { kind: ManifestRecord::KIND, reason: CorruptReason::Missing };
        return Err(missing.into());
    };
    Ok(Referrer {
        digest: *digest,
        media_type: record.media_type,
        size: record.size,
        artifact_type: record.artifact_type,
        annotations: record.annotations,
    })
}

fn text_bytes(referrer: &Referrer) -> usize {
    referrer.annotations.iter().map(|(key, value)| key.len() + value.len()).sum()
}
