//! Manifests: what a pushed document refers to.
//!
//! The node stores and serves the exact bytes it was given, so parsing answers only questions: which
//! blobs must be here, which manifests are its children, what does it refer to. It is strict where
//! two readers might disagree on the answer (a repeated key, an image that is an index as well, a
//! body that contradicts its Content-Type) and lenient everywhere else: unknown fields are none of
//! its business.
//!
//! Everything is bounded before it is believed: bytes, nesting, values, descriptors, annotations.

use std::collections::BTreeMap;

use crate::{Digest, digest::echo};

mod document;
mod error;
mod json;
pub mod media_type;

use document::Document;
pub use error::ManifestError;
use json::Outline;
use media_type::{DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST};

/// The longest manifest in bytes. Clients accept no longer one (containerd: 4 MiB), and the
/// distribution-spec asks registries to take 4 MB.
pub const MANIFEST_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The deepest nesting of arrays and objects. Known documents need 5.
pub const MANIFEST_DEPTH_MAX: usize = 32;
/// The most JSON values in all: bounds what 4 MiB of `{"a":0,"b":0,…` may cost, a hundred bytes for
/// each. Ten for every descriptor of the longest list.
pub const MANIFEST_VALUES_MAX: usize = 131_072;
/// The most layers or child manifests. Docker stops at 127 layers; large artifacts have thousands.
pub const MANIFEST_DESCRIPTORS_MAX: usize = 10_000;
/// The most annotations of a manifest.
pub const MANIFEST_ANNOTATIONS_MAX: usize = 4_096;

const _: () = assert!(MANIFEST_DESCRIPTORS_MAX * 10 <= MANIFEST_VALUES_MAX);

/// What a manifest says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The media type to store and serve it with: the Content-Type without parameters, else the
    /// body's own `mediaType`.
    pub media_type: String,
    /// What it is.
    pub kind: Kind,
    /// Config and layers that must exist. Sorted, without repeats.
    pub blobs: Vec<Digest>,
    /// Layers that need not exist: non-distributable ones, and ones with `urls` (which are never
    /// fetched). Sorted, without repeats, none that is in `blobs`.
    pub foreign_blobs: Vec<Digest>,
    /// Child manifests. Sorted, without repeats.
    pub children: Vec<Digest>,
    /// The manifest it refers to.
    pub subject: Option<Digest>,
    /// Its own `artifactType`, else the media type of its config; none for an index without.
    pub artifact_type: Option<String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
}

/// What kind of document a manifest is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An OCI image manifest or a Docker schema 2 manifest.
    Image,
    /// An OCI index or a Docker manifest list.
    Index,
    /// A JSON object of another media type: kept, not understood.
    Opaque,
}

/// Reads the manifest in `body`, pushed with the Content-Type header `content_type`.
///
/// Parameters of the header are ignored. Without a header the body's own `mediaType` counts; with
/// both they must agree (image-spec, "mediaType").
pub fn parse(content_type: Option<&str>, body: &[u8]) -> Result<Manifest, ManifestError> {
    let content_type = content_type.map(media_type::of_header).transpose()?;
    refuse_schema1(content_type.as_deref())?;
    let body = text(body)?;
    let outline = json::outline(body)?;
    let document = Document::read(body)?;
    refuse_two_kinds(&outline)?;
    let version = document.schema_version();
    if version == Some("1") {
        return Err(ManifestError::Schema1);
    }

    let media_type = agreed_media_type(content_type, document.media_type()?)?;
    let kind = match media_type.as_str() {
        OCI_MANIFEST | DOCKER_MANIFEST => Kind::Image,
        OCI_INDEX | DOCKER_LIST => Kind::Index,
        _ => return Ok(Manifest::opaque(media_type)),
    };
    if version != Some("2") {
        let received = version.map_or_else(|| "missing".to_owned(), echo);
        return Err(ManifestError::SchemaVersion { received });
    }
    if let Some((key, known)) = outline.miscased {
        return Err(ManifestError::KeyCase { key, known });
    }
    let required: &[&'static str] = match kind {
        Kind::Image => &["config", "layers"],
        Kind::Index | Kind::Opaque => &["manifests"],
    };
    match required.iter().find(|field| !outline.fields.contains(*field)) {
        Some(field) => Err(ManifestError::Missing { field, media_type }),
        None => document.manifest(kind, media_type),
    }
}

/// The body as text.
fn text(body: &[u8]) -> Result<&str, ManifestError> {
    if body.len() > MANIFEST_BYTES_MAX {
        return Err(ManifestError::TooLarge { found: body.len() });
    }
    if body.is_empty() {
        return Err(ManifestError::Empty);
    }
    if body.starts_with(b"\xef\xbb\xbf") {
        return Err(ManifestError::ByteOrderMark);
    }
    std::str::from_utf8(body).map_err(|error| ManifestError::Utf8 { position: error.valid_up_to() })
}

fn refuse_schema1(media_type: Option<&str>) -> Result<(), ManifestError> {
    if media_type.is_some_and(media_type::is_schema1) {
        Err(ManifestError::Schema1)
    } else {
        Ok(())
    }
}

/// Refuses a document that one reader takes for an image and another for an index
/// (CVE-2021-41190), whatever its media type says.
fn refuse_two_kinds(outline: &Outline) -> Result<(), ManifestError> {
    let has = |field: &&'static str| outline.fields.contains(field);
    let of_image = ["config", "layers"].into_iter().find(has);
    let of_index = ["manifests"].into_iter().find(has);
    let of_schema1 = ["fsLayers"].into_iter().find(has);
    match (of_image, of_index, of_schema1) {
        (Some(one), Some(other), _) | (Some(one), _, Some(other)) | (_, Some(one), Some(other)) => {
            Err(ManifestError::Ambiguous { one, other })
        }
        _ => Ok(()),
    }
}

fn agreed_media_type(
    header: Option<String>,
    body: Option<String>,
) -> Result<String, ManifestError> {
    refuse_schema1(body.as_deref())?;
    match (header, body) {
        (Some(header), Some(body)) if header != body => {
            Err(ManifestError::MediaTypeMismatch { content_type: header, media_type: echo(&body) })
        }
        (Some(agreed), _) => Ok(agreed),
        (None, Some(body)) if media_type::is_media_type(&body) => Ok(body),
        (None, Some(body)) => Err(ManifestError::Field {
            field: "mediaType".to_owned(),
            reason: format!("`{}` is not a media type", echo(&body)),
        }),
        (None, None) => Err(ManifestError::MediaTypeMissing),
    }
}

impl Manifest {
    fn opaque(media_type: String) -> Manifest {
        Manifest {
            media_type,
            kind: Kind::Opaque,
            blobs: Vec::new(),
            foreign_blobs: Vec::new(),
            children: Vec::new(),
            subject: None,
            artifact_type: None,
            annotations: BTreeMap::new(),
        }
    }
}

#[cfg(test)]
mod tests;
