//! The fields of an image manifest and of an index.
//!
//! Both are read by one shape, field by field, so that an error can say where it is. Fields that are
//! `null` count as absent: Go writes an empty list that way.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    Kind, MANIFEST_ANNOTATIONS_MAX, MANIFEST_DESCRIPTORS_MAX, Manifest, ManifestError, media_type,
};
use crate::{Digest, digest::echo};

/// The outermost object; its fields are read when they are asked for.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Document<'a> {
    #[serde(borrow)]
    schema_version: Option<&'a RawValue>,
    #[serde(borrow)]
    media_type: Option<&'a RawValue>,
    #[serde(borrow)]
    artifact_type: Option<&'a RawValue>,
    #[serde(borrow)]
    config: Option<&'a RawValue>,
    #[serde(borrow)]
    layers: Option<&'a RawValue>,
    #[serde(borrow)]
    manifests: Option<&'a RawValue>,
    #[serde(borrow)]
    subject: Option<&'a RawValue>,
    #[serde(borrow)]
    annotations: Option<&'a RawValue>,
}

/// A descriptor (image-spec, "Content Descriptors"). `data`, `platform` and the rest are for clients.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    media_type: String,
    digest: Digest,
    size: u64,
    /// Places to fetch it from. Nothing here ever does.
    urls: Option<Vec<String>>,
}

impl<'a> Document<'a> {
    /// Reads a JSON object, without looking into its fields.
    pub fn read(body: &'a str) -> Result<Self, ManifestError> {
        serde_json::from_str(body)
            .map_err(|error| ManifestError::Json { reason: echo(&error.to_string()) })
    }

    /// `schemaVersion` as it is written.
    pub fn schema_version(&self) -> Option<&'a str> {
        self.schema_version.map(RawValue::get)
    }

    /// `mediaType`, whatever it says.
    pub fn media_type(&self) -> Result<Option<String>, ManifestError> {
        field("mediaType", self.media_type)
    }

    /// All that the document says, as a document of `kind`.
    pub fn manifest(self, kind: Kind, media_type: String) -> Result<Manifest, ManifestError> {
        let subject = self.subject.map(|raw| descriptor("subject", raw)).transpose()?;
        let config = self.config.map(|raw| descriptor("config", raw)).transpose()?;
        if kind == Kind::Image && config.is_none() {
            return Err(ManifestError::Missing { field: "config", media_type });
        }
        let layers = descriptors("layers", self.layers)?;
        let children = descriptors("manifests", self.manifests)?;
        let (foreign, own): (Vec<_>, Vec<_>) = layers.into_iter().partition(need_not_exist);
        let blobs = digests(own.iter().chain(&config));
        let mut foreign_blobs = digests(&foreign);
        foreign_blobs.retain(|digest| blobs.binary_search(digest).is_err());
        Ok(Manifest {
            media_type,
            kind,
            blobs,
            foreign_blobs,
            children: digests(&children),
            subject: subject.map(|subject| subject.digest),
            artifact_type: self.artifact_type()?.or(config.map(|config| config.media_type)),
            annotations: self.annotations()?,
        })
    }

    fn artifact_type(&self) -> Result<Option<String>, ManifestError> {
        let artifact_type: Option<String> = field("artifactType", self.artifact_type)?;
        // Go writes an absent text as an empty one.
        let artifact_type = artifact_type.filter(|text| !text.is_empty());
        if let Some(text) = &artifact_type {
            check_media_type("artifactType", text)?;
        }
        Ok(artifact_type)
    }

    fn annotations(&self) -> Result<BTreeMap<String, String>, ManifestError> {
        let annotations: Option<BTreeMap<_, _>> = field("annotations", self.annotations)?;
        let annotations = annotations.unwrap_or_default();
        if annotations.len() > MANIFEST_ANNOTATIONS_MAX {
            return Err(ManifestError::TooManyAnnotations { found: annotations.len() });
        }
        Ok(annotations)
    }
}

/// A layer that is not ours to hold, or that clients find elsewhere.
fn need_not_exist(layer: &Descriptor) -> bool {
    media_type::is_non_distributable(&layer.media_type)
        || layer.urls.as_ref().is_some_and(|urls| !urls.is_empty())
}

fn descriptors(
    name: &'static str,
    raw: Option<&RawValue>,
) -> Result<Vec<Descriptor>, ManifestError> {
    let items: Vec<&RawValue> = field(name, raw)?.unwrap_or_default();
    if items.len() > MANIFEST_DESCRIPTORS_MAX {
        return Err(ManifestError::TooManyDescriptors { field: name, found: items.len() });
    }
    let numbered = items.into_iter().enumerate();
    numbered.map(|(number, raw)| descriptor(&format!("{name}[{number}]"), raw)).collect()
}

fn descriptor(name: &str, raw: &RawValue) -> Result<Descriptor, ManifestError> {
    if !raw.get().starts_with('{') {
        // The parser would take an array for the fields in order; no client would.
        let reason = format!("`{}` is not a descriptor, expected an object", echo(raw.get()));
        return Err(ManifestError::Field { field: name.to_owned(), reason });
    }
    let descriptor: Descriptor = value(name, raw)?;
    check_media_type(&format!("{name}.mediaType"), &descriptor.media_type)?;
    // Clients keep sizes in signed 64-bit integers.
    if i64::try_from(descriptor.size).is_err() {
        return Err(ManifestError::Field {
            field: format!("{name}.size"),
            reason: format!("{} is more than {}", descriptor.size, i64::MAX),
        });
    }
    Ok(descriptor)
}

fn check_media_type(name: &str, text: &str) -> Result<(), ManifestError> {
    if media_type::is_media_type(media_type::essence(text)) {
        return Ok(());
    }
    let reason = format!("`{}` is not a media type, expected `type/subtype`", echo(text));
    Err(ManifestError::Field { field: name.to_owned(), reason })
}

fn digests<'d>(descriptors: impl IntoIterator<Item = &'d Descriptor>) -> Vec<Digest> {
    let sorted: BTreeSet<_> = descriptors.into_iter().map(|one| one.digest).collect();
    sorted.into_iter().collect()
}

fn field<'a, T: Deserialize<'a>>(
    name: &str,
    raw: Option<&'a RawValue>,
) -> Result<Option<T>, ManifestError> {
    raw.map(|raw| value(name, raw)).transpose()
}

fn value<'a, T: Deserialize<'a>>(name: &str, raw: &'a RawValue) -> Result<T, ManifestError> {
    serde_json::from_str(raw.get()).map_err(|error| {
        let reason = error.to_string();
        // The parser counts lines from the start of this field: the field's name says it better.
        let reason = reason.rsplit_once(" at line ").map_or(reason.as_str(), |(reason, _)| reason);
        ManifestError::Field { field: name.to_owned(), reason: echo(reason) }
    })
}
