//! What the rows of the key space hold.
//!
//! A record is one version byte and then postcard. The version belongs to the kind of record, so
//! one kind may change its shape without touching the others: a reader that knows version 2 reads
//! version 1 by the step between them. Anything else in a row (a version from the future, a body
//! that does not parse, bytes left over) is a [`CorruptRecord`], never a guess.
//!
//! Not a self-describing format: rows are written by the thousand, and their readers are only ever
//! this file.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::command::{Outcome, RequestId};
use crate::{Digest, gc::GcEpoch};

/// One kind of row.
pub trait Record: Serialize + DeserializeOwned {
    /// What an operator calls it.
    const KIND: &'static str;
    /// The version this build writes.
    const VERSION: u8 = 1;

    /// The bytes of the row.
    fn encode(&self) -> Vec<u8> {
        postcard::to_extend(self, vec![Self::VERSION])
            .expect("records hold only sequences and texts of known length, which always encode")
    }

    /// Reads the bytes of a row, all of them.
    fn decode(bytes: &[u8]) -> Result<Self, CorruptRecord> {
        let corrupt = |reason| CorruptRecord { kind: Self::KIND, reason };
        let Some((&version, body)) = bytes.split_first() else {
            return Err(corrupt(CorruptReason::Empty));
        };
        if version != Self::VERSION {
            return Err(corrupt(CorruptReason::Version { found: version, known: Self::VERSION }));
        }
        let (record, rest) =
            postcard::take_from_bytes(body).map_err(|_| corrupt(CorruptReason::Body))?;
        if rest.is_empty() { Ok(record) } else { Err(corrupt(CorruptReason::Trailing)) }
    }
}

/// A repository that has something in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepoRecord {
    /// Place of the request that brought it into being.
    pub since: u64,
}

/// A blob that is visible in a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkRecord {
    /// Length in bytes.
    pub size: u64,
}

/// A manifest in a repository. The fields mean what they mean in
/// [`PutManifest`](super::command::PutManifest).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestRecord {
    /// The media type it was pushed with, and is served with.
    pub media_type: String,
    /// Length in bytes.
    pub size: u64,
    /// Config and layers.
    pub blobs: Vec<Digest>,
    /// Layers that need not exist here.
    pub foreign_blobs: Vec<Digest>,
    /// Child manifests of an index.
    pub children: Vec<Digest>,
    /// The manifest this one refers to.
    pub subject: Option<Digest>,
    /// What a referrers listing says of it.
    pub artifact_type: Option<String>,
    /// Annotations, copied into referrers listings.
    pub annotations: BTreeMap<String, String>,
}

/// Where a tag points.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TagRecord {
    /// The manifest.
    pub digest: Digest,
    /// Place of the request that set it: grows with every move.
    pub version: u64,
}

/// A manifest that refers to a subject. Small, so that a filtered listing reads little: the rest of
/// what a listing says is in the [`ManifestRecord`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReferrerRecord {
    /// What the listing is filtered by.
    pub artifact_type: Option<String>,
}

/// The first answer to a request, kept for its retries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DedupeRecord {
    /// Place of the request.
    pub place: u64,
    /// What was answered.
    pub outcome: Outcome,
}

/// Which request has a place: the order in which answers are forgotten.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgeRecord {
    /// The request.
    pub request: RequestId,
}

/// The place of the newest request: its number among all that were applied.
///
/// The entries of a log will not do: an entry is a batch, and its requests must not share a place.
/// Places are never below the index of the entry, so that those of a log that was written before
/// there were places stay in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlaceRecord {
    /// The last place that was given.
    pub last: u64,
}

/// What is left of a client's forgotten requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientRecord {
    /// The highest sequence whose answer was forgotten. What is not above it can no longer be told
    /// from a retry.
    pub floor: u64,
    /// Place of the request with which the floor last rose.
    pub touched: u64,
}

/// How far collection has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GcRecord {
    /// The newest epoch that condemned, or tried to.
    pub epoch: GcEpoch,
}

/// A blob that is being collected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CondemnedRecord {
    /// The epoch that condemned it.
    pub epoch: GcEpoch,
}

macro_rules! records {
    ($($record:ident: $kind:literal),* $(,)?) => {
        $(impl Record for $record {
            const KIND: &'static str = $kind;
        })*
    };
}

records! {
    RepoRecord: "repository",
    LinkRecord: "blob link",
    ManifestRecord: "manifest",
    TagRecord: "tag",
    ReferrerRecord: "referrer",
    DedupeRecord: "request answer",
    AgeRecord: "request age",
    PlaceRecord: "place",
    ClientRecord: "client",
    GcRecord: "collection epoch",
    CondemnedRecord: "condemned blob",
}

/// A row does not hold what it must: the disk or a build from the future wrote it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a {kind} row is unreadable: {reason}")]
pub struct CorruptRecord {
    /// The kind of row.
    pub kind: &'static str,
    /// What is wrong with it.
    pub reason: CorruptReason,
}

/// What is wrong with a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CorruptReason {
    /// There is not even a version.
    #[error("it is empty")]
    Empty,
    /// It was written by another version.
    #[error("it has version {found}, this build reads {known}")]
    Version {
        /// The version it says.
        found: u8,
        /// The version this build reads.
        known: u8,
    },
    /// The body does not parse.
    #[error("its body does not parse")]
    Body,
    /// There are bytes after the end.
    #[error("bytes follow its end")]
    Trailing,
    /// The key does not parse.
    #[error("its key does not parse")]
    Key,
    /// Another row says it must be there, but it is not.
    #[error("it is missing although another row points to it")]
    Missing,
}

#[cfg(test)]
mod tests;
