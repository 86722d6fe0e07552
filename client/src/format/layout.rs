//! Reading an OCI layout (image-spec, "Image Layout"), from a folder or a tar.

use std::io::Read as _;

use atoll_core::manifest::{MANIFEST_BYTES_MAX, media_type::OCI_INDEX};
use serde::Deserialize;

use super::{
    Descriptor, FormatError, Graph, INDEX_FILE, Index, LAYOUT_FILE, Piece, Tree, Walk, blob_path,
    document::check_size,
};
use crate::{Platform, VerifiedReader};

/// The longest `oci-layout` in bytes; it holds one version.
const LAYOUT_BYTES_MAX: u64 = 4096;
/// The versions that are understood begin so.
const VERSION_START: &str = "1.";

/// A layout that is read.
#[derive(Debug)]
pub struct Layout {
    tree: Tree,
    index: Index,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Version {
    image_layout_version: String,
}

impl Layout {
    /// Reads what a layout says of itself.
    ///
    /// # Errors
    /// It is none.
    pub fn open(tree: Tree) -> Result<Layout, FormatError> {
        let text = tree.document(LAYOUT_FILE, LAYOUT_BYTES_MAX, "an OCI layout")?;
        let version: Version =
            serde_json::from_slice(&text).map_err(|error| tree.strange(LAYOUT_FILE, error))?;
        let version = version.image_layout_version;
        if !version.starts_with(VERSION_START) {
            let shown: String = version.chars().take(40).collect();
            let reason = format!("version `{shown}` is not understood, only {VERSION_START}x is");
            return Err(tree.strange(LAYOUT_FILE, reason));
        }
        let text = tree.document(INDEX_FILE, MANIFEST_BYTES_MAX as u64, "an OCI layout")?;
        // The core's own parser is stricter than a reader of fields: doubled keys, kinds, bounds.
        atoll_core::manifest::parse(Some(OCI_INDEX), &text)
            .map_err(|error| tree.strange(INDEX_FILE, error))?;
        let index =
            serde_json::from_slice(&text).map_err(|error| tree.strange(INDEX_FILE, error))?;
        Ok(Layout { tree, index })
    }

    /// Its images.
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// All that belongs to the image of this name, or to the only one.
    ///
    /// # Errors
    /// It is not there, or a document of it is missing or wrong.
    pub fn image(
        &self,
        name: Option<&str>,
        platform: Option<Platform>,
    ) -> Result<Graph, FormatError> {
        let root = self.index.find(name)?.clone();
        check_size(&root)?;
        let mut walk = Walk::new(root, platform);
        while let Some(wanted) = walk.wanted() {
            let name = blob_path(&wanted.digest);
            let mut reader = self.tree.verified(&name, wanted.digest, wanted.size)?;
            let mut bytes = Vec::new();
            let read = reader.read_to_end(&mut bytes);
            read.map_err(|error| self.tree.unreadable(&name, error))?;
            walk.found(bytes)?;
        }
        walk.finish()
    }

    /// A blob, judged while it is read; `None` when it is not there.
    ///
    /// # Errors
    /// It cannot be read, or has another length.
    pub fn blob(&self, blob: &Descriptor) -> Result<Option<VerifiedReader<Piece>>, FormatError> {
        let name = blob_path(&blob.digest);
        if self.tree.find(&name)?.is_none() {
            return Ok(None);
        }
        self.tree.verified(&name, blob.digest, blob.size).map(Some)
    }
}
