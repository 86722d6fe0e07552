//! Pushing: blobs in every way the specification has, mounts, manifests.

use std::time::Duration;

use atoll_core::Digest;
use bytes::Bytes;
use http::{
    Method,
    header::{CONTENT_RANGE, CONTENT_TYPE, IF_MATCH, IF_NONE_MATCH},
};

use super::{
    content::{Blob, MANIFEST_TYPE},
    user::{Answer, User},
};
use crate::{
    client::{Body, Reply, Unanswered, pieces, whole},
    history::{Key, Manifest},
    linear::{Guard, Op, Outcome, Seen},
};

/// How a blob is pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upload {
    /// One `POST` with everything.
    Single,
    /// `POST`, then `PUT` with everything.
    PostPut,
    /// As docker: `POST`, a streamed `PATCH` of unknown length, an empty `PUT`.
    Streamed,
    /// `POST`, numbered chunks of this many bytes, an empty `PUT`.
    Chunked(usize),
    /// `POST`, then a streamed `PUT` of unknown length.
    StreamedPut,
}

/// Length and distance of the pieces of a streamed body.
const PIECE_BYTES: usize = 24 << 10;
const PIECE_PAUSE: Duration = Duration::from_millis(2);

/// The answers that a push may get when its session did not survive, or is used by its own
/// predecessor, or when the disk is full.
const LOST_SESSION: [u16; 3] = [404, 416, 429];

impl User {
    /// Pushes a blob.
    pub async fn push_blob(&mut self, repo: &str, blob: &Blob, how: Upload) -> Answer {
        let called = {
            let mut book = self.book.lock();
            book.contents.insert(blob.digest, blob.bytes.clone());
            book.tick()
        };
        let reply = self.upload(repo, blob, how).await;
        let what =
            format!("push {repo} {} {} bytes {how:?}", short(&blob.digest), blob.bytes.len());
        let answer = self.sort(what, &reply, &LOST_SESSION);
        if let (Answer::Done, Ok(reply)) = (answer, &reply)
            && reply.status != 201
        {
            // A step before the last: the blob was never asked to be complete.
            return Answer::Unknown;
        }
        let op = Op::Set { guard: Guard::Any, to: Some(blob.digest) };
        self.record_change(Key::blob(repo, &blob.digest), called, op, answer);
        answer
    }

    /// The answer to the last step that was taken.
    async fn upload(&mut self, repo: &str, blob: &Blob, how: Upload) -> Result<Reply, Unanswered> {
        let begin = format!("/v2/{repo}/blobs/uploads/");
        if how == Upload::Single {
            let path = format!("{begin}?digest={}", blob.digest);
            return self.ask(Method::POST, &path, &[], whole(blob.bytes.clone())).await;
        }
        let begun = self.ask(Method::POST, &begin, &[], whole(Bytes::new())).await?;
        let Some(location) = begun.header("location").map(str::to_owned) else { return Ok(begun) };
        let end = format!("{location}?digest={}", blob.digest);
        let last = match how {
            Upload::Single | Upload::PostPut => whole(blob.bytes.clone()),
            Upload::StreamedPut => streamed(&blob.bytes),
            Upload::Streamed => {
                let patched =
                    self.ask(Method::PATCH, &location, &[], streamed(&blob.bytes)).await?;
                if !patched.status.is_success() {
                    return Ok(patched);
                }
                whole(Bytes::new())
            }
            Upload::Chunked(len) => {
                for start in (0..blob.bytes.len()).step_by(len.max(1)) {
                    let chunk = blob.bytes.slice(start..(start + len).min(blob.bytes.len()));
                    let patched = self.send_chunk(&location, start as u64, chunk).await?;
                    if !patched.status.is_success() {
                        return Ok(patched);
                    }
                }
                whole(Bytes::new())
            }
        };
        self.ask(Method::PUT, &end, &[], last).await
    }

    /// Sends a numbered chunk.
    pub(super) async fn send_chunk(
        &mut self,
        location: &str,
        start: u64,
        chunk: Bytes,
    ) -> Result<Reply, Unanswered> {
        let range = format!("{start}-{}", start + chunk.len() as u64 - 1);
        self.ask(Method::PATCH, location, &[(CONTENT_RANGE, range)], whole(chunk)).await
    }

    /// Mounts a blob of another repository. That it may not be had is no error.
    pub async fn mount(&mut self, repo: &str, from: &str, digest: &Digest) -> Answer {
        let called = self.book.lock().tick();
        let path = format!("/v2/{repo}/blobs/uploads/?mount={digest}&from={from}");
        let reply = self.ask(Method::POST, &path, &[], whole(Bytes::new())).await;
        let answer = self.sort(format!("mount {repo} {} from {from}", short(digest)), &reply, &[]);
        match &reply {
            Ok(reply) if reply.status == 202 => {
                // The registry asks for the bytes instead; nobody sends them.
                if let Some(location) = reply.header("location").map(str::to_owned) {
                    let _ = self.ask(Method::DELETE, &location, &[], whole(Bytes::new())).await;
                }
                Answer::Refused(reply.status)
            }
            _ => {
                let op = Op::Set { guard: Guard::Any, to: Some(*digest) };
                self.record_change(Key::blob(repo, digest), called, op, answer);
                answer
            }
        }
    }

    /// Pushes a manifest by tag (or by digest when `tags` is empty); further tags come with it.
    pub async fn push_manifest(
        &mut self,
        repo: &str,
        manifest: &Manifest,
        tags: &[&str],
        guard: Guard<Digest>,
    ) -> Answer {
        let called = {
            let mut book = self.book.lock();
            book.contents.insert(manifest.digest, manifest.bytes.clone());
            book.manifests.insert(manifest.digest, manifest.clone());
            book.tick()
        };
        let digest = manifest.digest;
        let reference = tags.first().map_or(digest.to_string(), |tag| (*tag).to_owned());
        let mut path = format!("/v2/{repo}/manifests/{reference}");
        for (at, tag) in tags.iter().enumerate().skip(1) {
            path.push_str(if at == 1 { "?tag=" } else { "&tag=" });
            path.push_str(tag);
        }
        let mut fields = vec![(CONTENT_TYPE, MANIFEST_TYPE.to_owned())];
        match guard {
            Guard::Any => {}
            Guard::Is(digest) => fields.push((IF_MATCH, format!("\"{digest}\""))),
            Guard::Present => fields.push((IF_MATCH, "*".to_owned())),
            Guard::Absent => fields.push((IF_NONE_MATCH, "*".to_owned())),
        }
        let reply = self.ask(Method::PUT, &path, &fields, body_of(manifest)).await;
        let what = format!("push {repo} manifest {} {tags:?} {}", short(&digest), told(&guard));
        let answer = self.sort(what, &reply, &[400, 404, 412]);
        if let (Answer::Refused(status), Ok(reply)) = (answer, &reply)
            && status != 412
        {
            self.missing_blobs(repo, manifest, called, reply);
            return answer;
        }
        for tag in tags {
            let op = Op::Set { guard, to: Some(digest) };
            // With several tags nobody is told which one refused.
            if tags.len() == 1 || !matches!(answer, Answer::Refused(_)) {
                self.record_change(Key::tag(repo, tag), called, op, answer);
            }
        }
        if !matches!(answer, Answer::Refused(_)) {
            let op = Op::Set { guard: Guard::Any, to: Some(digest) };
            self.record_change(Key::manifest(repo, &digest), called, op, answer);
        }
        answer
    }

    /// A push may only be refused for blobs that are not there.
    fn missing_blobs(&mut self, repo: &str, manifest: &Manifest, called: u64, reply: &Reply) {
        let text = String::from_utf8_lossy(&reply.body).into_owned();
        let named: Vec<_> =
            manifest.blobs.iter().filter(|blob| text.contains(&blob.to_string())).collect();
        let mut book = self.book.lock();
        if named.is_empty() {
            book.violation(format!("push of a good manifest refused: {} {text}", reply.status));
        }
        for blob in named {
            book.record(Key::blob(repo, blob), called, Op::See(Seen::Nothing), Outcome::Done);
        }
    }

    /// Records a change by its answer; a refusal counts only where there was a guard to refuse it.
    pub(super) fn record_change(&mut self, key: Key, called: u64, op: Op<Digest>, answer: Answer) {
        let outcome = match answer {
            Answer::Done => Outcome::Done,
            Answer::Unknown | Answer::Stale => Outcome::Unknown,
            Answer::Refused(_) if matches!(op, Op::Set { guard: Guard::Any, .. }) => return,
            Answer::Refused(_) => Outcome::Refused,
        };
        self.book.lock().record(key, called, op, outcome);
    }
}

fn body_of(manifest: &Manifest) -> Body {
    whole(manifest.bytes.clone())
}

fn streamed(bytes: &Bytes) -> Body {
    pieces(bytes, PIECE_BYTES, PIECE_PAUSE)
}

fn told(guard: &Guard<Digest>) -> String {
    match guard {
        Guard::Any => String::new(),
        Guard::Is(digest) => format!("if {}", short(digest)),
        Guard::Present => "if present".to_owned(),
        Guard::Absent => "if absent".to_owned(),
    }
}

/// As much of a digest as a reader of a trace needs.
pub fn short(digest: &Digest) -> String {
    digest.hex()[..8].to_owned()
}
