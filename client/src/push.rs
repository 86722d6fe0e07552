//! Pushing a blob: to its master, and again until it is acknowledged.
//!
//! A small blob goes in one request. A large one opens an upload and sends all of it in one `PUT`,
//! whose digest the master knows before the first byte: so the copies are made while it comes. When
//! the body breaks, what the upload has received is asked for and the rest is sent; when the upload
//! is gone with its node, it begins again at another. An unknown end is settled by asking whether
//! the blob is there.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::Poll,
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderValue, Method, StatusCode, header};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    time::sleep,
};

use crate::{
    Digest, RepoName,
    auth::Scope,
    clock::now,
    endpoint::Endpoint,
    engine::Engine,
    error::{LocalFailure, PushError, RequestError},
    exchange::{Sending, resolve},
    net::{answer::Answer, body::Payload},
    perform::{Ask, AskError},
    placement::Aim,
    pull::Progress,
    source::{BlobSource, Opened},
};

/// Blobs up to here go in one request. Nodes gather them in memory too.
const AT_ONCE_BYTES_MAX: u64 = 256 << 10;

/// How a push ended well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// The registry has stored it.
    Stored,
    /// The repository had it before.
    Existed,
}

/// One push.
pub(crate) struct PushJob {
    pub(crate) repo: RepoName,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    pub(crate) source: Arc<dyn BlobSource>,
}

/// Why one try did not store the blob.
enum Broken {
    /// A new upload may.
    Again(RequestError),
    /// Nothing will.
    Final(PushError),
}

impl From<PushError> for Broken {
    fn from(error: PushError) -> Self {
        match error {
            PushError::Request(error @ RequestError::Unavailable(_)) => Broken::Again(error),
            error => Broken::Final(error),
        }
    }
}

/// An open upload.
struct Upload {
    node: Endpoint,
    path: String,
}

impl PushJob {
    fn ask(&self, sending: Sending) -> Ask {
        let what = format!("pushing `{}@{}`", self.repo, self.digest);
        Ask::new(what, Aim::Write(self.digest), Scope::push(&self.repo), sending)
    }

    fn uploads(&self) -> String {
        format!("/v2/{}/blobs/uploads/", self.repo)
    }
}

impl Engine {
    /// Is the blob in the repository? Its length if so.
    pub(crate) async fn stat_blob(
        self: &Arc<Self>,
        repo: &RepoName,
        digest: &Digest,
        scope: Scope,
    ) -> Result<Option<u64>, RequestError> {
        let sending = Sending::of(Method::HEAD, format!("/v2/{repo}/blobs/{digest}"));
        let what = format!("looking for `{repo}@{digest}`");
        match self.perform(&Ask::new(what, Aim::Read(*digest), scope, sending)).await {
            Ok(answer) => Ok(Some(answer.content_length().unwrap_or(0))),
            Err(AskError::Request(RequestError::NotFound(_))) => Ok(None),
            Err(AskError::Request(error)) => Err(error),
            Err(AskError::Source(_)) => Ok(None),
        }
    }

    /// Pushes a blob, unless it is there.
    pub(crate) async fn send_blob(self: &Arc<Self>, job: &PushJob) -> Result<Pushed, PushError> {
        let started = now();
        for round in 0_u32.. {
            // Also after a push whose end is unknown.
            let scope = Scope::push(&job.repo);
            if self.stat_blob(&job.repo, &job.digest, scope).await?.is_some() {
                return Ok(if round == 0 { Pushed::Existed } else { Pushed::Stored });
            }
            let sent = if job.size <= AT_ONCE_BYTES_MAX {
                self.send_at_once(job).await
            } else {
                self.send_in_upload(job).await
            };
            match sent {
                Ok(()) => {
                    self.wires.counters.bytes_sent.add(job.size);
                    return Ok(Pushed::Stored);
                }
                Err(Broken::Again(_)) if started.elapsed() < self.limits().patience => {
                    self.wires.counters.retries.add(1);
                    sleep(self.backoff(round)).await;
                }
                Err(Broken::Again(error)) => return Err(error.into()),
                Err(Broken::Final(error)) => return Err(error),
            }
        }
        unreachable!("the loop ends by returning")
    }

    async fn send_at_once(self: &Arc<Self>, job: &PushJob) -> Result<(), Broken> {
        let bytes = read_all(job).await.map_err(unreadable)?;
        let mut sending =
            Sending::of(Method::POST, format!("{}?digest={}", job.uploads(), job.digest))
                .header(header::CONTENT_TYPE, OCTET_STREAM);
        sending.payload = Payload::Whole(bytes.clone());
        let answer = self.perform(&job.ask(sending)).await.map_err(push_error)?;
        if answer.status == StatusCode::CREATED {
            return Ok(());
        }
        // A registry that takes no blob in one request has opened an upload instead.
        let upload = opened(job, answer)?;
        let payload = Payload::Source { source: Arc::new(bytes), offset: 0, size: job.size };
        self.put(job, &upload, payload, 0).await
    }

    async fn send_in_upload(self: &Arc<Self>, job: &PushJob) -> Result<(), Broken> {
        let answer = self.perform(&job.ask(Sending::of(Method::POST, job.uploads()))).await;
        let upload = opened(job, answer.map_err(push_error)?)?;
        let mut offset = 0;
        loop {
            let source = job.source.clone();
            let payload = Payload::Source { source, offset, size: job.size };
            let failed = match self.put(job, &upload, payload, offset).await {
                Err(Broken::Again(failed)) => failed,
                done => return done,
            };
            // Only bytes that it did not have before are worth another try.
            match self.received(job, &upload).await {
                Some(received) if received > offset && received < job.size => {
                    self.wires.counters.resumes.add(1);
                    offset = received;
                }
                _ => return Err(Broken::Again(failed)),
            }
        }
    }

    /// Sends what is left and closes the upload.
    async fn put(
        self: &Arc<Self>,
        job: &PushJob,
        upload: &Upload,
        payload: Payload,
        offset: u64,
    ) -> Result<(), Broken> {
        let joint = if upload.path.contains('?') { '&' } else { '?' };
        let path = format!("{}{joint}digest={}", upload.path, job.digest);
        let mut sending = Sending::of(Method::PUT, path).header(header::CONTENT_TYPE, OCTET_STREAM);
        if offset > 0 {
            let range = format!("{offset}-{}", job.size - 1);
            let range = HeaderValue::try_from(range).expect("digits and a dash");
            sending = sending.header(header::CONTENT_RANGE, range);
        }
        sending.payload = payload;
        let mut ask = job.ask(sending);
        ask.only = Some(vec![upload.node.clone()]);
        let answer = self.perform(&ask).await.map_err(|error| match push_error(error) {
            // The upload is gone with its node; the repository is there, or none had been opened.
            PushError::Request(error @ RequestError::NotFound(_)) => Broken::Again(error),
            error => error.into(),
        })?;
        if answer.status == StatusCode::CREATED {
            return Ok(());
        }
        let received = format!("status {}", answer.status);
        let strange = Engine::strange(&ask.what, &answer.endpoint, received, "status 201");
        Err(Broken::Final(strange.into()))
    }

    /// How many bytes an upload has received, if it is still there.
    async fn received(self: &Arc<Self>, job: &PushJob, upload: &Upload) -> Option<u64> {
        let mut ask = job.ask(Sending::get(upload.path.clone()));
        let mut targets = vec![upload.node.clone()];
        targets.extend(self.targets(&ask.aim).await.into_iter().filter(|one| *one != upload.node));
        ask.only = Some(targets);
        let answer = self.perform(&ask).await.ok()?;
        let last: u64 = answer.header(&header::RANGE)?.split_once('-')?.1.parse().ok()?;
        // `0-0` is nothing, or one byte: either way there is nothing to save.
        if last == 0 { None } else { Some(last + 1) }
    }
}

const OCTET_STREAM: HeaderValue = HeaderValue::from_static("application/octet-stream");

fn opened(job: &PushJob, answer: Answer) -> Result<Upload, PushError> {
    let location =
        answer.header(&header::LOCATION).filter(|_| answer.status == StatusCode::ACCEPTED);
    let place = location.and_then(|location| resolve(location, &answer.endpoint));
    if let Some((node, path)) = place {
        return Ok(Upload { node, path });
    }
    let received = format!("status {} with Location {location:?}", answer.status);
    let what = format!("pushing `{}@{}`", job.repo, job.digest);
    Err(Engine::strange(&what, &answer.endpoint, received, "202 with a Location").into())
}

async fn read_all(job: &PushJob) -> io::Result<Bytes> {
    let mut content = Vec::new();
    // One byte more than expected shows a source that is too long.
    job.source.open(0).await?.take(job.size + 1).read_to_end(&mut content).await?;
    if content.len() as u64 != job.size {
        let message = format!("it has {} bytes, {} were announced", content.len(), job.size);
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    Ok(content.into())
}

fn unreadable(cause: io::Error) -> PushError {
    PushError::Source(Box::new(LocalFailure { doing: "reading what is pushed".to_owned(), cause }))
}

pub(crate) fn push_error(error: AskError) -> PushError {
    match error {
        AskError::Request(error) => PushError::Request(error),
        AskError::Source(cause) => unreadable(cause),
    }
}

/// A source that tells how much of it was read.
pub(crate) struct Watched {
    pub(crate) inner: Arc<dyn BlobSource>,
    pub(crate) progress: Progress,
}

impl BlobSource for Watched {
    fn open(&self, offset: u64) -> BoxFuture<'_, io::Result<Opened>> {
        Box::pin(async move {
            let inner = self.inner.open(offset).await?;
            (self.progress)(offset);
            let reader = WatchedReader {
                inner,
                so_far: AtomicU64::new(offset),
                progress: self.progress.clone(),
            };
            Ok(Box::pin(reader) as Opened)
        })
    }
}

struct WatchedReader {
    inner: Opened,
    so_far: AtomicU64,
    progress: Progress,
}

impl AsyncRead for WatchedReader {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
        buffer: &mut tokio::io::ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = self.inner.as_mut().poll_read(context, buffer);
        let read = (buffer.filled().len() - before) as u64;
        if read > 0 {
            (self.progress)(self.so_far.fetch_add(read, Ordering::Relaxed) + read);
        }
        polled
    }
}
