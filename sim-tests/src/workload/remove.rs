//! Deleting tags, manifests, blobs.

use atoll_core::Digest;
use bytes::Bytes;
use http::Method;

use super::{
    push::short,
    user::{Answer, User},
};
use crate::{
    client::whole,
    history::Key,
    linear::{Guard, Op},
};

impl User {
    async fn delete(&mut self, path: &str, what: String) -> (u64, Answer) {
        let called = self.book.lock().tick();
        let reply = self.ask(Method::DELETE, path, &[], whole(Bytes::new())).await;
        (called, self.sort(what, &reply, &[404]))
    }

    /// Deletes a tag.
    pub async fn delete_tag(&mut self, repo: &str, tag: &str) -> Answer {
        let path = format!("/v2/{repo}/manifests/{tag}");
        let (called, answer) = self.delete(&path, format!("delete {repo}:{tag}")).await;
        self.record_change(Key::tag(repo, tag), called, EMPTY, answer);
        answer
    }

    /// Deletes a manifest, and with it every tag that points to it.
    pub async fn delete_manifest(&mut self, repo: &str, digest: &Digest) -> Answer {
        let path = format!("/v2/{repo}/manifests/{digest}");
        let what = format!("delete {repo} manifest {}", short(digest));
        let (called, answer) = self.delete(&path, what).await;
        self.record_change(Key::manifest(repo, digest), called, EMPTY, answer);
        if !matches!(answer, Answer::Refused(_)) {
            let tags = self.book.lock().tags_of(repo);
            for tag in tags {
                self.record_change(Key::tag(repo, &tag), called, Op::ClearIf(*digest), answer);
            }
        }
        answer
    }

    /// Removes a blob from a repository.
    pub async fn delete_blob(&mut self, repo: &str, digest: &Digest) -> Answer {
        let path = format!("/v2/{repo}/blobs/{digest}");
        let what = format!("delete {repo} blob {}", short(digest));
        let (called, answer) = self.delete(&path, what).await;
        self.record_change(Key::blob(repo, digest), called, EMPTY, answer);
        answer
    }
}

/// Deleting what is not there is refused.
const EMPTY: Op<Digest> = Op::Set { guard: Guard::Present, to: None };
