//! Blobs over HTTP: `GET`, `HEAD`, `DELETE` of `/v2/<name>/blobs/<digest>` (end-2, end-10).

use atoll_core::{
    Digest, RepoName,
    etag::{self, EntityTag, EntityTags},
    range::{self, ByteRange, Resolution},
};
use axum::body::Body;
use http::{Response, StatusCode, header};
use serde_json::json;

use super::{
    api::{Answer, Api, Ask},
    body::BlobBody,
    headers::{self, content},
    multipart,
};
use crate::registry::{ErrorCode, FoundBlob, RegistryError, Told};

impl Api {
    pub(super) async fn head_blob(&self, repo: &RepoName, digest: &Digest, ask: &Ask) -> Answer {
        let Told { what: size, is_stale } = self.registry.stat_blob(repo, digest).await?;
        let mut answer = unchanged(digest, ask).unwrap_or_else(|| {
            let mut answer = blob_content(StatusCode::OK, digest);
            answer.headers_mut().insert(header::CONTENT_LENGTH, size.into());
            answer
        });
        warn_if_stale(&mut answer, is_stale);
        Ok(answer)
    }

    pub(super) async fn get_blob(&self, repo: &RepoName, digest: &Digest, ask: &Ask) -> Answer {
        let Told { what: blob, is_stale } = self.registry.open_blob(repo, digest).await?;
        let mut answer = self.blob_asked(digest, blob, ask).await?;
        warn_if_stale(&mut answer, is_stale);
        Ok(answer)
    }

    async fn blob_asked(&self, digest: &Digest, blob: FoundBlob, ask: &Ask) -> Answer {
        if let Some(unchanged) = unchanged(digest, ask) {
            return Ok(unchanged);
        }
        let size = blob.size();
        match requested(digest, ask, size) {
            Resolution::Full => {
                let mut answer = blob_content(StatusCode::OK, digest);
                answer.headers_mut().insert(header::CONTENT_LENGTH, size.into());
                *answer.body_mut() = part_body(&blob, 0, size).await?;
                Ok(answer)
            }
            Resolution::Single(range) => {
                let mut answer = blob_content(StatusCode::PARTIAL_CONTENT, digest);
                let headers = answer.headers_mut();
                let content_range = headers::ascii(range.content_range(size));
                headers.insert(header::CONTENT_RANGE, content_range);
                headers.insert(header::CONTENT_LENGTH, range.len().into());
                *answer.body_mut() = part_body(&blob, range.start(), range.end() + 1).await?;
                Ok(answer)
            }
            Resolution::Multi(ranges) => self.get_ranges(digest, blob, ranges).await,
            Resolution::Unsatisfiable => Err(ErrorCode::RangeInvalid
                .error(format_args!("none of the asked range lies within the {size} bytes"))
                .with_detail(json!({"size": size}))),
        }
    }

    async fn get_ranges(&self, digest: &Digest, blob: FoundBlob, ranges: Vec<ByteRange>) -> Answer {
        let mut boundary = [0; 16];
        self.io.entropy.fill(&mut boundary);
        let boundary = range::Boundary::from_bytes(boundary);
        let parts = range::Multipart::new(boundary, OCTET_STREAM, blob.size(), ranges);
        let mut answer = content(StatusCode::PARTIAL_CONTENT, digest);
        let headers = answer.headers_mut();
        headers.insert(header::CONTENT_TYPE, headers::ascii(parts.content_type()));
        headers.insert(header::CONTENT_LENGTH, parts.content_length().into());
        *answer.body_mut() = multipart::body(blob, parts);
        Ok(answer)
    }

    pub(super) async fn delete_blob(&self, repo: &RepoName, digest: &Digest) -> Answer {
        self.registry.delete_blob(repo, digest).await?;
        Ok(accepted())
    }
}

fn warn_if_stale(answer: &mut Response<Body>, is_stale: bool) {
    if is_stale {
        answer.headers_mut().insert(header::WARNING, headers::STALE_CONTENT);
    }
}

const OCTET_STREAM: &str = "application/octet-stream";

fn blob_content(status: StatusCode, digest: &Digest) -> Response<Body> {
    let mut answer = content(status, digest);
    answer.headers_mut().insert(header::CONTENT_TYPE, headers::OCTET_STREAM);
    answer.headers_mut().insert(header::ACCEPT_RANGES, headers::BYTES);
    answer
}

pub(super) fn accepted() -> Response<Body> {
    Response::builder()
        .status(StatusCode::ACCEPTED)
        .header(header::CONTENT_LENGTH, 0)
        .body(Body::empty())
        .expect("a number is a valid header")
}

/// `If-None-Match`: 304 when the client has the content already. A header that cannot be read is
/// as if it were not there.
pub(super) fn unchanged(digest: &Digest, ask: &Ask) -> Option<Response<Body>> {
    if !ask.parts.headers.contains_key(header::IF_NONE_MATCH) {
        return None;
    }
    let lines = ask.header_lines(header::IF_NONE_MATCH);
    let asked = EntityTags::parse(lines).ok().flatten()?;
    if asked.if_none_match(Some(&EntityTag::of(digest))) {
        return None;
    }
    Some(content(StatusCode::NOT_MODIFIED, digest))
}

/// The bytes that are asked for. Several `Range` lines count as none.
fn requested(digest: &Digest, ask: &Ask, size: u64) -> Resolution {
    let mut lines = ask.parts.headers.get_all(header::RANGE).into_iter();
    let (Some(line), None) = (lines.next(), lines.next()) else { return Resolution::Full };
    let current = || EntityTag::of(digest);
    let holds = |line: &str| etag::if_range(line, &current());
    if ask.header(header::IF_RANGE).is_some_and(|line| !holds(line)) {
        return Resolution::Full;
    }
    line.to_str().map_or(Resolution::Full, |line| range::parse(line).resolve(size))
}

/// The bytes `[start, end)` of a blob as a body.
async fn part_body(blob: &FoundBlob, start: u64, end: u64) -> Result<Body, RegistryError> {
    match blob {
        FoundBlob::Whole(bytes) => Ok(Body::from(bytes.slice(start as usize..end as usize))),
        blob => Ok(Body::new(BlobBody::begin(blob.stream(start, end)).await?)),
    }
}
