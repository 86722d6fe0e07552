//! Manifests: small, always verified, and what they refer to.

use std::{str::FromStr, sync::Arc};

use atoll_core::manifest::MANIFEST_BYTES_MAX;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, header};
use serde::{Deserialize, Serialize};

use crate::{
    Algorithm, Digest, Reference, RepoName,
    auth::Scope,
    endpoint::Endpoint,
    engine::Engine,
    error::{Attempt, NoTrueCopy, PullError, PushError, RequestError},
    exchange::Sending,
    net::{answer::Answer, body::Payload},
    perform::Ask,
    placement::Aim,
    pull::piece_request_error as request_error,
    push::push_error,
};

pub use atoll_core::manifest::media_type::{DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST};

/// The media types that are asked for unless the caller names others.
pub const MANIFEST_TYPES: &[&str] = &[OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_LIST];

pub(crate) const DOCKER_CONTENT_DIGEST: HeaderName =
    HeaderName::from_static("docker-content-digest");

/// How many replicas may send something else before it is given up.
const WRONG_MAX: usize = 5;

/// What a thing is, by name and size.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// Its media type.
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
}

/// A manifest: what it is, and its bytes exactly as the registry has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// What it is; the digest is that of `bytes`.
    pub descriptor: Descriptor,
    /// The document.
    pub bytes: Bytes,
}

/// A manifest that arrived, and who sent it.
struct Arrived {
    manifest: Manifest,
    node: Endpoint,
    /// What its sender says that it is.
    told: Option<Digest>,
}

fn asked(repo: &RepoName, reference: &Reference) -> String {
    match reference {
        Reference::Tag(tag) => format!("`{repo}:{tag}`"),
        Reference::Digest(digest) => format!("`{repo}@{digest}`"),
    }
}

fn path(repo: &RepoName, reference: &Reference) -> String {
    match reference {
        Reference::Tag(tag) => format!("/v2/{repo}/manifests/{tag}"),
        Reference::Digest(digest) => format!("/v2/{repo}/manifests/{digest}"),
    }
}

/// By digest the owners have the bytes; by tag any node answers, and one repository's requests go to
/// one of them.
fn aim(repo: &RepoName, reference: &Reference) -> Aim {
    match reference {
        Reference::Digest(digest) => Aim::Read(*digest),
        Reference::Tag(_) => Aim::Name(repo.to_string()),
    }
}

fn accepting(mut sending: Sending, accept: &[&str]) -> Sending {
    let accept = if accept.is_empty() { MANIFEST_TYPES } else { accept };
    if let Ok(value) = HeaderValue::try_from(accept.join(", ")) {
        sending = sending.header(header::ACCEPT, value);
    }
    sending
}

fn media_type(answer: &Answer) -> String {
    let value = answer.header(&header::CONTENT_TYPE).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

fn told_digest(answer: &Answer) -> Option<Digest> {
    Digest::from_str(answer.header(&DOCKER_CONTENT_DIGEST)?).ok()
}

impl Engine {
    /// What a reference names now. `accept` may be empty.
    pub(crate) async fn resolve(
        self: &Arc<Self>,
        repo: &RepoName,
        reference: &Reference,
        accept: &[&str],
    ) -> Result<Descriptor, PullError> {
        let sending = accepting(Sending::of(Method::HEAD, path(repo, reference)), accept);
        let what = format!("looking for {}", asked(repo, reference));
        let ask = Ask::new(what, aim(repo, reference), Scope::pull(repo), sending);
        let answer = self.perform(&ask).await.map_err(request_error)?;
        let digest = match reference {
            Reference::Digest(digest) => Some(*digest),
            Reference::Tag(_) => told_digest(&answer),
        };
        match (digest, answer.content_length()) {
            (Some(digest), Some(size)) => {
                Ok(Descriptor { media_type: media_type(&answer), digest, size })
            }
            // Not every registry says it without sending the manifest.
            _ => Ok(self.manifest(repo, reference, accept).await?.descriptor),
        }
    }

    pub(crate) async fn manifest(
        self: &Arc<Self>,
        repo: &RepoName,
        reference: &Reference,
        accept: &[&str],
    ) -> Result<Manifest, PullError> {
        let sending = accepting(Sending::get(path(repo, reference)), accept);
        let what = format!("pulling {}", asked(repo, reference));
        let mut ask = Ask::new(what, aim(repo, reference), Scope::pull(repo), sending);
        let mut wrong: Vec<Attempt> = Vec::new();
        loop {
            let Arrived { manifest, node, told } = self.arrived(&mut ask).await?;
            let expected = match reference {
                Reference::Digest(digest) => Some(*digest),
                Reference::Tag(_) => told,
            };
            let found = manifest.descriptor.digest;
            let Some(expected) = expected else { return Ok(manifest) };
            let computed = Digest::of(expected.algorithm(), &manifest.bytes);
            if computed == expected {
                let descriptor = Descriptor { digest: expected, ..manifest.descriptor };
                return Ok(Manifest { descriptor, ..manifest });
            }
            self.wires.counters.mismatches.add(1);
            tracing::warn!(%expected, %found, %node, "wrong manifest thrown away");
            self.directory.distrust(&expected, &node);
            wrong.push(Attempt {
                node: node.to_string(),
                why: format!("sent content with the digest `{computed}`"),
            });
            ask.distrusted.push(node);
            if wrong.len() >= WRONG_MAX {
                return Err(PullError::Content(Box::new(NoTrueCopy { digest: expected, wrong })));
            }
        }
    }

    /// One manifest with its whole body; a body that breaks is asked for elsewhere.
    async fn arrived(self: &Arc<Self>, ask: &mut Ask) -> Result<Arrived, PullError> {
        let mut broken = 0;
        loop {
            let mut answer = self.perform(ask).await.map_err(request_error)?;
            let node = answer.endpoint.clone();
            match answer.whole(MANIFEST_BYTES_MAX).await {
                Ok(bytes) => {
                    self.wires.counters.bytes_received.add(bytes.len() as u64);
                    let digest = Digest::of(Algorithm::Sha256, &bytes);
                    let size = bytes.len() as u64;
                    let descriptor = Descriptor { media_type: media_type(&answer), digest, size };
                    let told = told_digest(&answer);
                    return Ok(Arrived { manifest: Manifest { descriptor, bytes }, node, told });
                }
                Err(error) if broken < WRONG_MAX => {
                    tracing::debug!(%node, %error, "manifest broke off");
                    broken += 1;
                    self.wires.counters.resumes.add(1);
                    self.directory.suspect(&node, self.limits().suspect_for);
                    self.refresh_soon();
                }
                Err(error) => {
                    let expected = "a whole manifest";
                    return Err(
                        Engine::strange(&ask.what, &node, error.to_string(), expected).into()
                    );
                }
            }
        }
    }

    pub(crate) async fn put_manifest(
        self: &Arc<Self>,
        repo: &RepoName,
        reference: &Reference,
        media_type: &str,
        bytes: Bytes,
    ) -> Result<Digest, PushError> {
        let algorithm = match reference {
            Reference::Digest(digest) => digest.algorithm(),
            Reference::Tag(_) => Algorithm::Sha256,
        };
        let digest = Digest::of(algorithm, &bytes);
        let what = format!("pushing {}", asked(repo, reference));
        let Ok(content_type) = HeaderValue::try_from(media_type) else {
            let received = format!("the media type `{}`", media_type.escape_debug());
            let strange = crate::error::StrangeAnswer {
                what,
                node: "the caller".to_owned(),
                received,
                expected: "a media type such as application/vnd.oci.image.manifest.v1+json"
                    .to_owned(),
            };
            return Err(RequestError::Strange(Box::new(strange)).into());
        };
        let mut sending = Sending::of(Method::PUT, path(repo, reference))
            .header(header::CONTENT_TYPE, content_type);
        let size = bytes.len() as u64;
        sending.payload = Payload::Whole(bytes);
        let ask = Ask::new(what, Aim::Write(digest), Scope::push(repo), sending);
        // Again with the same bytes is the same: a retry after an unknown end does no harm.
        let answer = self.perform(&ask).await.map_err(push_error)?;
        self.wires.counters.bytes_sent.add(size);
        match told_digest(&answer) {
            Some(told) if told.algorithm() == algorithm && told != digest => {
                let received = format!("the digest `{told}`");
                let expected = format!("`{digest}`");
                Err(Engine::strange(&ask.what, &answer.endpoint, received, &expected).into())
            }
            _ => Ok(digest),
        }
    }

    pub(crate) async fn delete(
        self: &Arc<Self>,
        repo: &RepoName,
        path: String,
        what: String,
    ) -> Result<(), RequestError> {
        let sending = Sending::of(Method::DELETE, path);
        let ask = Ask::new(what, Aim::Name(repo.to_string()), Scope::delete(repo), sending);
        match self.perform(&ask).await {
            Ok(_) => Ok(()),
            Err(crate::perform::AskError::Request(error)) => Err(error),
            // A request without a body reads no source.
            Err(crate::perform::AskError::Source(_)) => Ok(()),
        }
    }

    pub(crate) async fn delete_manifest(
        self: &Arc<Self>,
        repo: &RepoName,
        reference: &Reference,
    ) -> Result<(), RequestError> {
        let what = format!("deleting {}", asked(repo, reference));
        self.delete(repo, path(repo, reference), what).await
    }
}
