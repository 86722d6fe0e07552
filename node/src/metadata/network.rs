//! openraft's view of the [`Peers`]: one connection per group and voter.

use std::{future::Future, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt, future, stream};
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
    peers::{Call, Peer, Peers},
    raft::{NodeId, SnapshotMeta, TypeConfig, Vote},
    transfer::{Sender, SnapshotData},
};

/// Pause before a voter that did not answer is tried again.
const UNREACHABLE_BACKOFF: Duration = Duration::from_millis(200);

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
}

/// A way to one voter of one group.
#[derive(Clone, Debug)]
pub(super) struct Connection {
    group: u16,
    peers: Arc<dyn Peers>,
    peer: Peer,
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Connection;

    async fn new_client(&mut self, target: NodeId, node: &BasicNode) -> Connection {
        let peer = Peer { id: target, address: node.addr.clone() };
        Connection { group: self.group, peers: self.peers.clone(), peer }
    }
}

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

impl RaftNetwork<TypeConfig> for Connection {
    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<NodeId>, RPCError<NodeId, BasicNode, RaftError<NodeId>>> {
        Ok(self.call(Call::Append, &rpc, &option).await?)
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
