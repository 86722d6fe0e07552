//! What names a piece of content (image-spec, "Content Descriptors").

use std::collections::BTreeMap;

use atoll_core::Digest;
use serde::{Deserialize, Deserializer, Serialize};

use crate::Platform;

/// Starts of the media types of layers that a registry need not hold.
const NON_DISTRIBUTABLE: [&str; 2] = [
    "application/vnd.oci.image.layer.nondistributable.v1.",
    "application/vnd.docker.image.rootfs.foreign.diff.",
];

/// A descriptor, with all that was written into it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What kind of content it is.
    pub media_type: String,
    /// The content's digest.
    pub digest: Digest,
    /// The content's length in bytes.
    pub size: u64,
    /// What it runs on, in an index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    platform: Option<serde_json::Value>,
    /// What was noted about it.
    #[serde(
        default,
        deserialize_with = "null_is_empty",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub annotations: BTreeMap<String, String>,
    /// Fields that mean nothing here and are kept.
    #[serde(flatten)]
    rest: BTreeMap<String, serde_json::Value>,
}

impl Descriptor {
    /// A descriptor without platform and annotations.
    pub fn new(media_type: &str, digest: Digest, size: u64) -> Descriptor {
        Descriptor {
            media_type: media_type.to_owned(),
            digest,
            size,
            platform: None,
            annotations: BTreeMap::new(),
            rest: BTreeMap::new(),
        }
    }

    /// What it runs on, if that is said.
    pub fn platform(&self) -> Option<Platform> {
        // Kept as it was written: some name versions and features too.
        serde_json::from_value(self.platform.clone()?).ok()
    }

    /// Whether the content may be missing: a registry need not hold it.
    pub fn may_be_missing(&self) -> bool {
        let has_urls = self.rest.get("urls").and_then(serde_json::Value::as_array);
        has_urls.is_some_and(|urls| !urls.is_empty())
            || NON_DISTRIBUTABLE.iter().any(|start| self.media_type.starts_with(start))
    }
}

/// Go writes an empty map as `null`.
pub(super) fn null_is_empty<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
