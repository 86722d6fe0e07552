//! What goes into an archive, and in which order.
//!
//! Documents first, blobs behind them: a reader that streams knows what is coming. Docker's archive
//! is an OCI layout with docker's list added, as `docker save` itself writes it since version 25: old
//! dockers, new ones, podman and containerd each find what they know, and the blobs stand there once.

use serde::Serialize;

use super::{
    Descriptor, FormatError, Graph, IMAGE_NAME, INDEX_FILE, Index, LAYOUT_FILE, LAYOUT_TEXT,
    REF_NAME, Saved, blob_path, docker_archive::LIST_FILE,
};
use crate::ImageRef;

/// Which archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArchiveKind {
    /// An OCI layout in a tar.
    Oci,
    /// What `docker load` takes: one image.
    Docker,
}

/// One file of an archive.
#[derive(Clone, Debug, PartialEq)]
pub enum Member {
    /// A document: its path and its bytes.
    Document(String, Vec<u8>),
    /// A blob, whose bytes come from elsewhere, and its path.
    Blob(String, Box<Descriptor>),
}

/// The files of an archive that holds `graph` under the name `image`, or under `other` when that is
/// given; an image without a tag has no name in it, as docker has it.
///
/// # Errors
/// The format holds one image, and this is none.
pub fn members(
    kind: ArchiveKind,
    graph: &Graph,
    image: &ImageRef,
    other: Option<&str>,
) -> Result<Vec<Member>, FormatError> {
    let mut members = vec![
        Member::Document(LAYOUT_FILE.to_owned(), LAYOUT_TEXT.as_bytes().to_vec()),
        Member::Document(INDEX_FILE.to_owned(), json(&index(graph, image, other))),
    ];
    if kind == ArchiveKind::Docker {
        let (config, layers) = graph.image()?;
        let list = [Saved {
            config: blob_path(&config.digest),
            repo_tags: other.map(str::to_owned).or(full_name(image)).into_iter().collect(),
            layers: layers.iter().map(|layer| blob_path(&layer.digest)).collect(),
        }];
        members.push(Member::Document(LIST_FILE.to_owned(), json(&list)));
    }
    for (descriptor, bytes) in &graph.documents {
        members.push(Member::Document(blob_path(&descriptor.digest), bytes.clone()));
    }
    for blob in &graph.blobs {
        members.push(Member::Blob(blob_path(&blob.digest), Box::new(blob.clone())));
    }
    Ok(members)
}

fn index(graph: &Graph, image: &ImageRef, other: Option<&str>) -> Index {
    let mut root = graph.root.clone();
    let tag = image.tag().map(ToString::to_string);
    let (short, full) = match other {
        Some(other) => (Some(other.to_owned()), Some(other.to_owned())),
        None => (tag, full_name(image)),
    };
    for (key, name) in [(REF_NAME, short), (IMAGE_NAME, full)] {
        if let Some(name) = name {
            root.annotations.insert(key.to_owned(), name);
        }
    }
    let mut index = Index::default();
    index.put(root);
    index
}

/// `host:port/name:tag`, when there is a tag.
fn full_name(image: &ImageRef) -> Option<String> {
    image.tag().map(|tag| format!("{}/{}:{tag}", image.registry(), image.repo()))
}

fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("a document is made of texts and numbers")
}
