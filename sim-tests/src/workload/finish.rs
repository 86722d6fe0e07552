//! Uploads that end with bytes, and uploads that nobody ends.

use bytes::Bytes;
use http::{Method, header::CONTENT_RANGE};

use super::{
    content::Blob,
    push::short,
    user::{Answer, User},
};
use crate::{
    client::{Reply, Unanswered, whole},
    history::{Key, Resumable},
    linear::{Guard, Op},
};

/// The answers that a step may get when the session did not survive, or the disk is full.
const LOST_SESSION: [u16; 3] = [404, 416, 429];

impl User {
    /// Pushes a blob in numbered chunks, the last of which comes with the `PUT`.
    pub async fn push_ending_with_bytes(
        &mut self,
        repo: &str,
        blob: &Blob,
        chunk_len: usize,
    ) -> Answer {
        let called = {
            let mut book = self.book.lock();
            book.contents.insert(blob.digest, blob.bytes.clone());
            book.tick()
        };
        let reply = self.send_ending_with_bytes(repo, blob, chunk_len).await;
        let what = format!("push {repo} {} ending with bytes", short(&blob.digest));
        let answer = self.sort(what, &reply, &LOST_SESSION);
        if reply.is_ok_and(|reply| reply.status != 201) && answer == Answer::Done {
            return Answer::Unknown;
        }
        let op = Op::Set { guard: Guard::Any, to: Some(blob.digest) };
        self.record_change(Key::blob(repo, &blob.digest), called, op, answer);
        answer
    }

    async fn send_ending_with_bytes(
        &mut self,
        repo: &str,
        blob: &Blob,
        chunk_len: usize,
    ) -> Result<Reply, Unanswered> {
        let begin = format!("/v2/{repo}/blobs/uploads/");
        let begun = self.ask(Method::POST, &begin, &[], whole(Bytes::new())).await?;
        let Some(location) = begun.header("location").map(str::to_owned) else { return Ok(begun) };
        let mut start = 0;
        while start + chunk_len < blob.bytes.len() {
            let chunk = blob.bytes.slice(start..start + chunk_len);
            let patched = self.send_chunk(&location, start as u64, chunk).await?;
            if !patched.status.is_success() {
                return Ok(patched);
            }
            start += chunk_len;
        }
        let range = format!("{start}-{}", blob.bytes.len() - 1);
        let end = format!("{location}?digest={}", blob.digest);
        let last = whole(blob.bytes.slice(start..));
        self.ask(Method::PUT, &end, &[(CONTENT_RANGE, range)], last).await
    }

    /// Uploads all of a blob in numbered chunks but the last one, and leaves it at that.
    pub async fn begin_and_leave(&mut self, repo: &str, blob: &Blob, chunk_len: usize) -> Answer {
        self.book.lock().contents.insert(blob.digest, blob.bytes.clone());
        let begin = format!("/v2/{repo}/blobs/uploads/");
        let begun = self.ask(Method::POST, &begin, &[], whole(Bytes::new())).await;
        let answer = self.sort(format!("begin {repo} {}", short(&blob.digest)), &begun, &[429]);
        let location = begun.ok().and_then(|reply| reply.header("location").map(str::to_owned));
        let Some(location) = location else { return answer };
        let mut upload = Resumable {
            repo: repo.to_owned(),
            location: Some(location.clone()),
            content: blob.bytes.clone(),
            acknowledged: 0,
            position: 0,
            sent: 0,
            ending: false,
        };
        let mut answer = answer;
        while upload.sent as usize + chunk_len < blob.bytes.len() && answer == Answer::Done {
            let start = upload.sent as usize;
            let chunk = blob.bytes.slice(start..start + chunk_len);
            upload.sent += chunk_len as u64;
            let reply = self.send_chunk(&location, start as u64, chunk).await;
            answer = self.sort(format!("chunk at {start}, to be left"), &reply, &[]);
            if answer == Answer::Done {
                (upload.acknowledged, upload.position) = (upload.sent, upload.sent);
            }
        }
        self.book.lock().resumables.push(upload);
        answer
    }
}
