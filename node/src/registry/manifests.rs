//! Manifests: push, pull, delete; by digest and by tag.

use std::collections::BTreeMap;

use atoll_core::{
    Algorithm, Digest, Reference, RepoName, Tag,
    gc::GcEpoch,
    manifest::{self, Manifest},
    metadata::{Command, Precondition, PutManifest, query, record::ManifestRecord},
};
use bytes::Bytes;
use serde_json::json;

use super::{ErrorCode, Registry, RegistryError, Told};
use crate::{io::plant::Plant, metadata::Snapshot};

/// A manifest that was found.
#[derive(Clone, Debug)]
pub struct FoundManifest {
    /// The digest it was pushed with.
    pub digest: Digest,
    /// What is recorded of it.
    pub record: ManifestRecord,
    /// Was a tag read without asking the quorum, which was out of reach? Or is a digest told by a
    /// node that has lost touch with its cluster?
    pub is_stale: bool,
}

/// A push that was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushedManifest {
    /// The digest of the manifest.
    pub digest: Digest,
    /// The subject it refers to, which the answer must name.
    pub subject: Option<Digest>,
    /// The tags that point to it now because of this push.
    pub tags: Vec<Tag>,
}

/// What a client demands of a tag before it is changed.
pub type TagCondition = Precondition;

fn manifest_unknown(repo: &RepoName, reference: &Reference) -> RegistryError {
    ErrorCode::ManifestUnknown
        .error(format_args!("repository `{repo}` has no manifest `{reference}`"))
        .with_detail(json!({"repository": repo, "reference": reference.to_string()}))
}

impl Registry {
    /// Finds a manifest. A tag is read at a state as fresh as any acknowledged write (P2).
    ///
    /// # Errors
    /// `MANIFEST_UNKNOWN`, or the metadata is out of reach.
    pub async fn find_manifest(
        &self,
        repo: &RepoName,
        reference: &Reference,
    ) -> Result<FoundManifest, RegistryError> {
        let mut is_stale = false;
        let found = match reference {
            Reference::Digest(digest) => {
                let ask = |kv: &Snapshot| Ok(query::manifest(kv, repo, digest)?);
                let told = self.find(repo, ask).await?;
                told.map(|Told { what: record, is_stale }| FoundManifest {
                    digest: *digest,
                    record,
                    is_stale,
                })
            }
            Reference::Tag(tag) => {
                let read = match Plant::StaleTagRead.is_planted() {
                    true => self.metadata.snapshot(repo),
                    false => self.metadata.linearizable(repo).await,
                };
                let snapshot = match read {
                    Ok(snapshot) => snapshot,
                    Err(error) if self.settings.stale_pulls => {
                        tracing::debug!(%repo, %tag, %error, "tag answered without the quorum");
                        is_stale = true;
                        self.metadata.snapshot(repo)?
                    }
                    Err(error) => return Err(error.into()),
                };
                match query::tag(&snapshot, repo, tag)? {
                    None => None,
                    Some(at) => query::manifest(&snapshot, repo, &at.digest)?
                        .map(|record| FoundManifest { digest: at.digest, record, is_stale }),
                }
            }
        };
        if found.is_none() && is_stale {
            // What is old may say what there was, never that there is nothing.
            let message = "the metadata cannot be read now; try again";
            let cause = anyhow::anyhow!("no quorum, and this node knows no such tag");
            return Err(RegistryError::unavailable(message, cause));
        }
        found.ok_or_else(|| manifest_unknown(repo, reference))
    }

    /// The exact bytes of a manifest.
    ///
    /// # Errors
    /// They cannot be read here.
    pub async fn read_manifest(&self, found: &FoundManifest) -> Result<Bytes, RegistryError> {
        Ok(self.blobs.read_small(&found.digest, found.record.size).await?)
    }

    /// Pushes a manifest by tag or by digest, with more tags if there are any.
    ///
    /// # Errors
    /// The manifest is not one, does not hash to the digest asked for, refers to blobs that the
    /// repository lacks, or a tag may not move; or the disk or the metadata failed.
    pub async fn push_manifest(
        &self,
        repo: &RepoName,
        reference: &Reference,
        mut tags: Vec<Tag>,
        content_type: Option<&str>,
        body: Bytes,
        condition: TagCondition,
    ) -> Result<PushedManifest, RegistryError> {
        if let Reference::Tag(tag) = reference {
            tags.insert(0, tag.clone());
        }
        tags.sort();
        tags.dedup();
        if tags.len() > self.settings.tags_per_push_max {
            return Err(self.too_many_tags(tags.len()));
        }
        let condition =
            if Plant::IgnoreCondition.is_planted() { Precondition::Always } else { condition };
        let manifest = manifest::parse(content_type, &body)?;
        let digest = named_digest(reference, &body)?;
        let size = body.len() as u64;
        let subject = manifest.subject;
        let put = self.put_command(repo, digest, size, manifest, tags.clone(), condition);
        let (blobs, own, bytes) = (&self.blobs, &digest, &body);
        self.record(put, |vg| async move {
            blobs.put(own, bytes.clone(), vg).await?;
            Ok(())
        })
        .await?;
        self.tiers().insert(&digest, body).await;
        Ok(PushedManifest { digest, subject, tags })
    }

    fn put_command(
        &self,
        repo: &RepoName,
        digest: Digest,
        size: u64,
        manifest: Manifest,
        tags: Vec<Tag>,
        precondition: Precondition,
    ) -> PutManifest {
        let (mut blobs, mut foreign_blobs) = (manifest.blobs, manifest.foreign_blobs);
        if self.settings.sparse_manifests {
            foreign_blobs.append(&mut blobs);
            foreign_blobs.sort();
            foreign_blobs.dedup();
        }
        // Only a referrers listing tells annotations; they may be megabytes, which every voter would
        // keep twice.
        let annotations =
            if manifest.subject.is_some() { manifest.annotations } else { BTreeMap::new() };
        PutManifest {
            repo: repo.clone(),
            digest,
            media_type: manifest.media_type,
            size,
            blobs,
            foreign_blobs,
            children: manifest.children,
            subject: manifest.subject,
            artifact_type: manifest.artifact_type,
            annotations,
            tags,
            precondition,
            protected: self.protection(repo),
            vg: GcEpoch(0),
        }
    }

    fn too_many_tags(&self, found: usize) -> RegistryError {
        let max = self.settings.tags_per_push_max;
        ErrorCode::ManifestInvalid
            .error(format_args!("{found} tags in one push, at most {max} are allowed"))
            .with_status(http::StatusCode::URI_TOO_LONG)
    }

    /// Deletes a manifest with every tag that points to it, or one tag.
    ///
    /// # Errors
    /// `MANIFEST_UNKNOWN`, `NAME_UNKNOWN`, a protected tag, or deleting is switched off.
    pub async fn delete_manifest(
        &self,
        repo: &RepoName,
        reference: &Reference,
        condition: TagCondition,
    ) -> Result<(), RegistryError> {
        self.require_deletes()?;
        let (of, protected) = (repo.clone(), self.protection(repo));
        match reference {
            Reference::Digest(digest) => {
                let command = Command::DeleteManifest { repo: of, digest: *digest, protected };
                self.submit(command).await?;
                self.seen_everywhere(repo).await;
                Ok(())
            }
            Reference::Tag(tag) => {
                let (tag, precondition) = (tag.clone(), condition);
                let command = Command::DeleteTag { repo: of, tag, precondition, protected };
                self.submit(command).await
            }
        }
    }
}

/// The digest to store the manifest under: the one it is pushed by, if the body hashes to it.
fn named_digest(reference: &Reference, body: &[u8]) -> Result<Digest, RegistryError> {
    let Reference::Digest(asked) = reference else {
        return Ok(Digest::of(Algorithm::Sha256, body));
    };
    let computed = Digest::of(asked.algorithm(), body);
    if computed == *asked {
        return Ok(computed);
    }
    Err(ErrorCode::DigestInvalid
        .error(format_args!("the manifest was pushed as `{asked}` but its bytes are `{computed}`"))
        .with_detail(json!({"expected": asked, "computed": computed})))
}
