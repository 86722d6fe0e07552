//! Everything that belongs to an image: its documents, and the blobs they lead to.
//!
//! The walk is a state machine without a reader in it: it says which document it wants, and whoever
//! runs it brings the bytes from a registry, a folder or an archive.

use std::collections::{BTreeSet, VecDeque};

use atoll_core::{Digest, manifest::MANIFEST_DESCRIPTORS_MAX};

use super::{
    Descriptor, Document, FormatError,
    document::{check_size, is_index},
};
use crate::Platform;

/// The deepest nesting of indexes that is followed. Real ones have one level; some tools put a second
/// around it.
const INDEX_DEPTH_MAX: usize = 4;

/// An image with all it leads to.
#[derive(Clone, Debug)]
pub struct Graph {
    /// What was asked for: the manifest or index that the name leads to.
    pub root: Descriptor,
    /// The documents and their bytes, each before those it leads to. The first is the root.
    pub documents: Vec<(Descriptor, Vec<u8>)>,
    /// Configs and layers, each once, in the order in which they are named.
    pub blobs: Vec<Descriptor>,
}

impl Graph {
    /// Bytes of all blobs together.
    pub fn blob_bytes(&self) -> u64 {
        self.blobs.iter().map(|blob| blob.size).fold(0, u64::saturating_add)
    }

    /// Config and layers, when the root is an image and no index.
    ///
    /// # Errors
    /// It is something else.
    pub fn image(&self) -> Result<(Descriptor, Vec<Descriptor>), FormatError> {
        let root = self.documents.first();
        let read = root.map(|(descriptor, bytes)| Document::read(descriptor, bytes));
        match read.transpose()? {
            Some(Document::Image { config, layers }) => Ok((*config, layers)),
            _ => Err(FormatError::NoImage {
                digest: self.root.digest,
                media_type: self.root.media_type.clone(),
            }),
        }
    }
}

/// Finds what belongs to an image.
#[derive(Debug)]
pub struct Walk {
    platform: Option<Platform>,
    wanted: VecDeque<(Descriptor, usize)>,
    seen: BTreeSet<Digest>,
    documents: Vec<(Descriptor, Vec<u8>)>,
    blobs: Vec<Descriptor>,
}

impl Walk {
    /// Starts at `root`. With a platform, of an index only the manifest for it is followed, and that
    /// is the root then.
    pub fn new(root: Descriptor, platform: Option<Platform>) -> Walk {
        Walk {
            platform,
            seen: BTreeSet::from([root.digest]),
            wanted: VecDeque::from([(root, 0)]),
            documents: Vec::new(),
            blobs: Vec::new(),
        }
    }

    /// The document that is wanted next; the walk is at its end when there is none.
    pub fn wanted(&self) -> Option<&Descriptor> {
        self.wanted.front().map(|(descriptor, _)| descriptor)
    }

    /// Takes the bytes of the document that was wanted; they are known to be the right ones.
    ///
    /// # Errors
    /// They are no manifest, lead too far, or to nothing for the platform.
    pub fn found(&mut self, bytes: Vec<u8>) -> Result<(), FormatError> {
        let Some((descriptor, depth)) = self.wanted.pop_front() else { return Ok(()) };
        match Document::read(&descriptor, &bytes)? {
            Document::Image { config, layers } => {
                for blob in std::iter::once(*config).chain(layers) {
                    if self.seen.insert(blob.digest) {
                        self.blobs.push(blob);
                    }
                }
            }
            Document::Index(entries) => {
                if let Some(platform) = &self.platform {
                    let chosen = choose(platform, &entries)?.clone();
                    self.follow(chosen, depth)?;
                    // What was chosen stands for the index, which is left behind.
                    return Ok(());
                }
                for entry in entries {
                    self.follow(entry, depth)?;
                }
            }
            Document::Opaque => {}
        }
        self.documents.push((descriptor, bytes));
        Ok(())
    }

    /// Everything that was found.
    ///
    /// # Errors
    /// Nothing was: the walk was not run.
    pub fn finish(self) -> Result<Graph, FormatError> {
        let root = self.documents.first().map(|(root, _)| root.clone());
        let root = root.ok_or(FormatError::Empty)?;
        Ok(Graph { root, documents: self.documents, blobs: self.blobs })
    }

    fn follow(&mut self, entry: Descriptor, depth: usize) -> Result<(), FormatError> {
        check_size(&entry)?;
        let too_deep = is_index(&entry.media_type) && depth + 1 >= INDEX_DEPTH_MAX;
        if too_deep || self.seen.len() >= MANIFEST_DESCRIPTORS_MAX {
            let reason = "it nests deeper or leads to more than any image does".to_owned();
            return Err(FormatError::Manifest { digest: entry.digest, reason });
        }
        if self.seen.insert(entry.digest) {
            self.wanted.push_back((entry, depth + 1));
        }
        Ok(())
    }
}

/// The first entry of an index that runs where it is wanted.
fn choose<'a>(wanted: &Platform, entries: &'a [Descriptor]) -> Result<&'a Descriptor, FormatError> {
    let fits = |entry: &&Descriptor| entry.platform().is_some_and(|one| wanted.accepts(&one));
    entries.iter().find(fits).ok_or_else(|| {
        let offered: Vec<String> =
            entries.iter().filter_map(Descriptor::platform).map(|one| one.to_string()).collect();
        FormatError::NoPlatform { wanted: wanted.to_string(), offered: offered.join(", ") }
    })
}
