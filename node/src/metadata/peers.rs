//! The door to the other voters.
//!
//! Consensus says what to send; how it travels is somebody else's matter (`rpc::raft`, over
//! gRPC). Messages are opaque here and there: [`super::codec`] bytes of openraft's own types.

use std::{fmt::Debug, time::Duration};

use bytes::Bytes;
use futures_util::{future::BoxFuture, stream::BoxStream};

use super::{raft::NodeId, transfer::Frame};

/// What is asked of another voter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// Raft's AppendEntries (an empty one is the heartbeat).
    Append,
    /// Raft's RequestVote.
    Vote,
    /// Of the leader: up to which entry must a linearizable read wait?
    ReadIndex,
    /// Of any member: answer when all is applied there that was acknowledged before.
    Fresh,
    /// Of the leader: propose this request, answer its outcome.
    Propose,
    /// Of the leader: change who takes part in the group.
    ChangeMembers,
}

/// A voter as the membership knows it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Peer {
    /// Its id.
    pub id: NodeId,
    /// Where it listens, `host:port`.
    pub address: String,
}

/// A message that got no answer, or an answer that it could not be handled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("voter {peer} does not answer: {reason}")]
pub struct PeerUnreachable {
    /// Who.
    pub peer: NodeId,
    /// What was seen.
    pub reason: String,
}

/// Carries messages to other voters.
pub trait Peers: Debug + Send + Sync + 'static {
    /// Asks `peer`, for at most `within`. The answer is the bytes of the call's answer type.
    fn call(
        &self,
        peer: Peer,
        group: u16,
        call: Call,
        payload: Bytes,
        within: Duration,
    ) -> BoxFuture<'static, Result<Bytes, PeerUnreachable>>;

    /// Sends a whole state. `header` says which; a stream that ends without its last frame was
    /// given up.
    fn send_snapshot(
        &self,
        peer: Peer,
        group: u16,
        header: Bytes,
        frames: BoxStream<'static, Frame>,
    ) -> BoxFuture<'static, Result<Bytes, PeerUnreachable>>;
}

/// There are no others.
#[derive(Clone, Copy, Debug, Default)]
pub struct Alone;

impl Alone {
    fn nobody<T: Send + 'static>(peer: Peer) -> BoxFuture<'static, Result<T, PeerUnreachable>> {
        let reason = "this node has no way to other voters".to_owned();
        Box::pin(async move { Err(PeerUnreachable { peer: peer.id, reason }) })
    }
}

impl Peers for Alone {
    fn call(
        &self,
        peer: Peer,
        _: u16,
        _: Call,
        _: Bytes,
        _: Duration,
    ) -> BoxFuture<'static, Result<Bytes, PeerUnreachable>> {
        Self::nobody(peer)
    }

    fn send_snapshot(
        &self,
        peer: Peer,
        _: u16,
        _: Bytes,
        _: BoxStream<'static, Frame>,
    ) -> BoxFuture<'static, Result<Bytes, PeerUnreachable>> {
        Self::nobody(peer)
    }
}
