//! The coordination service over gRPC: heartbeats between nodes, and everything an external client
//! needs. It stands on this node's [`Embedded`] server.

mod convert;

use std::{pin::Pin, time::Duration};

use atoll_core::coordination::{SessionId, Zxid};
use atoll_proto::coordination::v1::{
    ChangeReply, ChangeRequest, CloseSessionReply, CloseSessionRequest, Ended, KeepAliveReply,
    KeepAliveRequest, Leader, Lives, OpenSessionReply, OpenSessionRequest, ReadReply, ReadRequest,
    SyncReply, SyncRequest, WatchReply, WatchRequest,
    coordination_server::{Coordination, CoordinationServer},
    keep_alive_reply::Answer,
};
use atoll_proto::wire::v1::Envelope;
use futures_util::{Stream, StreamExt, stream};
use tonic::{Request, Response, Status};

use crate::coordination::{
    CoordinationError, EventQueue,
    embedded::{Embedded, KeepAlive},
};

/// Largest message: the data of one `multi`, and room for names.
const MESSAGE_BYTES_MAX: usize = 4 << 20;

/// Answers coordination calls out of this node's server.
#[derive(Clone, Debug)]
pub struct CoordinationService {
    coordinator: Embedded,
}

impl CoordinationService {
    /// The service, ready to be routed.
    pub fn server(coordinator: Embedded) -> CoordinationServer<Self> {
        CoordinationServer::new(Self { coordinator })
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// Is it of this cluster? No answer here depends on the view.
    fn admit(&self, envelope: Option<Envelope>) -> Result<Envelope, Status> {
        let envelope = envelope.ok_or_else(|| Status::invalid_argument("no envelope"))?;
        let ours = self.coordinator.metadata().cluster_id();
        if envelope.cluster_id != ours {
            let theirs = envelope.cluster_id;
            return Err(Status::failed_precondition(format!(
                "this is cluster `{ours}`, the message is of cluster `{theirs}`"
            )));
        }
        Ok(envelope)
    }
}

/// A refused change is an answer; these are what prevented one.
fn status(error: &CoordinationError) -> Status {
    let message = error.to_string();
    match error {
        CoordinationError::Refused { .. } => Status::invalid_argument(message),
        CoordinationError::Ended => Status::not_found(message),
        CoordinationError::Unknown(_) => Status::unavailable(message),
        CoordinationError::Failed(_) => Status::internal(message),
    }
}

#[tonic::async_trait]
impl Coordination for CoordinationService {
    async fn open_session(
        &self,
        request: Request<OpenSessionRequest>,
    ) -> Result<Response<OpenSessionReply>, Status> {
        let request = request.into_inner();
        let owner = self.admit(request.envelope)?.sender;
        let owner = u16::try_from(owner)
            .map_err(|_| Status::invalid_argument("the sender is not a node number"))?;
        let asked = Duration::from_millis(request.timeout_ms);
        let opened = self.coordinator.open(asked, owner).await;
        let (session, timeout, zxid) = opened.map_err(|error| status(&error))?;
        let timeout_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        Ok(Response::new(OpenSessionReply { session: session.0, timeout_ms, zxid: zxid.0 }))
    }

    async fn close_session(
        &self,
        request: Request<CloseSessionRequest>,
    ) -> Result<Response<CloseSessionReply>, Status> {
        let request = request.into_inner();
        self.admit(request.envelope)?;
        let ended = self.coordinator.end(SessionId(request.session)).await;
        ended.map_err(|error| status(&error))?;
        Ok(Response::new(CloseSessionReply {}))
    }

    async fn keep_alive(
        &self,
        request: Request<KeepAliveRequest>,
    ) -> Result<Response<KeepAliveReply>, Status> {
        let request = request.into_inner();
        self.admit(request.envelope)?;
        let answer = match self.coordinator.keep_alive(SessionId(request.session)).await {
            KeepAlive::Lives => Some(Answer::Lives(Lives {})),
            KeepAlive::Ended => Some(Answer::Ended(Ended {})),
            KeepAlive::NotLeader(leader) => leader
                .leader
                .map(|peer| Answer::Leader(Leader { node: peer.id, address: peer.address })),
            KeepAlive::Unsure => None,
        };
        Ok(Response::new(KeepAliveReply { answer }))
    }

    async fn change(
        &self,
        request: Request<ChangeRequest>,
    ) -> Result<Response<ChangeReply>, Status> {
        let request = request.into_inner();
        self.admit(request.envelope)?;
        let ops = request.ops.into_iter().map(convert::op).collect::<Option<Vec<_>>>();
        let ops = ops.ok_or_else(|| Status::invalid_argument("an operation is of no kind"))?;
        let changed = self.coordinator.change(SessionId(request.session), ops).await;
        let (zxid, verdict) = changed.map_err(|error| status(&error))?;
        Ok(Response::new(convert::change_reply(zxid, verdict)))
    }

    async fn read(&self, request: Request<ReadRequest>) -> Result<Response<ReadReply>, Status> {
        let request = request.into_inner();
        self.admit(request.envelope)?;
        let (seen, path) = (Zxid(request.last_zxid), request.path.as_str());
        let reply = if request.children {
            let read = self.coordinator.children(seen, path).await;
            let read = read.map_err(|error| status(&error))?;
            let (children, stat) = read.found.unzip();
            let children = children.unwrap_or_default();
            let stat = stat.map(convert::stat);
            ReadReply { zxid: read.zxid.0, stat, children, ..ReadReply::default() }
        } else {
            let read = self.coordinator.get(seen, path).await.map_err(|error| status(&error))?;
            let (data, stat) = read.found.unzip();
            let data = data.unwrap_or_default().into();
            let stat = stat.map(convert::stat);
            ReadReply { zxid: read.zxid.0, stat, data, ..ReadReply::default() }
        };
        Ok(Response::new(reply))
    }

    async fn sync(&self, request: Request<SyncRequest>) -> Result<Response<SyncReply>, Status> {
        self.admit(request.into_inner().envelope)?;
        let zxid = self.coordinator.catch_up().await.map_err(|error| status(&error))?;
        Ok(Response::new(SyncReply { zxid: zxid.0 }))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<WatchReply, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let request = request.into_inner();
        let kind = convert::watch_kind(request.kind());
        let kind = kind.ok_or_else(|| Status::invalid_argument("a watch of no kind"))?;
        self.admit(request.envelope)?;
        let (session, since) = (SessionId(request.session), Zxid(request.last_zxid));
        let watched = self.coordinator.watch_since(session, &request.path, kind, since).await;
        let queue = watched.map_err(|error| status(&error))?;
        // The client has read a state that is behind what was told here: it must read again.
        let queue = queue.ok_or_else(|| Status::aborted("something has happened since"))?;
        let first = stream::once(async { Ok(WatchReply::default()) });
        Ok(Response::new(first.chain(events(queue)).boxed()))
    }
}

fn events(queue: EventQueue) -> impl Stream<Item = Result<WatchReply, Status>> + Send {
    stream::unfold(queue, |mut queue| async move {
        let event = queue.next().await?;
        Some((Ok(convert::watch_reply(event)), queue))
    })
}
