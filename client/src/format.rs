//! Images outside a registry: OCI layouts, in a folder or a tar, and docker's archives.
//!
//! What is read here was written by anybody, so nothing of it is believed: a path leads nowhere but
//! into its own archive, a length is compared with what is there, and a blob is hashed while it is
//! read. What is written appears whole or not at all, and a blob that is there already is not written
//! again.
//!
//! Nothing is converted. A layer stays compressed as it is, a manifest keeps its bytes; so the digest
//! of an image is the same wherever it lies. Docker's archive is the one format that knows no
//! manifest: there the config and the layers keep their bytes, and one is made for them.

mod archive;
mod archive_file;
mod descriptor;
mod docker_archive;
mod document;
mod error;
mod folder;
mod graph;
mod index;
mod layout;
mod tar_read;
mod tar_write;
mod tree;

pub use archive::{ArchiveKind, Member, members};
pub use archive_file::ArchiveFile;
pub use descriptor::Descriptor;
pub use docker_archive::{DockerArchive, Image, Saved};
pub use document::Document;
pub use error::{ArchiveFault, FormatError};
pub use folder::{BlobFile, LayoutFolder};
pub use graph::{Graph, Walk};
pub use index::{IMAGE_NAME, Index, REF_NAME};
pub use layout::Layout;
pub use tar_write::{END, header, padding};
pub use tree::{Piece, Tree};

/// The file that makes a folder an OCI layout.
const LAYOUT_FILE: &str = "oci-layout";
/// What stands in it.
const LAYOUT_TEXT: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;
/// The file that lists a layout's images.
const INDEX_FILE: &str = "index.json";

/// Where a blob lies in a layout.
pub fn blob_path(digest: &atoll_core::Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm().name(), digest.hex())
}

#[cfg(test)]
mod tests;
