//! What the metadata tests share: seams, commands, and how to look at the result.
#![allow(dead_code, reason = "each test binary uses its part")]
#![allow(clippy::unwrap_used, reason = "a test panics when something is wrong")]

use std::sync::Arc;

use atoll_core::{
    Digest, RepoName, Tag,
    digest::Algorithm,
    gc::GcEpoch,
    metadata::{
        Command, Outcome, PutManifest,
        command::{Precondition, TagProtection},
        query,
    },
};
use atoll_node::{
    io::{Disk, Io, clock::RealClock, disk::real::RealDisk, entropy::SimEntropy},
    metadata::{Metadata, Snapshot},
};

/// Seams over a real folder.
pub fn real_io(folder: &std::path::Path) -> Io {
    io_on(Arc::new(RealDisk::open(folder).unwrap()), 1)
}

/// Seams over `disk`.
pub fn io_on(disk: Arc<dyn Disk>, seed: u64) -> Io {
    Io { clock: Arc::new(RealClock::new()), disk, entropy: Arc::new(SimEntropy::new(seed)) }
}

pub fn repo(name: &str) -> RepoName {
    name.parse().unwrap()
}

pub fn digest(content: &str) -> Digest {
    Digest::of(Algorithm::Sha256, content.as_bytes())
}

pub fn tag(name: &str) -> Tag {
    name.parse().unwrap()
}

pub fn link(repo_name: &str, content: &str) -> Command {
    let size = content.len() as u64;
    Command::LinkBlob { repo: repo(repo_name), digest: digest(content), size, vg: GcEpoch(0) }
}

/// A manifest without blobs whose bytes are `content`, tagged.
pub fn put(repo_name: &str, content: &str, tag_name: &str) -> Command {
    Command::PutManifest(PutManifest {
        repo: repo(repo_name),
        digest: digest(content),
        media_type: "application/vnd.oci.image.manifest.v1+json".to_owned(),
        size: content.len() as u64,
        blobs: Vec::new(),
        foreign_blobs: Vec::new(),
        children: Vec::new(),
        subject: None,
        artifact_type: None,
        annotations: Default::default(),
        tags: vec![tag(tag_name)],
        precondition: Precondition::Always,
        protected: TagProtection::None,
        vg: GcEpoch(0),
    })
}

/// Submits, and insists that it is done.
pub async fn done(metadata: &Metadata, command: Command) {
    assert_eq!(metadata.submit(command).await.unwrap(), Outcome::Done);
}

pub fn tag_in(snapshot: &Snapshot, repo_name: &str, tag_name: &str) -> Option<Digest> {
    query::tag(snapshot, &repo(repo_name), &tag(tag_name)).unwrap().map(|record| record.digest)
}

pub fn linked_in(snapshot: &Snapshot, repo_name: &str, content: &str) -> bool {
    query::link(snapshot, &repo(repo_name), &digest(content)).unwrap().is_some()
}
