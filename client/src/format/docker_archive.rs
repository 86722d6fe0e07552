//! Reading what `docker save` writes.
//!
//! Such an archive has a config and layers, but no manifest that a registry would take, or one for
//! other bytes; so a manifest is made from what is there. Config and layers keep their bytes, and
//! with them the image's id; a layer that is not compressed stays so and its digest is then the one
//! that the config lists, which is checked.

use std::io::Read as _;

use atoll_core::{
    Algorithm, Digest,
    manifest::{MANIFEST_BYTES_MAX, media_type::OCI_MANIFEST},
};
use serde::{Deserialize, Serialize};

use super::{Descriptor, FormatError, Graph, Piece, Tree, descriptor::null_is_empty};
use crate::VerifiedReader;

/// The file that lists the images.
pub(super) const LIST_FILE: &str = "manifest.json";
/// What an OCI config and a docker config are called alike.
const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";
/// Layers by how their content starts. What starts otherwise is a plain tar.
const LAYER_TYPES: [(&[u8], &str); 2] = [
    (b"\x1f\x8b", "application/vnd.oci.image.layer.v1.tar+gzip"),
    (b"\x28\xb5\x2f\xfd", "application/vnd.oci.image.layer.v1.tar+zstd"),
];
const PLAIN_LAYER_TYPE: &str = "application/vnd.oci.image.layer.v1.tar";
/// How much of a layer is read at a time.
const READ_BYTES: usize = 1 << 20;

/// An archive that is read.
#[derive(Debug)]
pub struct DockerArchive {
    tree: Tree,
    images: Vec<Saved>,
}

/// One image of an archive, as `manifest.json` lists it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Saved {
    /// The file with the config.
    pub config: String,
    /// The image's names.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub repo_tags: Vec<String>,
    /// The files with the layers, the lowest first.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub layers: Vec<String>,
}

/// An image of an archive with a manifest made for it.
#[derive(Debug)]
pub struct Image {
    /// The manifest's bytes.
    pub manifest: Vec<u8>,
    /// What names them.
    pub descriptor: Descriptor,
    /// Config and layers, and the files in which they are.
    pub blobs: Vec<(Descriptor, String)>,
}

#[derive(Deserialize)]
struct Config {
    rootfs: RootFs,
}

#[derive(Deserialize)]
struct RootFs {
    #[serde(default, deserialize_with = "null_is_empty")]
    diff_ids: Vec<Digest>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Manifest<'a> {
    schema_version: u32,
    media_type: &'a str,
    config: &'a Descriptor,
    layers: &'a [Descriptor],
}

impl Image {
    /// The image with all that belongs to it.
    pub fn graph(&self) -> Graph {
        let mut blobs: Vec<Descriptor> = Vec::new();
        for (blob, _) in &self.blobs {
            if !blobs.iter().any(|known| known.digest == blob.digest) {
                blobs.push(blob.clone());
            }
        }
        Graph {
            root: self.descriptor.clone(),
            documents: vec![(self.descriptor.clone(), self.manifest.clone())],
            blobs,
        }
    }
}

impl DockerArchive {
    /// Reads which images are there.
    ///
    /// # Errors
    /// It is no such archive.
    pub fn open(tree: Tree) -> Result<DockerArchive, FormatError> {
        let text = tree.document(LIST_FILE, MANIFEST_BYTES_MAX as u64, "an archive of docker")?;
        let images =
            serde_json::from_slice(&text).map_err(|error| tree.strange(LIST_FILE, error))?;
        Ok(DockerArchive { tree, images })
    }

    /// The image of this name, or the only one.
    ///
    /// # Errors
    /// It is not there.
    pub fn find(&self, name: Option<&str>) -> Result<&Saved, FormatError> {
        let found = match name {
            Some(name) => {
                self.images.iter().find(|image| image.repo_tags.iter().any(|tag| tag == name))
            }
            None => Some(&self.images).filter(|all| all.len() == 1).map(|all| &all[0]),
        };
        let known = || {
            let names: Vec<&str> =
                self.images.iter().flat_map(|image| &image.repo_tags).map(String::as_str).collect();
            names.join(", ")
        };
        found.ok_or_else(|| FormatError::NoSuchImage {
            wanted: name.map(str::to_owned),
            count: self.images.len(),
            known: known(),
        })
    }

    /// Makes a manifest for an image. Every layer is read once for its digest.
    ///
    /// # Errors
    /// A file is missing, or has other content than the config says.
    pub fn image(&self, saved: &Saved) -> Result<Image, FormatError> {
        let config_file = self.tree.checked(LIST_FILE, &saved.config)?;
        let text =
            self.tree.document(config_file, MANIFEST_BYTES_MAX as u64, "an image's config")?;
        let digest = Digest::of(Algorithm::Sha256, &text);
        self.check_name(config_file, &digest)?;
        let config: Config =
            serde_json::from_slice(&text).map_err(|error| self.tree.strange(config_file, error))?;
        let diff_ids = config.rootfs.diff_ids;
        if diff_ids.len() != saved.layers.len() {
            let (listed, known) = (saved.layers.len(), diff_ids.len());
            let reason = format!("{listed} layers are listed, the config knows {known}");
            return Err(self.tree.strange(LIST_FILE, reason));
        }
        let config = Descriptor::new(CONFIG_TYPE, digest, text.len() as u64);
        let mut layers = Vec::with_capacity(diff_ids.len());
        for (file, diff_id) in saved.layers.iter().zip(&diff_ids) {
            layers.push(self.layer(self.tree.checked(LIST_FILE, file)?, diff_id)?);
        }
        let manifest = Manifest {
            schema_version: 2,
            media_type: OCI_MANIFEST,
            config: &config,
            layers: &layers,
        };
        let manifest = serde_json::to_vec(&manifest).expect("descriptors are texts and numbers");
        let digest = Digest::of(Algorithm::Sha256, &manifest);
        let descriptor = Descriptor::new(OCI_MANIFEST, digest, manifest.len() as u64);
        let files = std::iter::once(&saved.config).chain(&saved.layers).cloned();
        let blobs = std::iter::once(config).chain(layers).zip(files).collect();
        Ok(Image { manifest, descriptor, blobs })
    }

    /// A blob of an image that was made here, judged once more while it is read.
    ///
    /// # Errors
    /// The archive has changed, or cannot be read.
    pub fn blob(&self, blob: &(Descriptor, String)) -> Result<VerifiedReader<Piece>, FormatError> {
        self.tree.verified(&blob.1, blob.0.digest, blob.0.size)
    }

    fn layer(&self, file: &str, diff_id: &Digest) -> Result<Descriptor, FormatError> {
        let mut piece = self.tree.open_file(file, "a layer")?;
        let size = piece.size();
        let unreadable = |error| self.tree.unreadable(file, error);
        let mut start = [0; 4];
        let known = piece.peek(&mut start).map_err(unreadable)?;
        let packed = LAYER_TYPES.iter().find(|(magic, _)| start[..known].starts_with(magic));
        let mut hasher = Algorithm::Sha256.hasher();
        let mut buffer = vec![0; READ_BYTES];
        loop {
            match piece.read(&mut buffer).map_err(unreadable)? {
                0 => break,
                read => hasher.update(&buffer[..read]),
            }
        }
        let digest = hasher.finish();
        if packed.is_none() && digest != *diff_id {
            let reason = format!("the config expects a layer `{diff_id}`, this is `{digest}`");
            return Err(self.tree.strange(file, reason));
        }
        Ok(Descriptor::new(packed.map_or(PLAIN_LAYER_TYPE, |(_, kind)| kind), digest, size))
    }

    /// A config is called by its digest: `<hex>.json`, or `blobs/sha256/<hex>`.
    fn check_name(&self, file: &str, digest: &Digest) -> Result<(), FormatError> {
        let name = file.rsplit('/').next().unwrap_or(file);
        let name = name.strip_suffix(".json").unwrap_or(name);
        let is_digest = name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_digest || name == digest.hex() {
            return Ok(());
        }
        Err(self.tree.strange(file, format!("its content has the digest `{digest}`")))
    }
}
