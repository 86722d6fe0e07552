//! What is pushed: blobs that nobody else makes, and manifests over them.

use atoll_core::{Digest, digest::Algorithm};
use bytes::Bytes;
use serde_json::json;

use crate::{draw::Draw, history::Manifest};

/// The media type of every manifest here.
pub const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";

/// A blob.
#[derive(Clone, Debug)]
pub struct Blob {
    /// Its digest.
    pub digest: Digest,
    /// Its bytes.
    pub bytes: Bytes,
}

/// A blob of so many random bytes.
pub fn blob(draw: &mut Draw, len: u64) -> Blob {
    let bytes = draw.bytes(len);
    Blob { digest: Digest::of(Algorithm::Sha256, &bytes), bytes }
}

/// A manifest over `blobs`, the first of which is its configuration. `serial` makes it unique.
pub fn manifest(blobs: &[Blob], serial: &str, subject: Option<&Manifest>) -> Manifest {
    let descriptor = |blob: &Blob| {
        json!({
            "mediaType": "application/octet-stream",
            "digest": blob.digest.to_string(),
            "size": blob.bytes.len(),
        })
    };
    let mut document = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": blobs.first().map(descriptor),
        "layers": blobs.iter().skip(1).map(descriptor).collect::<Vec<_>>(),
        "annotations": {"serial": serial},
    });
    if let Some(subject) = subject {
        document["subject"] = json!({
            "mediaType": MANIFEST_TYPE,
            "digest": subject.digest.to_string(),
            "size": subject.bytes.len(),
        });
    }
    let bytes = Bytes::from(document.to_string());
    let digest = Digest::of(Algorithm::Sha256, &bytes);
    let blobs = blobs.iter().map(|blob| blob.digest).collect();
    Manifest { digest, bytes, blobs, subject: subject.map(|subject| subject.digest) }
}
