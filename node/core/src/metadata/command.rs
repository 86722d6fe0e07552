//! What may be asked of the state machine, and what it answers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Digest, RepoName, Tag, coordination, gc::GcEpoch};

mod stored;

/// Names one request for ever: a retry carries the same id and gets the first answer again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RequestId {
    /// Who asks: drawn at random when a node starts.
    pub client: u128,
    /// The asker's counter. A client submits in any order, but never reuses a number.
    pub sequence: u64,
}

/// One entry of the replicated log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Which request this is.
    pub id: RequestId,
    /// What it asks.
    pub command: Command,
}

/// One atomic change. How it looks in a log is in `stored.rs`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "stored::Command", into = "stored::Command")]
#[expect(clippy::large_enum_variant, reason = "a command lives for one log entry, not in arrays")]
pub enum Command {
    /// The blob was uploaded or mounted into the repository: make it visible there.
    LinkBlob {
        /// Where.
        repo: RepoName,
        /// Which blob.
        digest: Digest,
        /// Its length in bytes.
        size: u64,
        /// The collection epoch that was read before the copies were made or pinned; they carry it,
        /// or a newer one, as their stamp. See [`Refusal::Reverify`].
        vg: GcEpoch,
    },
    /// Remove the blob from the repository. Other repositories keep theirs.
    UnlinkBlob {
        /// Where.
        repo: RepoName,
        /// Which blob.
        digest: Digest,
    },
    /// Push a manifest: the record, its references, its referrer row and its tags.
    PutManifest(PutManifest),
    /// Remove a manifest, its referrer row, and every tag in the repository that points to it.
    DeleteManifest {
        /// Where.
        repo: RepoName,
        /// Which manifest.
        digest: Digest,
        /// Refuse when a tag that this pattern protects points to it.
        protected: TagProtection,
    },
    /// Remove a tag; the manifest and its other tags stay.
    DeleteTag {
        /// Where.
        repo: RepoName,
        /// Which tag.
        tag: Tag,
        /// What must hold of the tag now.
        precondition: Precondition,
        /// Refuse when this pattern protects the tag.
        protected: TagProtection,
    },
    /// Collection: mark those of the blobs that no manifest of this group needs and that are not
    /// marked already. Every group accepts an epoch once; what it marked is in its state.
    Condemn {
        /// Which round. Must be newer than every one before.
        e: GcEpoch,
        /// Which blobs. May be none: then only the epoch passes.
        digests: Vec<Digest>,
    },
    /// Collection: take those of the marks back that are of this round.
    CondemnAbort {
        /// Which round.
        e: GcEpoch,
        /// Which blobs.
        digests: Vec<Digest>,
    },
    /// Collection: the copies are gone. Remove those of the marks that are of this round, and every
    /// link to their blobs.
    CondemnFinish {
        /// Which round.
        e: GcEpoch,
        /// Which blobs.
        digests: Vec<Digest>,
    },
    /// A change to the coordination tree; only in the log of group 0.
    Coordinate(coordination::Command),
}

/// The push of one manifest.
///
/// In logs this struct stands as it did in the first version, without `vg`: `stored.rs` writes that
/// beside it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PutManifest {
    /// Where.
    pub repo: RepoName,
    /// The digest of the exact bytes.
    pub digest: Digest,
    /// The media type it was pushed with, and is served with.
    pub media_type: String,
    /// Length in bytes.
    pub size: u64,
    /// Config and layers that must be linked in the repository when the command applies
    /// (non-distributable layers are left out by the parser). Sorted, without repeats.
    pub blobs: Vec<Digest>,
    /// Layers that need not be linked: non-distributable ones and ones with `urls`. Should one have
    /// been pushed all the same, it is kept like any other.
    pub foreign_blobs: Vec<Digest>,
    /// Child manifests of an index. They need not exist (sparse indexes are legal).
    pub children: Vec<Digest>,
    /// The manifest this one refers to.
    pub subject: Option<Digest>,
    /// What a referrers listing says of it: the manifest's own `artifactType`, else the media type
    /// of its config.
    pub artifact_type: Option<String>,
    /// Annotations, copied into referrers listings.
    pub annotations: BTreeMap<String, String>,
    /// Tags to point at it, all or none.
    pub tags: Vec<Tag>,
    /// What must hold of every one of `tags` before.
    pub precondition: Precondition,
    /// Tags that exist already and match this may not move.
    pub protected: TagProtection,
    /// The collection epoch that was read before the manifest's own bytes were stored and everything
    /// it refers to was pinned; all those copies carry it, or a newer one, as their stamp. See
    /// [`Refusal::Reverify`].
    #[serde(skip)]
    pub vg: GcEpoch,
}

/// A condition on the present value of a tag (`If-Match`, `If-None-Match: *`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Precondition {
    /// None.
    #[default]
    Always,
    /// The tag must exist and point to one of these digests (`If-Match: "digest", …`).
    PointsTo(Vec<Digest>),
    /// The tag must exist (`If-Match: *`).
    Exists,
    /// The tag must not exist (`If-None-Match: *`).
    Absent,
}

/// Which tags, once set, may not be moved or deleted (a create-only policy).
///
/// The policy travels in the command, so every replica decides alike whatever its own
/// configuration file says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum TagProtection {
    /// Tags move freely.
    #[default]
    None,
    /// Tags that match one of these patterns are create-only. `*` stands for any characters.
    Patterns(Vec<String>),
}

impl TagProtection {
    /// Is the tag protected?
    pub fn covers(&self, tag: &Tag) -> bool {
        match self {
            TagProtection::None => false,
            TagProtection::Patterns(patterns) => {
                patterns.iter().any(|pattern| matches_pattern(pattern, tag.as_str()))
            }
        }
    }
}

/// Does `pattern`, in which `*` stands for any bytes, match all of `text`?
///
/// On a mismatch only the last star takes one byte more: an earlier one can have no better place, so
/// the cost is at most the product of the lengths, never exponential.
pub fn matches_pattern(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut at, mut read) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while read < text.len() {
        if pattern.get(at) == Some(&b'*') {
            star = Some((at, read));
            at += 1;
        } else if pattern.get(at) == Some(&text[read]) {
            at += 1;
            read += 1;
        } else if let Some((star_at, taken)) = star {
            star = Some((star_at, taken + 1));
            at = star_at + 1;
            read = taken + 1;
        } else {
            return false;
        }
    }
    pattern[at..].iter().all(|&byte| byte == b'*')
}

/// The answer to a [`Request`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// It is done.
    Done,
    /// Nothing was changed, because …
    Refused(Refusal),
    /// The answer to [`Command::Coordinate`].
    Coordinated(coordination::Outcome),
}

/// Why a command changed nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// The repository has never been written to, or everything in it was deleted.
    #[error("repository `{repo}` is not known")]
    RepoUnknown {
        /// Which.
        repo: RepoName,
    },
    /// The blob is not linked in the repository.
    #[error("blob `{digest}` is not in repository `{repo}`")]
    BlobUnknown {
        /// Where.
        repo: RepoName,
        /// Which.
        digest: Digest,
    },
    /// A pushed manifest refers to blobs that are not linked in the repository.
    #[error("the manifest refers to {} blob(s) that repository `{repo}` does not have", missing.len())]
    ManifestBlobUnknown {
        /// Where.
        repo: RepoName,
        /// Which, at most [`MISSING_BLOBS_LISTED_MAX`].
        missing: Vec<Digest>,
    },
    /// The manifest is not in the repository.
    #[error("manifest `{digest}` is not in repository `{repo}`")]
    ManifestUnknown {
        /// Where.
        repo: RepoName,
        /// Which.
        digest: Digest,
    },
    /// The tag is not in the repository.
    #[error("tag `{tag}` is not in repository `{repo}`")]
    TagUnknown {
        /// Where.
        repo: RepoName,
        /// Which.
        tag: Tag,
    },
    /// The precondition does not hold.
    #[error("tag `{tag}` {}", match found { Some(digest) => format!("points to `{digest}`"), None => "does not exist".to_owned() })]
    PreconditionFailed {
        /// Which tag.
        tag: Tag,
        /// What it points to.
        found: Option<Digest>,
    },
    /// The tag is create-only and exists.
    #[error("tag `{tag}` is protected: it may be created, not moved or deleted")]
    TagProtected {
        /// Which tag.
        tag: Tag,
    },
    /// The request is so old that it can no longer be told from a retry of an applied one.
    #[error("the request came too late, whether it was applied is not known any more")]
    Expired,
    /// A collection has begun since the command was prepared (`vg` is older than the group's epoch),
    /// or a blob that it relies on is condemned. Whoever sent it reads the epoch again, pins the
    /// blobs again and sends it anew, under a new request id. Clients never see this.
    #[error("the blobs must be verified again: a collection has begun meanwhile")]
    Reverify,
    /// A collection asked with an epoch that is not newer than the last one.
    #[error("collection epoch {epoch} has been here already")]
    GcEpochPassed {
        /// The newest epoch of the group.
        epoch: GcEpoch,
    },
}

/// How many missing blobs a refusal names.
pub const MISSING_BLOBS_LISTED_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn covers(pattern: &str, tag: &str) -> bool {
        TagProtection::Patterns(vec![pattern.to_owned()]).covers(&tag.parse().unwrap())
    }

    #[test]
    fn a_star_stands_for_any_characters() {
        for (pattern, tag) in [
            ("v*", "v1"),
            ("v*", "v"),
            ("*", "x"),
            ("v*.*", "v1.2.3"),
            ("*-rc*", "1-rc-rc1"),
            ("latest", "latest"),
            ("a*b*c", "axbxbc"),
        ] {
            assert!(covers(pattern, tag), "{pattern} {tag}");
        }
        for (pattern, tag) in
            [("v*", "av"), ("", "x"), ("latest", "latest1"), ("a*b", "abc"), ("a.c", "abc")]
        {
            assert!(!covers(pattern, tag), "{pattern} {tag}");
        }
        assert!(!TagProtection::None.covers(&"x".parse().unwrap()));
    }

    /// The definition, exponential.
    fn matches_slowly(pattern: &[u8], text: &[u8]) -> bool {
        match pattern.split_first() {
            None => text.is_empty(),
            Some((b'*', rest)) => (0..=text.len()).any(|cut| matches_slowly(rest, &text[cut..])),
            Some((byte, rest)) => text
                .split_first()
                .is_some_and(|(first, text)| first == byte && matches_slowly(rest, text)),
        }
    }

    proptest! {
        #[test]
        fn matching_is_what_its_definition_says(pattern in "[ab*]{0,7}", text in "[ab]{0,9}") {
            prop_assert_eq!(
                matches_pattern(&pattern, &text),
                matches_slowly(pattern.as_bytes(), text.as_bytes())
            );
        }
    }
}
