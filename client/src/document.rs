//! What a manifest refers to, with sizes: what a pull or a copy goes through next.

use atoll_core::manifest::{Kind, ManifestError, parse};
use serde::Deserialize;

use crate::{
    manifest::{Descriptor, Manifest},
    platform::Platform,
};

/// What a manifest is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// An image or an artifact.
    Image {
        /// Its configuration.
        config: Descriptor,
        /// Its layers, the lowest first.
        layers: Vec<Descriptor>,
    },
    /// A choice of other manifests.
    Index {
        /// These.
        manifests: Vec<Child>,
    },
    /// Something that registries store as it is; it refers to nothing.
    Opaque,
}

/// A manifest in an index.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Child {
    /// What it is.
    #[serde(flatten)]
    pub descriptor: Descriptor,
    /// What it runs on, if that is said.
    #[serde(default)]
    pub platform: Option<Platform>,
}

#[derive(Deserialize)]
struct Image {
    config: Descriptor,
    #[serde(default)]
    layers: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct Index {
    manifests: Vec<Child>,
}

impl Manifest {
    /// What it is made of.
    ///
    /// # Errors
    /// The document is none that a registry would take.
    pub fn content(&self) -> Result<Content, ManifestError> {
        let unreadable =
            |error: serde_json::Error| ManifestError::Json { reason: error.to_string() };
        match parse(Some(&self.descriptor.media_type), &self.bytes)?.kind {
            Kind::Image => {
                let image: Image = serde_json::from_slice(&self.bytes).map_err(unreadable)?;
                Ok(Content::Image { config: image.config, layers: image.layers })
            }
            Kind::Index => {
                let index: Index = serde_json::from_slice(&self.bytes).map_err(unreadable)?;
                Ok(Content::Index { manifests: index.manifests })
            }
            Kind::Opaque => Ok(Content::Opaque),
        }
    }

    /// The blobs that a registry must hold for it, each once: the configuration, then the layers.
    /// None for an index. Layers that are kept elsewhere are left out.
    ///
    /// # Errors
    /// As [`Self::content`].
    pub fn blobs(&self) -> Result<Vec<Descriptor>, ManifestError> {
        let held = parse(Some(&self.descriptor.media_type), &self.bytes)?.blobs;
        let Content::Image { config, layers } = self.content()? else { return Ok(Vec::new()) };
        let mut blobs: Vec<Descriptor> = Vec::new();
        for blob in std::iter::once(config).chain(layers) {
            let is_new = !blobs.iter().any(|known| known.digest == blob.digest);
            if is_new && held.binary_search(&blob.digest).is_ok() {
                blobs.push(blob);
            }
        }
        Ok(blobs)
    }
}
