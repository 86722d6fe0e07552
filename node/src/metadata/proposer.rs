//! Group commit: whoever waits is proposed together.
//!
//! One task proposes one batch at a time. What arrives while a batch is on its way to the disk and
//! to the other voters becomes the next one. A lone request is proposed at once, so it costs one log
//! commit and no waiting; a hundred at a time cost a few commits between them. There is no timer and
//! nothing to tune.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use atoll_core::metadata::{Outcome, Request};
use openraft::error::{ClientWriteError, RaftError};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::{
    peers::Peer,
    raft::{Batch, Raft},
    settings::COORDINATION,
};
use crate::io::Io;

/// Requests that may wait for the next batch; beyond it the node says that it is overloaded. At a
/// thousand commits a second this is a few seconds of work, which is as long as a client waits.
pub(super) const WAITING_MAX: usize = 4096;

/// Requests in one entry. Applying so many takes a few milliseconds, during which nothing else is
/// applied.
const BATCH_REQUESTS_MAX: usize = 256;

/// Bytes of requests after which an entry is closed. One request may exceed it alone.
const BATCH_BYTES_MAX: usize = 256 << 10;

/// How long a batch may be on its way before its requests are told that nothing is known. They come
/// again with the same id, and are applied once.
const PROPOSAL_WAIT: Duration = Duration::from_secs(2);

/// Room on the disk that is kept for the log, in bytes; on a small disk a fiftieth of it, if that is
/// less. A log that runs into a full disk has to stop until the node restarts, so nothing is proposed
/// that might: a batch, and what redb grows its files by for it, is far smaller.
const ROOM_BYTES_MIN: u64 = 64 << 20;

/// Why a proposal brought no outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NotProposed {
    /// Another voter leads, or nobody does.
    NotLeader(Option<Peer>),
    /// No answer in time.
    Unknown,
    /// Too many are waiting.
    Overloaded,
    /// The disk has no room for the log. Nothing was proposed.
    NoRoom,
    /// The group has stopped.
    Stopped(String),
}

struct Waiting {
    request: Request,
    bytes: usize,
    answer: oneshot::Sender<Result<Outcome, NotProposed>>,
}

/// What the proposer has done since the start.
#[derive(Debug, Default)]
pub(super) struct Counters {
    /// Entries proposed.
    pub batches: AtomicU64,
    /// Requests in them.
    pub requests: AtomicU64,
}

/// The way into a group's log.
#[derive(Clone, Debug)]
pub(super) struct Proposer {
    waiting: mpsc::Sender<Waiting>,
    /// See [`Counters`].
    pub counters: Arc<Counters>,
}

impl Proposer {
    /// Starts the proposer of a group; it ends with `stop`.
    pub fn start(group: u16, raft: Raft, io: Io, stop: CancellationToken) -> Self {
        // In the coordination group the position of an entry names the change, so each has its own.
        let batch_max = if group == COORDINATION { 1 } else { BATCH_REQUESTS_MAX };
        let (waiting, inbox) = mpsc::channel(WAITING_MAX);
        let counters = Arc::new(Counters::default());
        let task = run((raft, io, batch_max), inbox, counters.clone(), stop);
        tokio::spawn(task.instrument(tracing::info_span!("metadata_proposer", group)));
        Self { waiting, counters }
    }

    /// Proposes `request` with whoever else is waiting.
    pub async fn propose(&self, request: Request) -> Result<Outcome, NotProposed> {
        let stopped = || NotProposed::Stopped("the proposer has ended".to_owned());
        let bytes = postcard::experimental::serialized_size(&request)
            .map_err(|error| NotProposed::Stopped(error.to_string()))?;
        let (answer, outcome) = oneshot::channel();
        let sent = self.waiting.try_send(Waiting { request, bytes, answer });
        sent.map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => NotProposed::Overloaded,
            mpsc::error::TrySendError::Closed(_) => stopped(),
        })?;
        outcome.await.unwrap_or_else(|_| Err(stopped()))
    }
}

async fn run(
    (raft, io, batch_max): (Raft, Io, usize),
    mut inbox: mpsc::Receiver<Waiting>,
    counters: Arc<Counters>,
    stop: CancellationToken,
) {
    let mut held_back = None;
    loop {
        let first = match held_back.take() {
            Some(waiting) => waiting,
            None => tokio::select! {
                biased;
                () = stop.cancelled() => return,
                received = inbox.recv() => match received {
                    Some(waiting) => waiting,
                    None => return,
                },
            },
        };
        let (batch, answers);
        (batch, answers, held_back) = gather(first, &mut inbox, batch_max);
        if !has_room(&io).await {
            answer_all(Err(NotProposed::NoRoom), answers);
            continue;
        }
        counters.batches.fetch_add(1, Ordering::Relaxed);
        counters.requests.fetch_add(answers.len() as u64, Ordering::Relaxed);
        answer_all(propose(&raft, batch).await, answers);
    }
}

/// Has the disk room for another batch? A disk that does not answer is left to the log to find out.
async fn has_room(io: &Io) -> bool {
    let space = io.disk_op(|disk| disk.space()).await;
    space.map_or(true, |space| space.available >= ROOM_BYTES_MIN.min(space.total / 50))
}

type Answers = Vec<oneshot::Sender<Result<Outcome, NotProposed>>>;

/// `first` and whoever else waits now, up to the bounds; and the one that did not fit any more.
fn gather(
    first: Waiting,
    inbox: &mut mpsc::Receiver<Waiting>,
    batch_max: usize,
) -> (Batch, Answers, Option<Waiting>) {
    let mut bytes = first.bytes;
    let mut requests = vec![first.request];
    let mut answers = vec![first.answer];
    while requests.len() < batch_max
        && let Ok(next) = inbox.try_recv()
    {
        bytes += next.bytes;
        if bytes > BATCH_BYTES_MAX {
            return (Batch(Arc::new(requests)), answers, Some(next));
        }
        requests.push(next.request);
        answers.push(next.answer);
    }
    (Batch(Arc::new(requests)), answers, None)
}

async fn propose(raft: &Raft, batch: Batch) -> Result<Vec<Outcome>, NotProposed> {
    let Ok(written) = tokio::time::timeout(PROPOSAL_WAIT, raft.client_write(batch)).await else {
        return Err(NotProposed::Unknown);
    };
    match written {
        Ok(response) => Ok(response.data.0),
        Err(RaftError::APIError(ClientWriteError::ForwardToLeader(forward))) => {
            let id = forward.leader_id;
            let address = forward.leader_node.map(|node| node.addr);
            Err(NotProposed::NotLeader(id.zip(address).map(|(id, address)| Peer { id, address })))
        }
        // Not an answer to a normal entry.
        Err(RaftError::APIError(ClientWriteError::ChangeMembershipError(error))) => {
            Err(NotProposed::Stopped(error.to_string()))
        }
        Err(RaftError::Fatal(fatal)) => Err(NotProposed::Stopped(fatal.to_string())),
    }
}

fn answer_all(written: Result<Vec<Outcome>, NotProposed>, answers: Answers) {
    match written {
        Ok(outcomes) => {
            debug_assert_eq!(outcomes.len(), answers.len(), "one outcome for each request");
            for (answer, outcome) in answers.into_iter().zip(outcomes) {
                // Whoever asked may have gone; the change is made all the same.
                let _ = answer.send(Ok(outcome));
            }
        }
        Err(error) => {
            for answer in answers {
                let _ = answer.send(Err(error.clone()));
            }
        }
    }
}
