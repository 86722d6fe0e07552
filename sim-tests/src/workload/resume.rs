//! Uploads that a client means to go on with: chunks that were acknowledged outlast a crash.

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

impl User {
    /// Uploads a blob in numbered chunks and remembers how far it came. Answers where the book has
    /// the upload.
    pub async fn push_in_chunks(&mut self, repo: &str, blob: &Blob, chunk_len: usize) -> Answer {
        let at = {
            let mut book = self.book.lock();
            book.contents.insert(blob.digest, blob.bytes.clone());
            book.resumables.push(Resumable {
                repo: repo.to_owned(),
                location: None,
                content: blob.bytes.clone(),
                acknowledged: 0,
                sent: 0,
                ending: false,
            });
            book.resumables.len() - 1
        };
        let begin = format!("/v2/{repo}/blobs/uploads/");
        let reply = self.ask(Method::POST, &begin, &[], whole(Bytes::new())).await;
        let answer = self.sort(format!("begin {repo} {}", short(&blob.digest)), &reply, &[]);
        let Ok(Some(location)) = reply.map(|reply| reply.header("location").map(str::to_owned))
        else {
            return answer;
        };
        self.book.lock().resumables[at].location = Some(location);
        match self.go_on(at, chunk_len).await {
            Answer::Done => self.end_chunks(at, blob).await,
            answer => answer,
        }
    }

    /// Sends the chunks that are left.
    async fn go_on(&mut self, at: usize, chunk_len: usize) -> Answer {
        loop {
            let upload = self.book.lock().resumables[at].clone();
            let start = upload.acknowledged as usize;
            let end = upload.content.len().min(start + chunk_len);
            let Some(location) = upload.location else { return Answer::Unknown };
            if start == end {
                return Answer::Done;
            }
            self.book.lock().resumables[at].sent = end as u64;
            let reply =
                self.send_chunk(&location, start as u64, upload.content.slice(start..end)).await;
            match self.sort(format!("chunk {start}..{end}"), &reply, &[]) {
                Answer::Done => self.book.lock().resumables[at].acknowledged = end as u64,
                answer => return answer,
            }
        }
    }

    async fn end_chunks(&mut self, at: usize, blob: &Blob) -> Answer {
        let (called, upload) = {
            let mut book = self.book.lock();
            book.resumables[at].ending = true;
            (book.tick(), book.resumables[at].clone())
        };
        let path = format!("{}?digest={}", upload.location.unwrap_or_default(), blob.digest);
        let reply = self.ask(Method::PUT, &path, &[], whole(Bytes::new())).await;
        let answer = self.sort(format!("end {}", short(&blob.digest)), &reply, &[404]);
        let op = Op::Set { guard: Guard::Any, to: Some(blob.digest) };
        self.record_change(Key::blob(&upload.repo, &blob.digest), called, op, answer);
        answer
    }

    /// After a crash: every acknowledged chunk is there, nothing that was never sent is, and the
    /// upload can be gone on with to its end.
    pub async fn resume_all(&mut self) {
        let uploads = self.book.lock().resumables.len();
        for at in 0..uploads {
            self.resume(at).await;
        }
    }

    async fn resume(&mut self, at: usize) {
        let upload = self.book.lock().resumables[at].clone();
        let Some(location) = &upload.location else { return };
        let reply = self.get(location).await;
        self.tell(format!("status of upload {at}"), &reply);
        let Ok(reply) = reply else {
            return self.book.lock().violation(format!("upload {at}: no status"));
        };
        // An upload whose end was asked for may have ended; one without bytes has nothing to keep.
        if reply.status == 404 && (upload.ending || upload.acknowledged == 0) {
            return;
        }
        let Some(offset) = offset(&reply, &upload) else {
            let Resumable { acknowledged, sent, .. } = upload;
            let range = reply.header("range").unwrap_or("none").to_owned();
            let text = format!(
                "upload {at}: status {} range {range}, acknowledged {acknowledged}, sent {sent}",
                reply.status
            );
            return self.book.lock().violation(text);
        };
        {
            let mut book = self.book.lock();
            book.count("uploads resumed");
            book.resumables[at].acknowledged = offset;
        }
        let digest = atoll_core::Digest::of(atoll_core::Algorithm::Sha256, &upload.content);
        let blob = Blob { digest, bytes: upload.content };
        let ended = match self.go_on(at, 32 << 10).await {
            Answer::Done => self.end_chunks(at, &blob).await,
            answer => answer,
        };
        if ended != Answer::Done {
            self.book.lock().violation(format!("upload {at}: going on from {offset}: {ended:?}"));
        }
    }
}

/// The durable offset, if the registry names one that may be.
fn offset(reply: &Reply, upload: &Resumable) -> Option<u64> {
    let last: u64 = reply.header("range")?.strip_prefix("0-")?.parse().ok()?;
    // Nothing received is told as `0-0`, as one byte is.
    let offset = if last == 0 { 0 } else { last + 1 };
    let may_be = upload.acknowledged..=upload.sent;
    (reply.status == 204 && may_be.contains(&offset)).then_some(offset)
}
