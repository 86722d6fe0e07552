//! Uploads that a client means to go on with: chunks that were acknowledged outlast a crash.

use std::time::Duration;

use atoll_core::{Algorithm, Digest};
use bytes::Bytes;
use http::Method;

use super::{
    content::Blob,
    push::short,
    user::{Answer, User},
};
use crate::{
    client::{Reply, whole},
    history::{Key, Resumable},
    linear::{Guard, Op},
};

/// How often a user goes on with an upload before it is left to the end of the run.
const ATTEMPTS: u32 = 4;

/// How long a user waits before each attempt.
const ATTEMPT_PAUSE: Duration = Duration::from_millis(700);

impl User {
    /// Uploads a blob in numbered chunks and remembers how far it came. Tries once.
    pub async fn push_in_chunks(&mut self, repo: &str, blob: &Blob, chunk_len: usize) -> Answer {
        match self.begin_chunks(repo, blob).await {
            Ok(at) => self.finish(at, chunk_len, &[]).await,
            Err(answer) => answer,
        }
    }

    /// As [`User::push_in_chunks`], and asks how far it came and goes on when it is interrupted.
    pub async fn push_in_chunks_patiently(
        &mut self,
        repo: &str,
        blob: &Blob,
        chunk_len: usize,
    ) -> Answer {
        let at = match self.begin_chunks(repo, blob).await {
            Ok(at) => at,
            Err(answer) => return answer,
        };
        let mut answer = self.finish(at, chunk_len, &[]).await;
        for _ in 0..ATTEMPTS {
            if answer != Answer::Unknown || self.book.lock().resumables[at].ending {
                break;
            }
            tokio::time::sleep(ATTEMPT_PAUSE).await;
            let upload = self.book.lock().resumables[at].clone();
            let reply = self.get(upload.location.as_deref().unwrap_or_default()).await;
            self.tell(format!("status of upload {at}"), &reply);
            match reply.map(|reply| (reply.status, offset(&reply, &upload))) {
                Ok((_, Some(offset))) => self.book.lock().resumables[at].position = offset,
                Ok((status, None)) if !status.is_server_error() && upload.acknowledged > 0 => {
                    let text = format!("upload {at}: status {status}, {}", told(&upload));
                    self.book.lock().violation(text);
                    return Answer::Refused(status);
                }
                _ => continue,
            }
            self.book.lock().count("uploads resumed");
            // Its own broken request may still be at it.
            answer = self.finish(at, chunk_len, &[416]).await;
        }
        answer
    }

    /// Opens the session; answers where the book has it.
    async fn begin_chunks(&mut self, repo: &str, blob: &Blob) -> Result<usize, Answer> {
        self.book.lock().contents.insert(blob.digest, blob.bytes.clone());
        let begin = format!("/v2/{repo}/blobs/uploads/");
        let reply = self.ask(Method::POST, &begin, &[], whole(Bytes::new())).await;
        let answer = self.sort(format!("begin {repo} {}", short(&blob.digest)), &reply, &[429]);
        let location = reply.ok().and_then(|reply| reply.header("location").map(str::to_owned));
        let location = location.ok_or(answer)?;
        let mut book = self.book.lock();
        book.resumables.push(Resumable {
            repo: repo.to_owned(),
            location: Some(location),
            content: blob.bytes.clone(),
            acknowledged: 0,
            position: 0,
            sent: 0,
            ending: false,
        });
        Ok(book.resumables.len() - 1)
    }

    /// Sends the chunks that are left, and the end.
    async fn finish(&mut self, at: usize, chunk_len: usize, refusals: &[u16]) -> Answer {
        loop {
            let upload = self.book.lock().resumables[at].clone();
            let start = upload.position as usize;
            let end = upload.content.len().min(start + chunk_len);
            let Some(location) = &upload.location else { return Answer::Unknown };
            if start == end {
                return self.end_chunks(at, &upload).await;
            }
            {
                let mut book = self.book.lock();
                let sent = &mut book.resumables[at].sent;
                *sent = (*sent).max(end as u64);
            }
            let chunk = upload.content.slice(start..end);
            let reply = self.send_chunk(location, start as u64, chunk).await;
            match self.sort(format!("chunk {start}..{end} of upload {at}"), &reply, refusals) {
                Answer::Done => {
                    let mut book = self.book.lock();
                    let upload = &mut book.resumables[at];
                    (upload.acknowledged, upload.position) = (end as u64, end as u64);
                }
                Answer::Refused(_) => return Answer::Unknown,
                answer => return answer,
            }
        }
    }

    async fn end_chunks(&mut self, at: usize, upload: &Resumable) -> Answer {
        let called = {
            let mut book = self.book.lock();
            book.resumables[at].ending = true;
            book.tick()
        };
        let digest = Digest::of(Algorithm::Sha256, &upload.content);
        let location = upload.location.as_deref().unwrap_or_default();
        let path = format!("{location}?digest={digest}");
        let reply = self.ask(Method::PUT, &path, &[], whole(Bytes::new())).await;
        let answer = self.sort(format!("end of upload {at}, {}", short(&digest)), &reply, &[]);
        let op = Op::Set { guard: Guard::Any, to: Some(digest) };
        self.record_change(Key::blob(&upload.repo, &digest), called, op, answer);
        answer
    }

    /// After all faults: every acknowledged chunk is there, nothing that was never sent is, and the
    /// upload can be gone on with to its end.
    pub async fn resume_all(&mut self) {
        let uploads = self.book.lock().resumables.len();
        for at in 0..uploads {
            self.resume(at).await;
        }
    }

    async fn resume(&mut self, at: usize) {
        let upload = self.book.lock().resumables[at].clone();
        let reply = self.get(upload.location.as_deref().unwrap_or_default()).await;
        self.tell(format!("status of upload {at}"), &reply);
        let Ok(reply) = reply else {
            return self.book.lock().violation(format!("upload {at}: no status"));
        };
        // An upload whose end was asked for may have ended; one without bytes has nothing to keep.
        if reply.status == 404 && (upload.ending || upload.acknowledged == 0) {
            return;
        }
        let Some(offset) = offset(&reply, &upload) else {
            let range = reply.header("range").unwrap_or("none").to_owned();
            let text =
                format!("upload {at}: status {} range {range}, {}", reply.status, told(&upload));
            return self.book.lock().violation(text);
        };
        {
            let mut book = self.book.lock();
            book.count("uploads resumed");
            book.resumables[at].position = offset;
        }
        let ended = self.finish(at, 32 << 10, &[]).await;
        if ended != Answer::Done {
            let text = format!("upload {at}: going on from {offset}: {ended:?}");
            self.book.lock().violation(text);
        }
    }
}

/// Where the upload stands, if the registry names an offset that may be.
fn offset(reply: &Reply, upload: &Resumable) -> Option<u64> {
    let last: u64 = reply.header("range")?.strip_prefix("0-")?.parse().ok()?;
    // Nothing received is told as `0-0`, as one byte is.
    let offset = if last == 0 { 0 } else { last + 1 };
    let may_be = upload.acknowledged..=upload.sent;
    (reply.status == 204 && may_be.contains(&offset)).then_some(offset)
}

fn told(upload: &Resumable) -> String {
    format!("acknowledged {}, sent {}", upload.acknowledged, upload.sent)
}
