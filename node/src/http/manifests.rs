//! Manifests over HTTP: `GET`, `HEAD`, `PUT`, `DELETE` of `/v2/<name>/manifests/<reference>`
//! (end-3, end-7, end-9).
//!
//! What is answered is what was pushed: the exact bytes and their media type, whatever the client
//! says it accepts. Converting would change the digest.

use atoll_core::{Reference, RepoName, Tag, etag::EntityTags, metadata::Precondition};
use axum::body::Body;
use http::{Method, Response, StatusCode, header};
use serde_json::json;

use super::{
    api::{Answer, Api, Ask},
    blobs::{accepted, unchanged},
    body::read_whole,
    headers::{self, DOCKER_CONTENT_DIGEST, OCI_SUBJECT, OCI_TAG, content},
};
use crate::registry::{ErrorCode, FoundManifest, RegistryError};

impl Api {
    pub(super) async fn get_manifest(
        &self,
        repo: &RepoName,
        reference: &Reference,
        ask: &Ask,
    ) -> Answer {
        let found = self.registry.find_manifest(repo, reference).await?;
        let warning = found.is_stale.then_some(match reference {
            Reference::Tag(_) => headers::STALE_TAG,
            Reference::Digest(_) => headers::STALE_CONTENT,
        });
        let mut answer = self.manifest_asked(found, ask).await?;
        forget_if_tag(&mut answer, reference);
        if let Some(warning) = warning {
            answer.headers_mut().insert(header::WARNING, warning);
        }
        Ok(answer)
    }

    async fn manifest_asked(&self, found: FoundManifest, ask: &Ask) -> Answer {
        if let Some(unchanged) = unchanged(&found.digest, ask) {
            return Ok(unchanged);
        }
        // What is served was a header when it was pushed; refused it is only if the disk rots.
        let media_type = header::HeaderValue::from_str(&found.record.media_type)
            .map_err(RegistryError::internal)?;
        // HEAD reads the bytes too: a manifest that cannot be pulled must not look as if it could.
        let bytes = self.registry.read_manifest(&found).await?;
        let mut answer = content(StatusCode::OK, &found.digest);
        answer.headers_mut().insert(header::CONTENT_TYPE, media_type);
        answer.headers_mut().insert(header::CONTENT_LENGTH, found.record.size.into());
        if ask.parts.method != Method::HEAD {
            *answer.body_mut() = Body::from(bytes);
        }
        Ok(answer)
    }

    pub(super) async fn put_manifest(
        &self,
        repo: &RepoName,
        reference: &Reference,
        ask: &Ask,
        body: &mut Body,
    ) -> Answer {
        let tags = self.tags_asked(ask)?;
        let content_type = match ask.parts.headers.get(header::CONTENT_TYPE) {
            None => None,
            Some(value) => Some(value.to_str().map_err(|_| {
                ErrorCode::ManifestInvalid.error("the Content-Type is not printable ASCII")
            })?),
        };
        let condition = condition(ask)?;
        let bytes_max = self.registry.settings().manifest_bytes_max;
        if ask.content_length.is_some_and(|length| length > bytes_max as u64) {
            return Err(manifest_too_large(bytes_max));
        }
        let content = read_whole(body, bytes_max).await?;
        let content = content.ok_or_else(|| manifest_too_large(bytes_max))?;
        let by_parameter = tags.clone();
        let pushed = self
            .registry
            .push_manifest(repo, reference, tags, content_type, content, condition)
            .await?;
        let mut answer = Response::builder()
            .status(StatusCode::CREATED)
            .header(header::LOCATION, headers::ascii(format!("/v2/{repo}/manifests/{reference}")))
            .header(DOCKER_CONTENT_DIGEST, headers::digest_value(&pushed.digest))
            .header(header::CONTENT_LENGTH, 0);
        if let Some(subject) = &pushed.subject {
            answer = answer.header(OCI_SUBJECT, headers::digest_value(subject));
        }
        for tag in by_parameter {
            answer = answer.header(OCI_TAG, headers::ascii(tag.to_string()));
        }
        Ok(answer.body(Body::empty()).expect("every header is made here"))
    }

    /// The tags of `?tag=a&tag=b`, each once.
    fn tags_asked(&self, ask: &Ask) -> Result<Vec<Tag>, RegistryError> {
        let max = self.registry.settings().tags_per_push_max;
        let mut tags = Vec::new();
        for (key, value) in super::listings::pairs(ask.parts.uri.query()) {
            if key != "tag" {
                continue;
            }
            let tag: Tag =
                value.parse().map_err(|error| ErrorCode::ManifestInvalid.error(error))?;
            if !tags.contains(&tag) {
                tags.push(tag);
            }
            if tags.len() > max {
                let message = format_args!("more than {max} `tag` parameters in one push");
                return Err(ErrorCode::ManifestInvalid
                    .error(message)
                    .with_status(StatusCode::URI_TOO_LONG));
            }
        }
        Ok(tags)
    }

    pub(super) async fn delete_manifest(
        &self,
        repo: &RepoName,
        reference: &Reference,
        ask: &Ask,
    ) -> Answer {
        self.registry.delete_manifest(repo, reference, condition(ask)?).await?;
        Ok(accepted())
    }
}

/// What a tag points to changes: only an answer asked for by digest may be kept.
fn forget_if_tag(answer: &mut Response<Body>, reference: &Reference) {
    if matches!(reference, Reference::Tag(_)) {
        answer.headers_mut().insert(header::CACHE_CONTROL, headers::NO_CACHE);
    }
}

/// `If-Match` and `If-None-Match` of a change to a tag.
fn condition(ask: &Ask) -> Result<Precondition, RegistryError> {
    let invalid = |error| ErrorCode::ManifestInvalid.error(error);
    let parse = |name| EntityTags::parse(ask.header_lines(name)).map_err(invalid);
    let if_match = parse(header::IF_MATCH)?;
    let if_none_match = parse(header::IF_NONE_MATCH)?;
    match (if_match, if_none_match) {
        (None, None) => Ok(Precondition::Always),
        (Some(EntityTags::Any), None) => Ok(Precondition::Exists),
        (Some(tags @ EntityTags::Of(_)), None) => Ok(Precondition::PointsTo(tags.strong_digests())),
        (None, Some(EntityTags::Any)) => Ok(Precondition::Absent),
        _ => {
            let message = "a change takes `If-Match: \"<digest>\"`, `If-Match: *` or \
                           `If-None-Match: *`, and one of them at a time";
            Err(ErrorCode::Unsupported.error(message).with_status(StatusCode::BAD_REQUEST))
        }
    }
}

fn manifest_too_large(bytes_max: usize) -> RegistryError {
    ErrorCode::ManifestInvalid
        .error(format_args!("the manifest is larger than {bytes_max} bytes"))
        .with_status(StatusCode::PAYLOAD_TOO_LARGE)
        .with_detail(json!({"bytesMax": bytes_max}))
}
