//! Pulling and listing. Every byte that comes is compared with what was pushed (promise P3).

use std::{ops::Range, str::FromStr};

use atoll_core::Digest;
use http::{
    Method, StatusCode,
    header::{RANGE, WARNING},
};

use super::{
    push::short,
    user::{Answer, User},
};
use crate::{
    client::{Reply, Unanswered, whole},
    history::Key,
    linear::{Op, Outcome, Seen},
};

/// The moment before everything that happened.
const EVER: u64 = 0;

type Answered = Result<Reply, Unanswered>;

impl User {
    /// Pulls the manifest that a tag points to; answers its digest.
    pub async fn pull_tag(&mut self, repo: &str, tag: &str) -> (Answer, Option<Digest>) {
        let called = self.book.lock().tick();
        let reply = self.get(&format!("/v2/{repo}/manifests/{tag}")).await;
        let what = format!("pull {repo}:{tag}");
        let answer = self.sort(&what, &reply, &[404]);
        let mut found = None;
        if let (Answer::Done, Ok(reply)) = (answer, &reply) {
            let named = reply.header("docker-content-digest").map(Digest::from_str);
            match named {
                Some(Ok(digest)) => {
                    found = Some(digest);
                    self.expect_content(&what, &digest, reply, None);
                }
                _ => self.book.lock().violation(format!("{what}: no digest in the answer")),
            }
        }
        let seen = found.map_or(Seen::Nothing, Seen::Value);
        self.saw(Key::tag(repo, tag), called, seen, answer);
        (answer, found)
    }

    /// Pulls a manifest by its digest.
    pub async fn pull_manifest(&mut self, repo: &str, digest: &Digest) -> Answer {
        let called = self.book.lock().tick();
        let reply = self.get(&format!("/v2/{repo}/manifests/{digest}")).await;
        self.pulled(Key::manifest(repo, digest), called, digest, reply, None)
    }

    /// Pulls a blob, or a range of it.
    pub async fn pull_blob(
        &mut self,
        repo: &str,
        digest: &Digest,
        range: Option<Range<u64>>,
    ) -> Answer {
        let called = self.book.lock().tick();
        let path = format!("/v2/{repo}/blobs/{digest}");
        let reply = match &range {
            None => self.get(&path).await,
            Some(range) => {
                let field = (RANGE, format!("bytes={}-{}", range.start, range.end - 1));
                self.ask(Method::GET, &path, &[field], whole(bytes::Bytes::new())).await
            }
        };
        self.pulled(Key::blob(repo, digest), called, digest, reply, range)
    }

    /// Asks whether a blob is there, as clients do before they push it. A wrong yes makes them
    /// leave it out.
    pub async fn head_blob(&mut self, repo: &str, digest: &Digest) -> Answer {
        let called = self.book.lock().tick();
        let path = format!("/v2/{repo}/blobs/{digest}");
        let reply = self.ask(Method::HEAD, &path, &[], whole(bytes::Bytes::new())).await;
        let what = format!("look {repo} {}", short(digest));
        let answer = self.sort(&what, &reply, &[404]);
        let seen = if answer == Answer::Done { Seen::Value(*digest) } else { Seen::Nothing };
        let called = if self.is_stale(&reply) { EVER } else { called };
        self.saw(Key::blob(repo, digest), called, seen, answer);
        if let (Answer::Done, Ok(reply)) = (answer, &reply) {
            let told = reply.header("content-length").map(str::to_owned);
            let mut book = self.book.lock();
            let len = book.contents.get(digest).map(|content| content.len().to_string());
            if told != len {
                book.violation(format!("{what}: length {told:?}, should be {len:?}"));
            }
        }
        answer
    }

    fn pulled(
        &mut self,
        key: Key,
        called: u64,
        digest: &Digest,
        reply: Answered,
        range: Option<Range<u64>>,
    ) -> Answer {
        let what = format!("pull {:?} {} {}", key.kind, key.repo, short(digest));
        let answer = self.sort(&what, &reply, &[404]);
        if let (Answer::Done, Ok(reply)) = (answer, &reply) {
            self.expect_content(&what, digest, reply, range);
        }
        if answer == Answer::Done && self.is_stale(&reply) {
            self.saw(key, EVER, Seen::Value(*digest), answer);
            return Answer::Stale;
        }
        let seen = if answer == Answer::Done { Seen::Value(*digest) } else { Seen::Nothing };
        self.saw(key, called, seen, answer);
        answer
    }

    /// Does the node say that it has lost touch? What it tells was true once, and is no answer to
    /// what is there now.
    fn is_stale(&self, reply: &Answered) -> bool {
        let is_stale = reply.as_ref().is_ok_and(|reply| reply.header(WARNING.as_str()).is_some());
        if is_stale {
            self.book.lock().count("stale");
        }
        is_stale
    }

    /// Promise P3: no read returns bytes that do not match the digest.
    fn expect_content(
        &self,
        what: &str,
        digest: &Digest,
        reply: &Reply,
        range: Option<Range<u64>>,
    ) {
        let mut book = self.book.lock();
        let Some(content) = book.contents.get(digest).cloned() else {
            return book.violation(format!("{what}: {digest} was never pushed"));
        };
        let is_part = reply.status == StatusCode::PARTIAL_CONTENT;
        let expected = match range {
            Some(range) if is_part => content.slice(range.start as usize..range.end as usize),
            _ => content,
        };
        if reply.body != expected {
            let (found, wanted) = (reply.body.len(), expected.len());
            book.violation(format!("{what}: wrong bytes ({found}, should be {wanted})"));
        }
    }

    /// Records what a read saw; one without a true answer saw nothing at all.
    fn saw(&self, key: Key, called: u64, seen: Seen<Digest>, answer: Answer) {
        if answer == Answer::Done || answer == Answer::Refused(StatusCode::NOT_FOUND) {
            self.book.lock().record(key, called, Op::See(seen), Outcome::Done);
        }
    }

    /// Lists the tags: every known tag is in the list or is not.
    pub async fn list_tags(&mut self, repo: &str) -> Answer {
        let called = self.book.lock().tick();
        let reply = self.get(&format!("/v2/{repo}/tags/list")).await;
        let answer = self.sort(format!("list {repo}"), &reply, &[404]);
        let listed = match (answer, &reply) {
            (Answer::Done, Ok(reply)) => strings(reply, "/tags", ""),
            (Answer::Refused(_), _) => Vec::new(),
            _ => return answer,
        };
        let tags = self.book.lock().tags_of(repo);
        for tag in tags {
            let seen = if listed.contains(&tag) { Seen::Something } else { Seen::Nothing };
            self.saw(Key::tag(repo, &tag), called, seen, answer);
        }
        answer
    }

    /// Lists the referrers of a manifest: every known one is in the list or is not.
    pub async fn list_referrers(&mut self, repo: &str, subject: &Digest) -> Answer {
        let called = self.book.lock().tick();
        let reply = self.get(&format!("/v2/{repo}/referrers/{subject}")).await;
        let answer = self.sort(format!("referrers {repo} {}", short(subject)), &reply, &[]);
        let (Answer::Done, Ok(reply)) = (answer, &reply) else { return answer };
        let listed = strings(reply, "/manifests", "/digest");
        let known: Vec<Digest> = {
            let book = self.book.lock();
            let about = book.manifests.values().filter(|it| it.subject == Some(*subject));
            about.map(|manifest| manifest.digest).collect()
        };
        for digest in known {
            let is_listed = listed.contains(&digest.to_string());
            let seen = if is_listed { Seen::Something } else { Seen::Nothing };
            self.saw(Key::manifest(repo, &digest), called, seen, answer);
        }
        answer
    }
}

/// The strings at `inner` of every element of the array at `array`.
fn strings(reply: &Reply, array: &str, inner: &str) -> Vec<String> {
    let document: serde_json::Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    let elements = document.pointer(array).and_then(serde_json::Value::as_array);
    let text = |element: &serde_json::Value| Some(element.pointer(inner)?.as_str()?.to_owned());
    elements.into_iter().flatten().filter_map(text).collect()
}
