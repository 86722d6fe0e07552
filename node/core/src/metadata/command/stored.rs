//! Commands as they stand in logs.
//!
//! Postcard writes a variant as its number and fields in order, without names. So this list is only
//! ever added to at its end: an entry of any earlier build is read by the number it was written
//! with. A command that gains a field gets a new number; the old one stays for reading, and says
//! what the field was when there was none.
//!
//! Not a new version of the whole log format: entries, votes and messages share that, and all of
//! them would have to be read in two ways for the sake of two commands.

use serde::{Deserialize, Serialize};

use super::{Precondition, PutManifest, TagProtection};
use crate::{Digest, RepoName, Tag, coordination, gc::GcEpoch};

/// The number of a variant is its place in this list.
#[derive(Serialize, Deserialize)]
pub(super) enum Command {
    /// Up to version 0.1: no collection had ever run.
    LinkBlobV1 {
        repo: RepoName,
        digest: Digest,
        size: u64,
    },
    UnlinkBlob {
        repo: RepoName,
        digest: Digest,
    },
    /// Up to version 0.1: no collection had ever run.
    PutManifestV1(PutManifest),
    DeleteManifest {
        repo: RepoName,
        digest: Digest,
        protected: TagProtection,
    },
    DeleteTag {
        repo: RepoName,
        tag: Tag,
        precondition: Precondition,
        protected: TagProtection,
    },
    LinkBlob {
        repo: RepoName,
        digest: Digest,
        size: u64,
        vg: GcEpoch,
    },
    PutManifest {
        vg: GcEpoch,
        put: PutManifest,
    },
    Condemn {
        e: GcEpoch,
        digests: Vec<Digest>,
    },
    CondemnAbort {
        e: GcEpoch,
        digests: Vec<Digest>,
    },
    CondemnFinish {
        e: GcEpoch,
        digests: Vec<Digest>,
    },
    Coordinate(coordination::Command),
}

impl From<Command> for super::Command {
    fn from(stored: Command) -> Self {
        match stored {
            Command::LinkBlobV1 { repo, digest, size } => {
                Self::LinkBlob { repo, digest, size, vg: GcEpoch(0) }
            }
            Command::UnlinkBlob { repo, digest } => Self::UnlinkBlob { repo, digest },
            Command::PutManifestV1(put) => Self::PutManifest(put),
            Command::DeleteManifest { repo, digest, protected } => {
                Self::DeleteManifest { repo, digest, protected }
            }
            Command::DeleteTag { repo, tag, precondition, protected } => {
                Self::DeleteTag { repo, tag, precondition, protected }
            }
            Command::LinkBlob { repo, digest, size, vg } => {
                Self::LinkBlob { repo, digest, size, vg }
            }
            Command::PutManifest { vg, put } => Self::PutManifest(PutManifest { vg, ..put }),
            Command::Condemn { e, digests } => Self::Condemn { e, digests },
            Command::CondemnAbort { e, digests } => Self::CondemnAbort { e, digests },
            Command::CondemnFinish { e, digests } => Self::CondemnFinish { e, digests },
            Command::Coordinate(command) => Self::Coordinate(command),
        }
    }
}

impl From<super::Command> for Command {
    fn from(command: super::Command) -> Self {
        use super::Command as Now;
        match command {
            Now::LinkBlob { repo, digest, size, vg } => Self::LinkBlob { repo, digest, size, vg },
            Now::UnlinkBlob { repo, digest } => Self::UnlinkBlob { repo, digest },
            Now::PutManifest(put) => Self::PutManifest { vg: put.vg, put },
            Now::DeleteManifest { repo, digest, protected } => {
                Self::DeleteManifest { repo, digest, protected }
            }
            Now::DeleteTag { repo, tag, precondition, protected } => {
                Self::DeleteTag { repo, tag, precondition, protected }
            }
            Now::Condemn { e, digests } => Self::Condemn { e, digests },
            Now::CondemnAbort { e, digests } => Self::CondemnAbort { e, digests },
            Now::CondemnFinish { e, digests } => Self::CondemnFinish { e, digests },
            Now::Coordinate(command) => Self::Coordinate(command),
        }
    }
}

#[cfg(test)]
mod tests;
