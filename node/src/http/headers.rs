//! Header values that answers share.

use atoll_core::Digest;
use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, header};

/// The digest of what is answered.
pub const DOCKER_CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
/// Says that this is a registry of API version 2; old docker insists on it.
pub const DOCKER_API_VERSION: HeaderName =
    HeaderName::from_static("docker-distribution-api-version");
/// The upload session; docker reads it.
pub const DOCKER_UPLOAD_UUID: HeaderName = HeaderName::from_static("docker-upload-uuid");
/// The subject of a manifest just pushed.
pub const OCI_SUBJECT: HeaderName = HeaderName::from_static("oci-subject");
/// A tag that a manifest was pushed with.
pub const OCI_TAG: HeaderName = HeaderName::from_static("oci-tag");
/// The filters that a referrers listing obeyed.
pub const OCI_FILTERS_APPLIED: HeaderName = HeaderName::from_static("oci-filters-applied");
/// The number of the view that the answering node has: a client whose own is lower asks for the view.
pub const ATOLL_EPOCH: HeaderName = HeaderName::from_static("atoll-epoch");
/// Ties an answer to the log.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Content that is named by its digest never changes.
pub const IMMUTABLE: HeaderValue = HeaderValue::from_static("max-age=31536000");
/// JSON, as the spec wants error bodies and listings.
pub const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// The media type of blobs: their own is written in the manifest, not here.
pub const OCTET_STREAM: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// `Docker-Content-Digest` of a digest.
pub fn digest_value(digest: &Digest) -> HeaderValue {
    ascii(digest.to_string())
}

/// A header value out of text that this node made and that is plain ASCII.
pub fn ascii(text: String) -> HeaderValue {
    from_bytes(Bytes::from(text))
}

fn from_bytes(text: Bytes) -> HeaderValue {
    HeaderValue::from_maybe_shared(text)
        .expect("digests, names, tags and numbers are printable ASCII")
}

/// How many headers an answer has at most, so that its map is made once.
const HEADERS: usize = 16;

/// Starts an answer about content that is named by `digest`. Its entity tag is the digest, a strong
/// validator.
pub fn content(status: http::StatusCode, digest: &Digest) -> Response<Body> {
    let quoted = Bytes::from(format!("\"{digest}\""));
    let digest = quoted.slice(1..quoted.len() - 1);
    let mut headers = HeaderMap::with_capacity(HEADERS);
    headers.insert(DOCKER_CONTENT_DIGEST, from_bytes(digest));
    headers.insert(header::ETAG, from_bytes(quoted));
    headers.insert(header::CACHE_CONTROL, IMMUTABLE);
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = status;
    *answer.headers_mut() = headers;
    answer
}

/// The unit of ranges.
pub const BYTES: HeaderValue = HeaderValue::from_static("bytes");

/// Content that is named by a tag may change at any time.
pub const NO_CACHE: HeaderValue = HeaderValue::from_static("no-cache");

/// A tag that was answered without asking the quorum (RFC 7234, section 5.5; `registry.stale_pulls`).
pub const STALE_TAG: HeaderValue =
    HeaderValue::from_static("299 - \"tag may be out of date: the cluster has no quorum\"");

/// Content that was there when this node was in touch with its cluster last (RFC 7234, section 5.5).
pub const STALE_CONTENT: HeaderValue = HeaderValue::from_static(
    "299 - \"content may be deleted: this node has lost touch with its cluster\"",
);
