//! Uploads over HTTP: `POST`, `PATCH`, `PUT`, `GET`, `DELETE` of `/v2/<name>/blobs/uploads/…`
//! (distribution-spec, end-4 to end-6, end-11, end-13, end-14).
//!
//! Locations are relative and name this registry only: a client never learns a peer's address.

use atoll_core::{
    Digest, RepoName,
    content_range::{self, ContentRange, ContentRangeError},
    route::UploadId,
};
use axum::body::Body;
use http::{Response, StatusCode, header};

use super::{
    api::{Answer, Api, Ask},
    body::{next_data, read_whole},
    headers::{self, DOCKER_CONTENT_DIGEST, DOCKER_UPLOAD_UUID},
};
use crate::{
    registry::{BeginUpload, Begun, ErrorCode, RegistryError, UploadPosition},
    replicate::Early,
    store::UploadWriter,
};

/// Bodies up to this are gathered in memory and stored in one go. One request holds at most this
/// much, which 1,000 pushes at once may do.
const GATHER_BYTES_MAX: u64 = 256 << 10;

/// The parameters of an upload request.
#[derive(Debug, Default)]
struct Query {
    digest: Option<Digest>,
    begin: BeginUpload,
}

impl Query {
    fn parse(query: Option<&str>) -> Result<Query, RegistryError> {
        let invalid_digest = |error| ErrorCode::DigestInvalid.error(error);
        let mut parsed = Query::default();
        for (key, value) in super::listings::pairs(query) {
            match key.as_ref() {
                "digest" => parsed.digest = Some(value.parse().map_err(invalid_digest)?),
                "mount" => parsed.begin.mount = Some(value.parse().map_err(invalid_digest)?),
                "from" => {
                    let from =
                        value.parse().map_err(|error| ErrorCode::NameInvalid.error(error))?;
                    parsed.begin.from = Some(from);
                }
                "digest-algorithm" => {
                    parsed.begin.algorithm = Some(value.parse().map_err(invalid_digest)?);
                }
                _ => {}
            }
        }
        Ok(parsed)
    }

    fn digest(&self) -> Result<Digest, RegistryError> {
        let missing = "the query parameter `digest` is missing: `?digest=sha256:…` ends an upload";
        self.digest.ok_or_else(|| ErrorCode::DigestInvalid.error(missing))
    }
}

fn upload_location(repo: &RepoName, id: UploadId) -> String {
    format!("/v2/{repo}/blobs/uploads/{id}")
}

/// The `Range` of an upload's answers: the last byte received, inclusive. docker cannot read an
/// empty range, so nothing received is `0-0` too.
pub(super) fn received_range(offset: u64) -> String {
    format!("0-{}", offset.saturating_sub(1))
}

fn session_answer(
    status: StatusCode,
    repo: &RepoName,
    id: UploadId,
    offset: u64,
) -> Response<Body> {
    Response::builder()
        .status(status)
        .header(header::LOCATION, headers::ascii(upload_location(repo, id)))
        .header(header::RANGE, headers::ascii(received_range(offset)))
        .header(DOCKER_UPLOAD_UUID, headers::ascii(id.to_string()))
        .header(header::CONTENT_LENGTH, 0)
        .body(Body::empty())
        .expect("every header is made here, of printable ASCII")
}

fn created(repo: &RepoName, digest: &Digest) -> Response<Body> {
    Response::builder()
        .status(StatusCode::CREATED)
        .header(header::LOCATION, headers::ascii(format!("/v2/{repo}/blobs/{digest}")))
        .header(DOCKER_CONTENT_DIGEST, headers::digest_value(digest))
        .header(header::CONTENT_LENGTH, 0)
        .body(Body::empty())
        .expect("every header is made here, of printable ASCII")
}

fn position(repo: &RepoName, id: UploadId, writer: &UploadWriter) -> UploadPosition {
    UploadPosition { location: upload_location(repo, id), offset: writer.offset() }
}

/// Should this body be gathered and stored in one go?
fn is_small(ask: &Ask) -> bool {
    ask.content_length.is_some_and(|length| length <= GATHER_BYTES_MAX)
}

/// The chunk that the request says it carries, if it says so and if the upload may take it now.
fn chunk_range(
    ask: &Ask,
    position: &UploadPosition,
) -> Result<Option<ContentRange>, RegistryError> {
    let mut values = ask.parts.headers.get_all(header::CONTENT_RANGE).into_iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        let error =
            ErrorCode::SizeInvalid.error("received several Content-Range headers; send one");
        return Err(error.with_upload(position.clone()));
    }
    let text = value.to_str().unwrap_or("?");
    let range = content_range::parse(text)
        .map_err(|error| ErrorCode::SizeInvalid.error(error).with_upload(position.clone()))?;
    match range.check(position.offset, ask.content_length) {
        Ok(()) => Ok(Some(range)),
        Err(error @ ContentRangeError::OutOfOrder(_)) => Err(ErrorCode::BlobUploadInvalid
            .error(error)
            .with_status(StatusCode::RANGE_NOT_SATISFIABLE)
            .with_upload(position.clone())),
        Err(error @ ContentRangeError::LengthMismatch(_)) => {
            Err(ErrorCode::SizeInvalid.error(error).with_upload(position.clone()))
        }
    }
}

/// Moves the body into the session; with a range, exactly as many bytes as it says.
async fn receive(
    writer: &mut UploadWriter,
    body: &mut Body,
    range: Option<ContentRange>,
    mut early: Option<&mut Early>,
) -> Result<(), RegistryError> {
    let mut left = range.map(ContentRange::len);
    while let Some(data) = next_data(body).await? {
        if let Some(left) = &mut left {
            let size = data.len() as u64;
            *left = left.checked_sub(size).ok_or_else(|| wrong_length("more"))?;
        }
        match &mut early {
            Some(early) => {
                writer.write(data.clone()).await?;
                early.data(data).await;
            }
            None => writer.write(data).await?,
        }
    }
    match left {
        None | Some(0) => Ok(()),
        Some(_) => Err(wrong_length("fewer")),
    }
}

fn wrong_length(how: &str) -> RegistryError {
    let message = format_args!("the body has {how} bytes than its Content-Range says");
    ErrorCode::SizeInvalid.error(message)
}

impl Api {
    /// Refuses a body that says it is too long before any of it is read.
    fn refuse_too_large(&self, ask: &Ask, offset: u64) -> Result<(), RegistryError> {
        let bytes_max = self.registry.tiers().store().settings().blob_bytes_max;
        let declared = ask.content_length.unwrap_or(0).saturating_add(offset);
        if declared <= bytes_max {
            return Ok(());
        }
        let message =
            format_args!("the blob has {declared} bytes, at most {bytes_max} are allowed");
        Err(ErrorCode::SizeInvalid.error(message).with_status(StatusCode::PAYLOAD_TOO_LARGE))
    }

    pub(super) async fn begin_upload(&self, repo: &RepoName, ask: &Ask, body: &mut Body) -> Answer {
        let query = Query::parse(ask.parts.uri.query())?;
        if let (Some(digest), None) = (query.digest, query.begin.mount) {
            return self.upload_at_once(repo, &digest, ask, body).await;
        }
        match self.registry.begin_upload(repo, &query.begin).await? {
            Begun::Mounted(digest) => Ok(created(repo, &digest)),
            Begun::Session(id) => Ok(session_answer(StatusCode::ACCEPTED, repo, id, 0)),
        }
    }

    /// `POST …?digest=`: the whole blob in one request.
    async fn upload_at_once(
        &self,
        repo: &RepoName,
        digest: &Digest,
        ask: &Ask,
        body: &mut Body,
    ) -> Answer {
        if is_small(ask) {
            self.put_small(repo, digest, body).await?;
            return Ok(created(repo, digest));
        }
        self.refuse_too_large(ask, 0)?;
        let algorithm = Some(digest.algorithm());
        let begin = BeginUpload { algorithm, ..BeginUpload::default() };
        let Begun::Session(id) = self.registry.begin_upload(repo, &begin).await? else {
            return Err(RegistryError::internal(anyhow::anyhow!("mounted without being asked to")));
        };
        let mut writer = self.registry.upload_writer(repo, id).await?;
        let mut early = self.registry.begin_early(digest, ask.content_length);
        if let Err(error) = receive(&mut writer, body, None, early.as_mut()).await {
            // Nobody was told of this session, so nobody can go on with it.
            drop(writer);
            let _ = self.registry.cancel_upload(repo, id).await;
            return Err(error);
        }
        self.registry.commit_upload(repo, writer, digest, early).await?;
        Ok(created(repo, digest))
    }

    async fn put_small(
        &self,
        repo: &RepoName,
        digest: &Digest,
        body: &mut Body,
    ) -> Result<(), RegistryError> {
        let Some(bytes) = read_whole(body, GATHER_BYTES_MAX as usize).await? else {
            return Err(wrong_length("more"));
        };
        self.registry.put_blob(repo, digest, bytes).await
    }

    pub(super) async fn patch_upload(
        &self,
        repo: &RepoName,
        id: UploadId,
        ask: &Ask,
        body: &mut Body,
    ) -> Answer {
        let mut writer = self.registry.upload_writer(repo, id).await?;
        let range = chunk_range(ask, &position(repo, id, &writer))?;
        self.refuse_too_large(ask, writer.offset())?;
        receive(&mut writer, body, range, None).await?;
        // A client that numbers its chunks means to come back: what it was told is kept.
        let offset = writer.finish(range.is_some()).await?;
        Ok(session_answer(StatusCode::ACCEPTED, repo, id, offset))
    }

    pub(super) async fn put_upload(
        &self,
        repo: &RepoName,
        id: UploadId,
        ask: &Ask,
        body: &mut Body,
    ) -> Answer {
        let query = Query::parse(ask.parts.uri.query())?;
        let mut writer = self.registry.upload_writer(repo, id).await?;
        let position = position(repo, id, &writer);
        let digest = query.digest().map_err(|error| error.with_upload(position.clone()))?;
        let range = chunk_range(ask, &position)?;
        self.refuse_too_large(ask, position.offset)?;
        if position.offset == 0 && is_small(ask) {
            // The session holds no bytes: the blob is stored past it, in one go.
            let stored = self.put_small(repo, &digest, body).await;
            drop(writer);
            let _ = self.registry.cancel_upload(repo, id).await;
            stored?;
        } else {
            // Bytes that came before are not the chain's: it only helps when all are in this body.
            let mut early = match (position.offset, ask.content_length) {
                (0, length) => self.registry.begin_early(&digest, length),
                _ => None,
            };
            receive(&mut writer, body, range, early.as_mut()).await?;
            self.registry.commit_upload(repo, writer, &digest, early).await?;
        }
        Ok(created(repo, &digest))
    }

    pub(super) fn upload_status(&self, repo: &RepoName, id: UploadId) -> Answer {
        let offset = self.registry.upload_offset(repo, id)?;
        Ok(session_answer(StatusCode::NO_CONTENT, repo, id, offset))
    }

    pub(super) async fn cancel_upload(&self, repo: &RepoName, id: UploadId) -> Answer {
        self.registry.cancel_upload(repo, id).await?;
        let answer = Response::builder().status(StatusCode::NO_CONTENT).body(Body::empty());
        Ok(answer.expect("a status alone is always valid"))
    }
}
