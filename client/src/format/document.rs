//! Manifests and indexes, read for what they lead to.

use atoll_core::manifest::{
    self, Kind, MANIFEST_BYTES_MAX,
    media_type::{DOCKER_LIST, OCI_INDEX},
};
use serde::Deserialize;

use super::{Descriptor, FormatError, descriptor::null_is_empty};

/// What a manifest leads to.
#[derive(Clone, Debug, PartialEq)]
pub enum Document {
    /// An image: its config and its layers, the lowest first.
    Image {
        /// The config.
        config: Box<Descriptor>,
        /// The layers.
        layers: Vec<Descriptor>,
    },
    /// A list of manifests, mostly one for each platform.
    Index(Vec<Descriptor>),
    /// Something else that is kept as it is.
    Opaque,
}

#[derive(Deserialize)]
struct ImageFields {
    config: Box<Descriptor>,
    #[serde(default, deserialize_with = "null_is_empty")]
    layers: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct IndexFields {
    #[serde(default, deserialize_with = "null_is_empty")]
    manifests: Vec<Descriptor>,
}

impl Document {
    /// Reads the manifest in `bytes`, which `descriptor` leads to. The core judges it first: what a
    /// node would refuse is refused here with the same words.
    ///
    /// # Errors
    /// It is no manifest.
    pub fn read(descriptor: &Descriptor, bytes: &[u8]) -> Result<Document, FormatError> {
        let wrong = |reason: String| FormatError::Manifest { digest: descriptor.digest, reason };
        let parsed = manifest::parse(Some(&descriptor.media_type), bytes);
        let kind = parsed.map_err(|error| wrong(error.to_string()))?.kind;
        let odd = |error: serde_json::Error| wrong(error.to_string());
        Ok(match kind {
            Kind::Image => {
                let ImageFields { config, layers } = serde_json::from_slice(bytes).map_err(odd)?;
                Document::Image { config, layers }
            }
            Kind::Index => {
                let fields: IndexFields = serde_json::from_slice(bytes).map_err(odd)?;
                Document::Index(fields.manifests)
            }
            Kind::Opaque => Document::Opaque,
        })
    }
}

/// Whether a media type is an index's.
pub(super) fn is_index(media_type: &str) -> bool {
    [OCI_INDEX, DOCKER_LIST].contains(&media_type)
}

/// Refuses a document that is longer than any registry takes, before it is read.
pub(super) fn check_size(descriptor: &Descriptor) -> Result<(), FormatError> {
    if descriptor.size <= MANIFEST_BYTES_MAX as u64 {
        return Ok(());
    }
    let reason =
        format!("it has {} bytes, at most {MANIFEST_BYTES_MAX} are allowed", descriptor.size);
    Err(FormatError::Manifest { digest: descriptor.digest, reason })
}
