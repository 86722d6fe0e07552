//! openraft's view of the [`Peers`]: one connection per group and voter.

use std::{
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{
    StreamExt,
    future::{self, BoxFuture},
    stream,
};
use openraft::{
    AnyError, BasicNode, OptionalSend, RaftNetwork, RaftNetworkFactory,
    error::{
        Fatal, NetworkError, RPCError, RaftError, ReplicationClosed, StreamingError, Unreachable,
    },
    network::{Backoff, RPCOption},
    raft::{
        AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse,
    },
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tracing::warn;

use super::{
    codec,
    mute::Mute,
    peers::{Call, Peer, PeerUnreachable, Peers},
    raft::{LogId, NodeId, SnapshotMeta, TypeConfig, Vote},
    transfer::{Sender, SnapshotData},
};
use crate::io::plant::Plant;

/// Pause before a voter that did not answer is tried again.
const UNREACHABLE_BACKOFF: Duration = Duration::from_millis(200);

/// How long a voter may take to make entries durable. A busy disk syncs in hundreds of milliseconds.
const APPEND_WAIT: Duration = Duration::from_secs(5);

/// What precedes the frames of a state.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct SnapshotHeader {
    /// The sender's vote: an old leader's state is refused.
    pub vote: Vote,
    /// Position and membership of the state.
    pub meta: SnapshotMeta,
}

/// Makes connections for one group.
#[derive(Clone, Debug)]
pub(super) struct Network {
    pub group: u16,
    pub peers: Arc<dyn Peers>,
    /// Is this node to tell the others nothing as their leader?
    pub mute: Mute,
}

/// A way to one voter of one group.
pub(super) struct Connection {
    group: u16,
    peers: Arc<dyn Peers>,
    mute: Mute,
    peer: Peer,
    sent: Option<Sent>,
}

/// Entries on their way to a voter.
///
/// openraft gives a request up after one heartbeat interval and soon sends the entries again. With a
/// disk that syncs more slowly than that it would send them for ever and never hear an answer. So
/// the request goes on here, and the next attempt at the same entries takes its answer.
struct Sent {
    vote: Vote,
    prev: Option<LogId>,
    last: LogId,
    /// In a mutex only because a future cannot be shared, which a connection must allow.
    answer: Mutex<BoxFuture<'static, Result<Bytes, PeerUnreachable>>>,
}

impl Sent {
    /// Are these the first of the entries that are to be sent now? A leader's log only grows, so
    /// under one vote entries behind the same one begin alike.
    fn begins(&self, rpc: &AppendEntriesRequest<TypeConfig>, last: LogId) -> bool {
        self.vote == rpc.vote && self.prev == rpc.prev_log_id && self.last.index <= last.index
    }
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Connection;

    async fn new_client(&mut self, target: NodeId, node: &BasicNode) -> Connection {
        let peer = Peer { id: target, address: node.addr.clone() };
        let Network { group, peers, mute } = self.clone();
        Connection { group, peers, mute, peer, sent: None }
    }
}

/// Why a leader tells a voter nothing.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("no quorum answers this leader")]
struct Silent;

fn unreachable(error: &(impl std::error::Error + 'static)) -> Unreachable {
    Unreachable::new(error)
}

impl Connection {
    async fn call<Q: Serialize, A: DeserializeOwned>(
        &self,
        call: Call,
        question: &Q,
        option: &RPCOption,
    ) -> Result<A, Unreachable> {
        let payload: Bytes = codec::encode(question).map_err(|error| unreachable(&error))?.into();
        let within = option.hard_ttl();
        let answer = self.peers.call(self.peer.clone(), self.group, call, payload, within).await;
        let answer = answer.map_err(|error| unreachable(&error))?;
        codec::decode(&answer).map_err(|error| unreachable(&error))
    }
}

impl Connection {
    /// Sends entries, or waits for those that are on their way already. Cancelled, it can be called
    /// again.
    async fn append(
        &mut self,
        rpc: AppendEntriesRequest<TypeConfig>,
        last: LogId,
    ) -> Result<AppendEntriesResponse<NodeId>, Unreachable> {
        let sent = match self.sent.take().filter(|sent| sent.begins(&rpc, last)) {
            Some(sent) => sent,
            None => {
                let payload = codec::encode(&rpc).map_err(|error| unreachable(&error))?.into();
                let peer = self.peer.clone();
                let call = self.peers.call(peer, self.group, Call::Append, payload, APPEND_WAIT);
                Sent { vote: rpc.vote, prev: rpc.prev_log_id, last, answer: Mutex::new(call) }
            }
        };
        let sent = self.sent.insert(sent);
        let answer = sent.answer.get_mut().unwrap_or_else(PoisonError::into_inner).await;
        let arrived = sent.last;
        self.sent = None;
        let answer = answer.map_err(|error| unreachable(&error))?;
        match codec::decode(&answer).map_err(|error| unreachable(&error))? {
            AppendEntriesResponse::Success if arrived != last => {
                Ok(AppendEntriesResponse::PartialSuccess(Some(arrived)))
            }
            answer => Ok(answer),
        }
    }
}

impl RaftNetwork<TypeConfig> for Connection {
    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<NodeId>, RPCError<NodeId, BasicNode, RaftError<NodeId>>> {
        if self.mute.is_on() && !Plant::DeafLeader.is_planted() {
            return Err(unreachable(&Silent).into());
        }
        match rpc.entries.last().map(|entry| entry.log_id) {
            Some(last) => Ok(self.append(rpc, last).await?),
            // A heartbeat says that the leader lives now: an old answer would be worth nothing.
            None => Ok(self.call(Call::Append, &rpc, &option).await?),
        }
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<NodeId>,
        option: RPCOption,
    ) -> Result<VoteResponse<NodeId>, RPCError<NodeId, BasicNode, RaftError<NodeId>>> {
        Ok(self.call(Call::Vote, &rpc, &option).await?)
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: openraft::Snapshot<TypeConfig>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<NodeId>, StreamingError<TypeConfig, Fatal<NodeId>>> {
        let SnapshotData::Local(rows) = *snapshot.snapshot else {
            let error = AnyError::error("not a view of this node's state");
            return Err(NetworkError::new(&error).into());
        };
        let header = SnapshotHeader { vote, meta: snapshot.meta };
        let header: Bytes = codec::encode(&header).map_err(|error| unreachable(&error))?.into();
        let frames = stream::unfold(Sender::new(*rows), |sender| async move {
            match sender.next().await {
                Ok(next) => next,
                // The stream ends without its last frame, which the receiver takes for given up.
                Err(error) => {
                    warn!(%error, "cannot read the state that is being sent");
                    None
                }
            }
        });
        let sent = self.peers.send_snapshot(self.peer.clone(), self.group, header, frames.boxed());
        let answer = match future::select(sent, Box::pin(cancel)).await {
            future::Either::Left((answer, _)) => answer.map_err(|error| unreachable(&error))?,
            future::Either::Right((closed, _)) => return Err(closed.into()),
        };
        Ok(codec::decode(&answer).map_err(|error| unreachable(&error))?)
    }

    fn backoff(&self) -> Backoff {
        Backoff::new(std::iter::repeat(UNREACHABLE_BACKOFF))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::stream::BoxStream;
    use openraft::{CommittedLeaderId, Entry};

    use super::*;
    use crate::metadata::transfer::Frame;

    /// A voter whose disk is slower than the library's patience.
    #[derive(Debug, Default)]
    struct Slow {
        calls: AtomicUsize,
    }

    const DISK: Duration = Duration::from_millis(250);

    impl Peers for Slow {
        fn call(
            &self,
            _: Peer,
            _: u16,
            _: Call,
            _: Bytes,
            _: Duration,
        ) -> BoxFuture<'static, Result<Bytes, PeerUnreachable>> {
            self.calls.fetch_add(1, Ordering::Relaxed);
            let done = tokio::time::Instant::now() + DISK;
            Box::pin(async move {
                tokio::time::sleep_until(done).await;
                let answer = AppendEntriesResponse::<NodeId>::Success;
                Ok(codec::encode(&answer).expect("encodes").into())
            })
        }

        fn send_snapshot(
            &self,
            peer: Peer,
            _: u16,
            _: Bytes,
            _: BoxStream<'static, Frame>,
        ) -> BoxFuture<'static, Result<Bytes, PeerUnreachable>> {
            let reason = "not in this test".to_owned();
            Box::pin(async move { Err(PeerUnreachable { peer: peer.id, reason }) })
        }
    }

    fn log_id(index: u64) -> LogId {
        LogId::new(CommittedLeaderId::new(1, 1), index)
    }

    fn entries(last: u64) -> AppendEntriesRequest<TypeConfig> {
        let entry = |index| Entry { log_id: log_id(index), payload: openraft::EntryPayload::Blank };
        AppendEntriesRequest {
            vote: Vote::new_committed(1, 1),
            prev_log_id: Some(log_id(4)),
            entries: (5..=last).map(entry).collect(),
            leader_commit: None,
        }
    }

    #[tokio::test]
    async fn a_disk_slower_than_the_patience_of_the_library_is_waited_for() {
        let slow = Arc::new(Slow::default());
        let mut network = Network { group: 0, peers: slow.clone(), mute: Mute::default() };
        let mut connection = network.new_client(2, &BasicNode::new("there:1")).await;
        let patience = Duration::from_millis(100);
        let option = || RPCOption::new(patience);
        let mut attempts = 0;
        let answer = loop {
            attempts += 1;
            // More entries have come by the second attempt.
            let rpc = entries(if attempts == 1 { 6 } else { 8 });
            let asked = connection.append_entries(rpc, option());
            if let Ok(answer) = tokio::time::timeout(patience, asked).await {
                break answer.expect("an answer");
            }
            assert!(attempts < 10, "the answer was never heard");
        };
        assert!(attempts > 1);
        assert_eq!(slow.calls.load(Ordering::Relaxed), 1, "sent once");
        let AppendEntriesResponse::PartialSuccess(arrived) = answer else { panic!("{answer:?}") };
        assert_eq!(arrived, Some(log_id(6)), "what had been sent, and no more");
    }

    #[tokio::test]
    async fn other_entries_are_not_answered_for() {
        let slow = Arc::new(Slow::default());
        let mut network = Network { group: 0, peers: slow.clone(), mute: Mute::default() };
        let mut connection = network.new_client(2, &BasicNode::new("there:1")).await;
        let option = || RPCOption::new(DISK);
        let first = connection.append_entries(entries(6), option());
        assert!(tokio::time::timeout(DISK / 10, first).await.is_err());
        let mut other = entries(6);
        other.prev_log_id = Some(log_id(3));
        let answer = connection.append_entries(other, option()).await.expect("an answer");
        assert!(matches!(answer, AppendEntriesResponse::Success));
        assert_eq!(slow.calls.load(Ordering::Relaxed), 2);
    }
}
