//! What may be wrong with a manifest.

use super::{
    MANIFEST_ANNOTATIONS_MAX, MANIFEST_BYTES_MAX, MANIFEST_DEPTH_MAX, MANIFEST_DESCRIPTORS_MAX,
    MANIFEST_VALUES_MAX,
};

/// Why a manifest was refused. The text goes to the client: it says what was received and what is
/// allowed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// Too many bytes.
    #[error("the manifest has {found} bytes, at most {MANIFEST_BYTES_MAX} are allowed")]
    TooLarge {
        /// Length in bytes.
        found: usize,
    },
    /// No bytes.
    #[error("the manifest is empty, expected a JSON object")]
    Empty,
    /// It starts with a byte order mark.
    #[error("the manifest starts with a byte order mark, expected UTF-8 without one")]
    ByteOrderMark,
    /// Not UTF-8.
    #[error("the manifest is not UTF-8: byte {position} is wrong")]
    Utf8 {
        /// Offset of the first wrong byte.
        position: usize,
    },
    /// Not JSON.
    #[error("the manifest is not JSON: {reason}")]
    Json {
        /// What the parser says, with line and column.
        reason: String,
    },
    /// JSON, but not an object.
    #[error("the manifest is a JSON {found}, expected an object")]
    NotObject {
        /// What it is.
        found: &'static str,
    },
    /// Nested too deeply.
    #[error("the manifest nests deeper than {MANIFEST_DEPTH_MAX} arrays and objects")]
    TooDeep,
    /// Too many JSON values.
    #[error("the manifest holds more than {MANIFEST_VALUES_MAX} JSON values")]
    TooManyValues,
    /// A key stands twice in one object: readers disagree on which counts.
    #[error("the key `{key}` stands more than once in one object")]
    DuplicateKey {
        /// Which.
        key: String,
    },
    /// A known key in other letters: some readers take it for the known one.
    #[error("the key `{key}` differs from `{known}` only in upper and lower case")]
    KeyCase {
        /// What was received.
        key: String,
        /// What it may be taken for.
        known: &'static str,
    },
    /// No media type at all.
    #[error("there is no Content-Type, and the manifest has no `mediaType` of its own")]
    MediaTypeMissing,
    /// The Content-Type is not one media type.
    #[error(
        "Content-Type `{received}` is not one media type, such as `{}`",
        super::media_type::OCI_MANIFEST
    )]
    ContentType {
        /// What was received, shortened.
        received: String,
    },
    /// Header and body contradict each other.
    #[error("Content-Type is `{content_type}`, but the manifest's `mediaType` is `{media_type}`")]
    MediaTypeMismatch {
        /// The header.
        content_type: String,
        /// The body, shortened.
        media_type: String,
    },
    /// The retired Docker format.
    #[error(
        "Docker image manifest schema 1 is not supported, push schema 2 or an OCI image manifest"
    )]
    Schema1,
    /// The schema version is not 2.
    #[error("`schemaVersion` is {received}, expected the number 2")]
    SchemaVersion {
        /// What was received, shortened.
        received: String,
    },
    /// The document can be read as two kinds (CVE-2021-41190).
    #[error("the manifest has both `{one}` and `{other}`: it must be an image or an index")]
    Ambiguous {
        /// A field of one kind.
        one: &'static str,
        /// A field of another.
        other: &'static str,
    },
    /// A field that the media type requires is not there.
    #[error("`{field}` is missing, `{media_type}` requires it")]
    Missing {
        /// Which.
        field: &'static str,
        /// The media type of the document.
        media_type: String,
    },
    /// A field has the wrong shape.
    #[error("`{field}` is wrong: {reason}")]
    Field {
        /// Which, such as `layers[3]`.
        field: String,
        /// What was received and what is expected.
        reason: String,
    },
    /// Too many descriptors.
    #[error("`{field}` has {found} descriptors, at most {MANIFEST_DESCRIPTORS_MAX} are allowed")]
    TooManyDescriptors {
        /// Which list.
        field: &'static str,
        /// How many.
        found: usize,
    },
    /// Too many annotations.
    #[error("the manifest has {found} annotations, at most {MANIFEST_ANNOTATIONS_MAX} are allowed")]
    TooManyAnnotations {
        /// How many.
        found: usize,
    },
}
