//! Pulling a blob: whole, verified, and only then handed on.
//!
//! A large blob is cut into pieces that come from several replicas at a time. Pieces arrive in any
//! order and are taken in the order of the content, so that one hash runs over all of it while the
//! rest is on its way. Why nothing is handed on earlier: whoever was given half of a wrong layer has
//! it on disk, and a client that looks away for a moment has used it.
//!
//! When the content is wrong, nobody knows which piece was: each replica is then asked alone, and
//! one that sends something else again is distrusted for this blob.

mod cut;
mod intake;
mod piece;

pub(crate) use self::piece::request_error as piece_request_error;

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::OwnedSemaphorePermit;

use self::{
    cut::{Cut, pieces},
    intake::Intake,
    piece::{Carried, Piece},
};
use crate::{
    Digest, RepoName,
    blob::Blob,
    endpoint::Endpoint,
    engine::Engine,
    error::{Attempt, LocalFailure, NoTrueCopy, PullError, RequestError},
    placement::Aim,
};

/// The unit in which memory for bytes on their way is given out.
pub(crate) const UNIT_BYTES: u64 = 64 << 10;

/// How often all replicas are gone through when what came was wrong.
const ROUNDS_MAX: u32 = 3;

/// Told the number of bytes that have come, or gone, so far. It may go back when a transfer has to
/// begin again.
pub type Progress = Arc<dyn Fn(u64) + Send + Sync>;

/// One blob on its way.
#[derive(Clone)]
pub(crate) struct Job {
    pub(crate) repo: RepoName,
    pub(crate) digest: Digest,
    /// Its length, where it is known.
    pub(crate) size: Option<u64>,
    progress: Option<Progress>,
    received: Arc<AtomicU64>,
    /// Ask this one alone.
    only: Option<Endpoint>,
    distrusted: Vec<Endpoint>,
}

/// Why one way of fetching did not work.
pub(crate) enum FetchError {
    /// No other way would.
    Pull(PullError),
    /// The content is wrong.
    Wrong { from: Vec<Endpoint>, why: String },
    /// Whoever answered sends no parts of blobs.
    NoRanges,
}

impl From<PullError> for FetchError {
    fn from(error: PullError) -> Self {
        FetchError::Pull(error)
    }
}

impl From<RequestError> for FetchError {
    fn from(error: RequestError) -> Self {
        FetchError::Pull(PullError::Request(error))
    }
}

impl Job {
    pub(crate) fn new(
        repo: RepoName,
        digest: Digest,
        size: Option<u64>,
        progress: Option<Progress>,
    ) -> Job {
        let received = Arc::new(AtomicU64::new(0));
        Job { repo, digest, size, progress, received, only: None, distrusted: Vec::new() }
    }

    pub(crate) fn what(&self) -> String {
        format!("pulling `{}@{}`", self.repo, self.digest)
    }

    fn came(&self, bytes: u64) {
        let so_far = self.received.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if let Some(progress) = &self.progress {
            progress(so_far);
        }
    }

    fn begin_again(&self) {
        self.received.store(0, Ordering::Relaxed);
        self.came(0);
    }
}

impl Engine {
    /// Fetches a blob from whoever has it.
    pub(crate) async fn fetch_blob(self: &Arc<Self>, mut job: Job) -> Result<Blob, PullError> {
        self.prepare().await;
        job.distrusted = self.directory.distrusted(&job.digest);
        let mut wrong: Vec<Attempt> = Vec::new();
        let mut noted = match self.fetch(&job).await {
            Ok(blob) => return Ok(blob),
            Err(FetchError::Wrong { from, why }) => (from, why),
            Err(FetchError::Pull(error)) => return Err(error),
            Err(FetchError::NoRanges) => (Vec::new(), "sends no parts".to_owned()),
        };
        for round in 0..ROUNDS_MAX {
            let (from, why) = std::mem::take(&mut noted);
            self.blame(&job, from, &why, &mut wrong);
            let mut targets = self.targets(&Aim::Read(job.digest)).await;
            let known_wrong = self.directory.distrusted(&job.digest);
            targets.sort_by_key(|target| known_wrong.contains(target));
            for target in targets {
                let alone = Job { only: Some(target.clone()), ..job.clone() };
                alone.begin_again();
                match self.fetch(&alone).await {
                    Ok(blob) => return Ok(blob),
                    Err(FetchError::Wrong { why, .. }) => {
                        self.blame(&job, vec![target], &why, &mut wrong);
                    }
                    Err(FetchError::Pull(PullError::Local(error))) => {
                        return Err(PullError::Local(error));
                    }
                    Err(FetchError::Pull(error)) => note(&mut wrong, &target, &error.to_string()),
                    Err(FetchError::NoRanges) => note(&mut wrong, &target, "sends no parts"),
                }
            }
            tokio::time::sleep(self.backoff(round)).await;
        }
        Err(PullError::Content(Box::new(NoTrueCopy { digest: job.digest, wrong })))
    }

    /// Wrong content came. If it all came from one place, that place is distrusted for this blob.
    fn blame(&self, job: &Job, from: Vec<Endpoint>, why: &str, wrong: &mut Vec<Attempt>) {
        if from.is_empty() {
            return;
        }
        self.wires.counters.mismatches.add(1);
        let names: Vec<String> = from.iter().map(ToString::to_string).collect();
        tracing::warn!(digest = %job.digest, from = names.join(", "), why, "wrong content thrown away");
        if let [alone] = from.as_slice() {
            self.directory.distrust(&job.digest, alone);
            note(wrong, alone, why);
        }
    }

    async fn fetch(self: &Arc<Self>, job: &Job) -> Result<Blob, FetchError> {
        let whole = self.limits().range_bytes;
        match job.size {
            Some(size) if size > whole && job.only.is_none() => {
                match self.fetch_pieces(job, size, None).await {
                    Err(FetchError::NoRanges) => {
                        job.begin_again();
                        self.fetch_in_turn(job).await
                    }
                    done => done,
                }
            }
            _ => self.fetch_in_turn(job).await,
        }
    }

    /// Piece after piece: what is small, what is not known to be large, and what comes from one place.
    async fn fetch_in_turn(self: &Arc<Self>, job: &Job) -> Result<Blob, FetchError> {
        let mut carried: Option<Carried> = None;
        let whole = self.limits().range_bytes;
        let end = job.size.map(|size| size.min(whole));
        // One piece is in memory at a time: its room serves the next one too.
        let room = self.room(end.unwrap_or(whole)).await;
        let first = self.piece(job, 0, Cut { offset: 0, end }, &mut carried).await?;
        let size = job.size.unwrap_or(first.total);
        if first.end() < size && carried.is_none() && job.only.is_none() {
            // Parts are sent here: the rest comes from several replicas.
            return self.fetch_pieces(job, size, Some((first, room))).await;
        }
        let mut intake = self.intake(job, size).await?;
        let mut offset = first.end();
        intake = intake.take(first).await?;
        while offset < size {
            let end = size.min(offset + whole);
            let piece = self.piece(job, 0, Cut { offset, end: Some(end) }, &mut carried).await?;
            offset = piece.end();
            intake = intake.take(piece).await?;
        }
        intake.finish()
    }

    /// Several pieces at a time, from several replicas.
    async fn fetch_pieces(
        self: &Arc<Self>,
        job: &Job,
        size: u64,
        first: Option<(Piece, OwnedSemaphorePermit)>,
    ) -> Result<Blob, FetchError> {
        let mut intake = self.intake(job, size).await?;
        let mut offset = 0;
        if let Some((first, room)) = first {
            offset = first.end();
            intake = intake.take(first).await?;
            drop(room);
        }
        let mut cuts = pieces(offset, size, self.limits().range_bytes).enumerate().peekable();
        // Each in a task of its own, so that pieces go on coming while one is hashed and written.
        let mut running: VecDeque<OwnedTask<(Piece, OwnedSemaphorePermit)>> = VecDeque::new();
        loop {
            while running.len() < self.limits().ranges_in_flight
                && let Some((nth, cut)) = cuts.peek().copied()
            {
                let bytes = cut.end.unwrap_or(size) - cut.offset;
                // Only the first waits: the others are a bonus while there is room.
                let room = match running.is_empty() {
                    true => Some(self.room(bytes).await),
                    false => self.room_now(bytes),
                };
                let Some(room) = room else { break };
                cuts.next();
                running.push_back(self.begin_piece(job, nth, cut, room));
            }
            let Some(first) = running.pop_front() else { return intake.finish() };
            let (piece, room) = first.await?;
            intake = intake.take(piece).await?;
            drop(room);
        }
    }

    fn begin_piece(
        self: &Arc<Self>,
        job: &Job,
        nth: usize,
        cut: Cut,
        room: OwnedSemaphorePermit,
    ) -> OwnedTask<(Piece, OwnedSemaphorePermit)> {
        let (engine, job) = (self.clone(), job.clone());
        OwnedTask(tokio::spawn(async move {
            let piece = engine.piece(&job, nth, cut, &mut None).await?;
            Ok((piece, room))
        }))
    }

    async fn intake(&self, job: &Job, size: u64) -> Result<Intake, FetchError> {
        if size <= self.limits().memory_per_blob {
            return Ok(Intake::in_memory(job.digest, size));
        }
        let spool = self.spool.clone();
        let made = crate::spool::blocking(move || spool.create()).await.and_then(|made| made);
        let file = made.map_err(|cause| {
            let doing = format!("making a file in {}", self.limits().spool_dir.display());
            PullError::Local(Box::new(LocalFailure { doing, cause }))
        })?;
        Ok(Intake::in_file(job.digest, size, file))
    }
}

fn note(wrong: &mut Vec<Attempt>, node: &Endpoint, why: &str) {
    let node = node.to_string();
    wrong.retain(|attempt| attempt.node != node);
    wrong.push(Attempt { node, why: why.to_owned() });
}

/// A task that ends with whoever waits for it.
struct OwnedTask<T>(tokio::task::JoinHandle<Result<T, FetchError>>);

impl<T> Future for OwnedTask<T> {
    type Output = Result<T, FetchError>;

    fn poll(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Self::Output> {
        std::pin::Pin::new(&mut self.0).poll(context).map(|joined| {
            joined.unwrap_or_else(|error| {
                let cause = std::io::Error::other(error.to_string());
                let doing = "fetching a piece".to_owned();
                Err(FetchError::Pull(PullError::Local(Box::new(LocalFailure { doing, cause }))))
            })
        })
    }
}

impl<T> Drop for OwnedTask<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
