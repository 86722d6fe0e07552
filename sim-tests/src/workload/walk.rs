//! What a random user does.

use std::{sync::Arc, time::Duration};

use atoll_core::Digest;
use tokio::time::Instant;

use super::{
    content::{self, Blob},
    push::Upload,
    user::{Answer, User},
};
use crate::{draw::Draw, history::Kind, linear::Guard, swarm::Swarm};

/// How likely a blob is a long one.
const LONG: f64 = 0.03;

/// Longest blob of those: more than nodes hand each other in one message, so that a read can break in
/// the middle and go on from another node.
const LONG_BYTES_MAX: u64 = 2_500_000;

/// One user's random walk.
pub struct Walk {
    user: User,
    draw: Draw,
    swarm: Arc<Swarm>,
    /// What this user pushed, and where.
    blobs: Vec<(String, Blob)>,
    number: u64,
}

impl Walk {
    /// The walk of user `number`.
    pub fn new(user: User, draw: Draw, swarm: Arc<Swarm>, number: u64) -> Walk {
        Walk { user, draw, swarm, blobs: Vec::new(), number }
    }

    /// Walks to the end.
    pub async fn walk(mut self) {
        for step in 0..self.swarm.steps {
            self.stroll(step).await;
        }
    }

    /// Walks until then.
    pub async fn walk_until(mut self, end: Instant) {
        for step in 0.. {
            if Instant::now() >= end {
                return;
            }
            self.stroll(step).await;
        }
    }

    async fn stroll(&mut self, step: u64) {
        let pause = self.draw.millis(0..self.swarm.think_millis);
        tokio::time::sleep(pause).await;
        self.step(step).await;
    }

    async fn step(&mut self, step: u64) {
        let swarm = self.swarm.clone();
        let repo = self.draw.pick(&swarm.repos).clone();
        let tag = self.draw.pick(&swarm.tags).clone();
        match self.draw.within(0..100) {
            0..14 => self.push_blob(&repo).await,
            14..22 => self.upload_in_chunks(&repo).await,
            22..45 => self.push_image(&repo, &tag, step).await,
            45..65 => {
                self.user.pull_tag(&repo, &tag).await;
            }
            65..72 => self.pull_something(&repo).await,
            72..77 => self.mount(&repo).await,
            77..82 => {
                self.user.delete_tag(&repo, &tag).await;
            }
            82..87 => self.delete_something(&repo).await,
            87..93 => {
                self.user.list_tags(&repo).await;
            }
            93..96 => self.referrers(&repo).await,
            _ => tokio::time::sleep(Duration::from_millis(500)).await,
        }
    }

    fn new_blob(&mut self) -> Blob {
        let max = if self.draw.chance(LONG) { LONG_BYTES_MAX } else { self.swarm.blob_bytes_max };
        let len = self.draw.within(1..max);
        content::blob(&mut self.draw, len)
    }

    fn way(&mut self) -> Upload {
        let ways = [
            Upload::Single,
            Upload::PostPut,
            Upload::Streamed,
            Upload::StreamedPut,
            Upload::Chunked(30_000),
            Upload::Chunked(1_000_000),
        ];
        *self.draw.pick(&ways)
    }

    async fn push_blob(&mut self, repo: &str) {
        let old = self.blobs.iter().rfind(|_| self.draw.chance(0.15));
        let blob = match old {
            Some((_, blob)) => blob.clone(),
            None => self.new_blob(),
        };
        let how = self.way();
        if self.user.push_blob(repo, &blob, how).await == Answer::Done {
            self.blobs.push((repo.to_owned(), blob));
        }
    }

    /// A manifest over blobs of this user, tagged with or without a condition.
    async fn push_image(&mut self, repo: &str, tag: &str, step: u64) {
        let mine: Vec<Blob> = {
            let here = self.blobs.iter().filter(|(at, _)| at == repo);
            here.map(|(_, blob)| blob.clone()).rev().take(2).collect()
        };
        if mine.is_empty() {
            return self.push_blob(repo).await;
        }
        let subject = self.any_manifest().filter(|_| self.draw.chance(0.2));
        let subject =
            subject.and_then(|digest| self.user.book.lock().manifests.get(&digest).cloned());
        let serial = format!("{}-{step}", self.number);
        let image = match self.any_manifest().filter(|_| self.draw.chance(0.2)) {
            // An older image again: tags move back, too.
            Some(old) => self.user.book.lock().manifests.get(&old).cloned(),
            None => None,
        };
        let image = image.unwrap_or_else(|| content::manifest(&mine, &serial, subject.as_ref()));
        let guard = match self.draw.within(0..10) {
            0 => Guard::Absent,
            1 => Guard::Present,
            2 | 3 => self.any_manifest().map_or(Guard::Absent, Guard::Is),
            _ => Guard::Any,
        };
        let all: Vec<&str> = self.swarm.tags.iter().map(String::as_str).collect();
        let tags = match self.draw.within(0..8) {
            0 => vec![],
            1 => all,
            _ => vec![tag],
        };
        let guard = if tags.is_empty() { Guard::Any } else { guard };
        self.user.push_manifest(repo, &image, &tags, guard).await;
    }

    fn any_manifest(&mut self) -> Option<Digest> {
        let known: Vec<Digest> = self.user.book.lock().manifests.keys().copied().collect();
        (!known.is_empty()).then(|| *self.draw.pick(&known))
    }

    /// A blob that somebody pushed, or tried to, and where.
    fn any_blob(&mut self) -> Option<(String, Digest)> {
        let keys = self.user.book.lock().keys();
        let known: Vec<(String, Digest)> = keys
            .into_iter()
            .filter(|key| key.kind == Kind::Blob)
            .filter_map(|key| Some((key.repo, key.name.parse().ok()?)))
            .collect();
        (!known.is_empty()).then(|| self.draw.pick(&known).clone())
    }

    async fn pull_something(&mut self, repo: &str) {
        if self.draw.chance(0.4)
            && let Some(digest) = self.any_manifest()
        {
            self.user.pull_manifest(repo, &digest).await;
            return;
        }
        let Some((at, digest)) = self.any_blob() else { return };
        if self.draw.chance(0.3) {
            self.user.head_blob(&at, &digest).await;
            return;
        }
        let len = self.user.book.lock().contents.get(&digest).map_or(0, |it| it.len() as u64);
        let range = self.draw.chance(0.3).then(|| {
            let start = self.draw.within(0..len);
            start..self.draw.within(start + 1..len + 1)
        });
        self.user.pull_blob(&at, &digest, range).await;
    }

    async fn mount(&mut self, repo: &str) {
        if self.blobs.is_empty() {
            return;
        }
        let (from, blob) = self.draw.pick(&self.blobs).clone();
        if self.user.mount(repo, &from, &blob.digest).await == Answer::Done {
            self.blobs.push((repo.to_owned(), blob));
        }
    }

    async fn delete_something(&mut self, repo: &str) {
        if self.draw.chance(0.6)
            && let Some(digest) = self.any_manifest()
        {
            self.user.delete_manifest(repo, &digest).await;
            return;
        }
        if let Some((repo, digest)) = self.any_blob() {
            self.user.delete_blob(&repo, &digest).await;
        }
    }

    /// An upload that is gone on with, however often it is interrupted.
    async fn upload_in_chunks(&mut self, repo: &str) {
        let blob = self.new_blob();
        if !self.swarm.keeps_uploads() {
            self.user.push_blob(repo, &blob, Upload::Chunked(20_000)).await;
        } else if self.user.push_in_chunks_patiently(repo, &blob, 20_000).await == Answer::Done {
            self.blobs.push((repo.to_owned(), blob));
        }
    }

    async fn referrers(&mut self, repo: &str) {
        if let Some(subject) = self.any_manifest() {
            self.user.list_referrers(repo, &subject).await;
        }
    }
}
