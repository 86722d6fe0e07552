//! `index.json`: the images of a layout.

use std::collections::BTreeMap;

use atoll_core::manifest::media_type::OCI_INDEX;
use serde::{Deserialize, Serialize};

use super::{Descriptor, FormatError, descriptor::null_is_empty};

/// The annotation with an image's name in a layout (image-spec, "Annotations").
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// The annotation with an image's whole name, as containerd and docker write it.
pub const IMAGE_NAME: &str = "io.containerd.image.name";

/// An index, with all that was written into it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    schema_version: u32,
    #[serde(default = "oci_index")]
    media_type: String,
    /// The images.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub manifests: Vec<Descriptor>,
    #[serde(flatten)]
    rest: BTreeMap<String, serde_json::Value>,
}

fn oci_index() -> String {
    OCI_INDEX.to_owned()
}

impl Default for Index {
    fn default() -> Index {
        Index {
            schema_version: 2,
            media_type: oci_index(),
            manifests: Vec::new(),
            rest: BTreeMap::new(),
        }
    }
}

impl Index {
    /// Puts an image in, in place of the one that had its name. One without a name replaces an
    /// entry of the same digest that has none either.
    pub fn put(&mut self, entry: Descriptor) {
        let name = entry.annotations.get(REF_NAME);
        let is_same = |known: &Descriptor| {
            let other = known.annotations.get(REF_NAME);
            other == name && (name.is_some() || known.digest == entry.digest)
        };
        match self.manifests.iter().position(is_same) {
            Some(at) => self.manifests[at] = entry,
            None => self.manifests.push(entry),
        }
    }

    /// The image that is meant: by its name or whole name, else the only one.
    ///
    /// # Errors
    /// There is none of this name, or several and no name; the error lists the names.
    pub fn find(&self, name: Option<&str>) -> Result<&Descriptor, FormatError> {
        let names = |entry: &Descriptor| {
            let names = [REF_NAME, IMAGE_NAME].map(|key| entry.annotations.get(key).cloned());
            names.into_iter().flatten().collect::<Vec<String>>()
        };
        let found = match name {
            Some(name) => {
                self.manifests.iter().find(|entry| names(entry).iter().any(|known| known == name))
            }
            None => Some(&self.manifests[..]).filter(|all| all.len() == 1).map(|all| &all[0]),
        };
        found.ok_or_else(|| {
            let known = self.manifests.iter().filter_map(|entry| names(entry).into_iter().next());
            FormatError::NoSuchImage {
                wanted: name.map(str::to_owned),
                count: self.manifests.len(),
                known: known.collect::<Vec<String>>().join(", "),
            }
        })
    }
}
