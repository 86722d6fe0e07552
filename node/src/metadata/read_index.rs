//! Linearizable reads: one question to the quorum serves everyone who was waiting.
//!
//! A read may be answered from the local state as soon as that state holds every change that was
//! acknowledged before the read began. Which change that is, only a leader that is still the leader
//! can say, and it must ask a quorum to know. One task asks for everyone who is waiting *when it
//! begins to ask*; who comes later waits for the next round, for a change may have been acknowledged
//! in between. No leases: they would trust clocks.
//!
//! A leader that was killed and is back before anybody noticed leads on in its term (openraft 0.9 restores
//! it), but has forgotten what was committed last: its log says what may have been. So in that term it
//! names no entry before the last that it found ([`Found`]).

use std::{sync::Arc, time::Duration};

use openraft::error::{CheckIsLeaderError, RaftError};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::{
    codec,
    peers::{Call, Peer, Peers},
    raft::{LogId, Raft},
};
use crate::io::plant::Plant;

/// Reads that may wait for the next round. A waiting read is a few words.
const WAITING_MAX: usize = 65_536;

/// Pause before the leader is asked again, or looked for.
const RETRY_PAUSE: Duration = Duration::from_millis(25);

/// What a voter found on its disk when it started.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Found {
    /// The term in which it had voted last.
    pub term: Option<u64>,
    /// The last entry of its log.
    pub last: Option<LogId>,
}

impl Found {
    /// The least that this voter may name when it is asked as the leader, and was seen in `term` before.
    /// What is seen of a term may be late, and is 0 right after the start; terms only grow.
    fn least(self, term: u64) -> Option<LogId> {
        if Plant::ForgottenCommit.is_planted() || self.term < Some(term) {
            return None;
        }
        self.last
    }
}

/// Why the state is not known to be fresh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NotFresh {
    /// No leader, no quorum, or not applied in time; the text says which.
    Unavailable(String),
    /// The group has stopped.
    Stopped(String),
}

/// The local state holds everything that was acknowledged before the question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fresh {
    /// The term in which this very node leads, if it was this node that the quorum confirmed.
    pub led_term: Option<u64>,
}

type Waiting = oneshot::Sender<Result<Fresh, NotFresh>>;

/// The way to fresh reads of one group.
#[derive(Clone, Debug)]
pub(super) struct ReadIndex {
    waiting: mpsc::Sender<Waiting>,
}

impl ReadIndex {
    /// Starts the rounds of a group; they end with `stop`. A round lasts at most `deadline`.
    pub fn start(
        group: u16,
        raft: Raft,
        peers: Arc<dyn Peers>,
        found: Found,
        deadline: Duration,
        stop: CancellationToken,
    ) -> Self {
        let (waiting, inbox) = mpsc::channel(WAITING_MAX);
        let rounds = Rounds { group, raft, peers, found, deadline };
        let task = rounds.run(inbox, stop);
        tokio::spawn(task.instrument(tracing::info_span!("metadata_read_index", group)));
        Self { waiting }
    }

    /// Returns once the local state holds everything that was acknowledged before the call.
    pub async fn fresh(&self) -> Result<Fresh, NotFresh> {
        let stopped = || NotFresh::Stopped("the read rounds have ended".to_owned());
        let (answer, done) = oneshot::channel();
        self.waiting.send(answer).await.map_err(|_| stopped())?;
        done.await.unwrap_or_else(|_| Err(stopped()))
    }
}

struct Rounds {
    group: u16,
    raft: Raft,
    peers: Arc<dyn Peers>,
    found: Found,
    deadline: Duration,
}

impl Rounds {
    async fn run(self, mut inbox: mpsc::Receiver<Waiting>, stop: CancellationToken) {
        loop {
            let first = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                received = inbox.recv() => match received {
                    Some(waiting) => waiting,
                    None => return,
                },
            };
            let mut round = vec![first];
            while let Ok(waiting) = inbox.try_recv() {
                round.push(waiting);
            }
            let answer = self.round().await;
            for waiting in round {
                // Whoever asked may have gone.
                let _ = waiting.send(answer.clone());
            }
        }
    }

    /// Asks until there is an answer or the deadline: a leader that changes is not seen by readers.
    async fn round(&self) -> Result<Fresh, NotFresh> {
        let mut seen = NotFresh::Unavailable("the leader does not answer".to_owned());
        let asking = async {
            loop {
                match self.wait_until_fresh().await {
                    Err(NotFresh::Unavailable(reason)) => seen = NotFresh::Unavailable(reason),
                    other => return other,
                }
                tokio::time::sleep(RETRY_PAUSE).await;
            }
        };
        match tokio::time::timeout(self.deadline, asking).await {
            Ok(answer) => answer,
            Err(_) => Err(seen),
        }
    }

    async fn wait_until_fresh(&self) -> Result<Fresh, NotFresh> {
        // A leader names no entry before the first of its own term.
        let term = |index: Option<LogId>| index.map(|log_id| log_id.leader_id.term);
        let (index, led_term) = match read_index(&self.raft, self.found).await {
            Ok(index) => (index, term(index)),
            Err(NotLeading::Leader(leader)) => (self.ask(leader).await?, None),
            Err(NotLeading::Nobody(reason)) => return Err(NotFresh::Unavailable(reason)),
            Err(NotLeading::Stopped(reason)) => return Err(NotFresh::Stopped(reason)),
        };
        let Some(index) = index.map(|log_id| log_id.index) else {
            return Ok(Fresh { led_term });
        };
        let applied = self.raft.wait(None).applied_index_at_least(Some(index), "read index").await;
        applied.map(|_| Fresh { led_term }).map_err(|error| NotFresh::Stopped(error.to_string()))
    }

    async fn ask(&self, leader: Peer) -> Result<Option<LogId>, NotFresh> {
        let unavailable = |reason: String| NotFresh::Unavailable(reason);
        let question = codec::encode(&()).map_err(|error| unavailable(error.to_string()))?;
        let asked =
            self.peers.call(leader, self.group, Call::ReadIndex, question.into(), self.deadline);
        let answer = asked.await.map_err(|error| unavailable(error.to_string()))?;
        codec::decode(&answer).map_err(|error| unavailable(error.to_string()))
    }
}

/// Why this voter cannot name a read index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NotLeading {
    /// Ask this one.
    Leader(Peer),
    /// No leader is known, or the quorum does not confirm this one.
    Nobody(String),
    /// The group has stopped.
    Stopped(String),
}

/// Up to which entry a read that begins now must wait, confirmed by a quorum.
pub(super) async fn read_index(raft: &Raft, found: Found) -> Result<Option<LogId>, NotLeading> {
    // Before the question: the answer is given in this term or a later one.
    let least = found.least(raft.metrics().borrow().current_term);
    match raft.get_read_log_id().await {
        Ok((read, _)) => Ok(read.max(least)),
        Err(RaftError::APIError(CheckIsLeaderError::ForwardToLeader(forward))) => {
            match forward.leader_id.zip(forward.leader_node) {
                Some((id, node)) => Err(NotLeading::Leader(Peer { id, address: node.addr })),
                None => Err(NotLeading::Nobody("no leader is known".to_owned())),
            }
        }
        Err(RaftError::APIError(CheckIsLeaderError::QuorumNotEnough(error))) => {
            Err(NotLeading::Nobody(error.to_string()))
        }
        Err(RaftError::Fatal(fatal)) => Err(NotLeading::Stopped(fatal.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use openraft::CommittedLeaderId;

    use super::*;

    #[test]
    fn a_leader_of_before_its_start_names_nothing_before_the_end_of_its_log() {
        let last = Some(LogId::new(CommittedLeaderId::new(3, 1), 16));
        let found = Found { term: Some(3), last };
        assert_eq!(found.least(3), last, "the term it was killed in");
        assert_eq!(found.least(0), last, "nothing is known of the term yet");
        assert_eq!(found.least(4), None, "whoever was elected since has an entry of its own");
        assert_eq!(Found::default().least(0), None, "a first start");
    }
}
