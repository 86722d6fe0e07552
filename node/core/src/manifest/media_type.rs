//! Media types: which ones are known, and their grammar.

use super::ManifestError;
use crate::digest::echo;

/// OCI image manifest.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// OCI index.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Docker image manifest, schema 2.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Docker manifest list, schema 2.
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

/// Everything of the retired schema 1: plain and signed.
const DOCKER_SCHEMA1: [&str; 2] = [
    "application/vnd.docker.distribution.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
];
/// Layers that a registry need not hold.
const NON_DISTRIBUTABLE: [&str; 2] = [
    "application/vnd.oci.image.layer.nondistributable.v1.",
    "application/vnd.docker.image.rootfs.foreign.diff.",
];

/// The longest media type in bytes: two names of at most 127 (RFC 6838, 4.2) and a slash.
pub const MEDIA_TYPE_BYTES_MAX: usize = 255;

/// The media type of a Content-Type header: parameters dropped, in lower case.
pub(super) fn of_header(header: &str) -> Result<String, ManifestError> {
    let invalid = || ManifestError::ContentType { received: echo(header) };
    // A list has a comma; so might a quoted parameter, but no client sends one.
    if header.contains(',') {
        return Err(invalid());
    }
    let essence = essence(header);
    if is_media_type(essence) { Ok(essence.to_ascii_lowercase()) } else { Err(invalid()) }
}

/// Drops the parameters.
pub(super) fn essence(text: &str) -> &str {
    text.split_once(';').map_or(text, |(essence, _)| essence).trim()
}

/// Is this `type/subtype` (RFC 6838, 4.2), without parameters?
pub(super) fn is_media_type(text: &str) -> bool {
    text.len() <= MEDIA_TYPE_BYTES_MAX
        && text.split_once('/').is_some_and(|(kind, subtype)| is_name(kind) && is_name(subtype))
}

fn is_name(text: &str) -> bool {
    text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric())
        && text.len() <= 127
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte))
}

pub(super) fn is_schema1(media_type: &str) -> bool {
    DOCKER_SCHEMA1.contains(&media_type)
}

pub(super) fn is_non_distributable(media_type: &str) -> bool {
    NON_DISTRIBUTABLE.iter().any(|prefix| media_type.starts_with(prefix))
}
