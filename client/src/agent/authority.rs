//! May this caller have this content? A node says so, never the cache.
//!
//! Before anything leaves the cache, the node is asked with the caller's own credential for the head
//! of what was asked for. Its yes is remembered for a short time, for this credential, this
//! repository and this content; a no never is. So a credential that was taken away, a link that was
//! deleted and a repository that was closed take effect here as fast as that time runs, and nobody
//! reads through the agent what the registry would not give them.
//!
//! Credentials are remembered as hashes only.

use std::{collections::BTreeMap, sync::Mutex, time::Duration};

use atoll_core::{Algorithm, Digest};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};

use super::{
    body::Body,
    host::{self, Instant},
};

/// How long a yes counts. A pull of one image by many processes asks within seconds; whoever takes a
/// credential away waits no longer than this.
pub const GRANT_TTL: Duration = Duration::from_secs(15);
/// How many are remembered: a few hundred bytes each.
const GRANTS_MAX: usize = 16_384;
/// Names content in an answer (distribution-spec).
const CONTENT_DIGEST: &str = "docker-content-digest";

/// What a node allowed, and what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The content.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// Its type, as the node named it.
    pub media_type: Option<HeaderValue>,
}

impl Grant {
    /// Reads the answer to a `HEAD`; `None` when it is no yes, or says too little.
    pub fn of(answer: &Response<Body>) -> Option<Grant> {
        if answer.status() != StatusCode::OK {
            return None;
        }
        let headers = answer.headers();
        let text = |name: &str| headers.get(name)?.to_str().ok();
        Some(Grant {
            digest: text(CONTENT_DIGEST)?.parse().ok()?,
            size: text(header::CONTENT_LENGTH.as_str())?.parse().ok()?,
            media_type: headers.get(header::CONTENT_TYPE).cloned(),
        })
    }
}

/// Who asks for what: the hash of the credential, and the path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Asked {
    credential: Digest,
    path: String,
}

/// The yeses of the last seconds.
#[derive(Debug, Default)]
pub struct Authority {
    grants: Mutex<BTreeMap<Asked, (Grant, Instant)>>,
}

impl Authority {
    /// What a node allowed this caller lately. `path` names repository and content.
    pub fn remembered(&self, headers: &HeaderMap, path: &str, now: Instant) -> Option<Grant> {
        let grants = host::lock(&self.grants);
        let (grant, until) = grants.get(&asked(headers, path))?;
        (*until > now).then(|| grant.clone())
    }

    /// Notes a yes.
    pub fn remember(&self, headers: &HeaderMap, path: &str, grant: Grant, now: Instant) {
        let mut grants = host::lock(&self.grants);
        if grants.len() >= GRANTS_MAX {
            grants.retain(|_, (_, until)| *until > now);
        }
        if grants.len() < GRANTS_MAX {
            grants.insert(asked(headers, path), (grant, now + GRANT_TTL));
        }
    }
}

fn asked(headers: &HeaderMap, path: &str) -> Asked {
    // Each value with its length: no two sets of values read alike.
    let mut hasher = Algorithm::Sha256.hasher();
    for value in headers.get_all(header::AUTHORIZATION) {
        hasher.update(&(value.len() as u64).to_le_bytes());
        hasher.update(value.as_bytes());
    }
    Asked { credential: hasher.finish(), path: path.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::body;

    fn caller(credential: Option<&str>) -> HeaderMap {
        let value = credential.map(|text| HeaderValue::from_str(text).expect("a value"));
        value.into_iter().map(|value| (header::AUTHORIZATION, value)).collect()
    }

    fn grant() -> Grant {
        Grant { digest: Digest::of(Algorithm::Sha256, b"x"), size: 1, media_type: None }
    }

    #[test]
    fn a_yes_counts_for_one_caller_one_path_and_a_short_time() {
        let (authority, now) = (Authority::default(), host::now());
        let (ann, bob) = (caller(Some("Bearer ann")), caller(Some("Bearer bob")));
        authority.remember(&ann, "/v2/a/blobs/x", grant(), now);
        let known = |of: &HeaderMap, path| authority.remembered(of, path, now);
        assert_eq!(known(&ann, "/v2/a/blobs/x"), Some(grant()));
        assert_eq!(known(&bob, "/v2/a/blobs/x"), None);
        assert_eq!(known(&caller(None), "/v2/a/blobs/x"), None);
        assert_eq!(known(&ann, "/v2/b/blobs/x"), None, "another repository");
        let later = authority.remembered(&ann, "/v2/a/blobs/x", now + GRANT_TTL);
        assert_eq!(later, None, "too long ago");
    }

    #[test]
    fn no_credential_is_kept_in_the_clear() {
        let authority = Authority::default();
        authority.remember(&caller(Some("Basic c2VjcmV0")), "/v2/a/blobs/x", grant(), host::now());
        assert!(!format!("{authority:?}").contains("c2VjcmV0"));
    }

    #[test]
    fn only_a_full_answer_is_a_yes() {
        let answer = |status: u16, digest: Option<&str>, length: Option<&str>| {
            let mut answer = Response::builder().status(status);
            for (name, value) in [(CONTENT_DIGEST, digest), ("content-length", length)] {
                if let Some(value) = value {
                    answer = answer.header(name, value);
                }
            }
            Grant::of(&answer.body(body::empty()).expect("an answer"))
        };
        let digest = grant().digest.to_string();
        assert_eq!(answer(200, Some(&digest), Some("1")), Some(grant()));
        for no in [
            answer(401, Some(&digest), Some("1")),
            answer(206, Some(&digest), Some("1")),
            answer(200, None, Some("1")),
            answer(200, Some(&digest), None),
            answer(200, Some("sha256:x"), Some("1")),
        ] {
            assert_eq!(no, None);
        }
    }
}
