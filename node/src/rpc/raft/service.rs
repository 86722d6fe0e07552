//! The answering side.

use atoll_core::view::NodeId;
use atoll_proto::raft::v1::{
    Envelope, RaftReply, RaftRequest, SnapshotPart,
    raft_server::{Raft, RaftServer},
    snapshot_part::Part,
};
use bytes::Bytes;
use futures_util::StreamExt;
use tonic::{Request, Response, Status, Streaming};

use super::{MESSAGE_BYTES_MAX, PAYLOAD_VERSION};
use crate::{
    metadata::{Frame, HandleError, Metadata, ReceiveSnapshotError, peers::Call},
    wire::peer::check_sender,
};

/// Answers the messages of other voters out of this node's [`Metadata`].
#[derive(Clone, Debug)]
pub struct RaftService {
    metadata: Metadata,
}

impl RaftService {
    /// The service, ready to be routed.
    pub fn server(metadata: Metadata) -> RaftServer<Self> {
        RaftServer::new(Self { metadata })
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// The group that `envelope` speaks to, if it speaks to this node at all.
    fn group(&self, envelope: Option<Envelope>) -> Result<u16, Status> {
        let envelope = envelope.ok_or_else(|| Status::invalid_argument("no envelope"))?;
        let ours = self.metadata.cluster_id();
        if envelope.cluster_id != ours {
            let theirs = envelope.cluster_id;
            return Err(Status::failed_precondition(format!(
                "this is cluster `{ours}`, the message is of cluster `{theirs}`"
            )));
        }
        let sender = u16::try_from(envelope.sender);
        check_sender(NodeId(sender.map_err(|_| Status::invalid_argument("no such sender"))?))?;
        if envelope.payload_version != PAYLOAD_VERSION {
            return Err(Status::failed_precondition(format!(
                "this node speaks payload version {PAYLOAD_VERSION}, the message is of version {}",
                envelope.payload_version
            )));
        }
        u16::try_from(envelope.group)
            .map_err(|_| Status::not_found(format!("no metadata group {}", envelope.group)))
    }

    async fn answer(
        &self,
        call: Call,
        request: Request<RaftRequest>,
    ) -> Result<Response<RaftReply>, Status> {
        let request = request.into_inner();
        let group = self.group(request.envelope)?;
        let answer = self.metadata.handle(group, call, &request.payload).await;
        reply(answer.map_err(|error| status(&error))?)
    }
}

fn reply(payload: Bytes) -> Result<Response<RaftReply>, Status> {
    Ok(Response::new(RaftReply { payload }))
}

fn status(error: &HandleError) -> Status {
    let message = error.to_string();
    match error {
        HandleError::UnknownGroup(_) => Status::not_found(message),
        HandleError::Malformed(_) => Status::invalid_argument(message),
        HandleError::NotNow(_) | HandleError::Stopped(_) => Status::unavailable(message),
    }
}

#[tonic::async_trait]
impl Raft for RaftService {
    async fn append(&self, request: Request<RaftRequest>) -> Result<Response<RaftReply>, Status> {
        self.answer(Call::Append, request).await
    }

    async fn vote(&self, request: Request<RaftRequest>) -> Result<Response<RaftReply>, Status> {
        self.answer(Call::Vote, request).await
    }

    async fn read_index(
        &self,
        request: Request<RaftRequest>,
    ) -> Result<Response<RaftReply>, Status> {
        self.answer(Call::ReadIndex, request).await
    }

    async fn fresh(&self, request: Request<RaftRequest>) -> Result<Response<RaftReply>, Status> {
        self.answer(Call::Fresh, request).await
    }

    async fn propose(&self, request: Request<RaftRequest>) -> Result<Response<RaftReply>, Status> {
        self.answer(Call::Propose, request).await
    }

    async fn change_members(
        &self,
        request: Request<RaftRequest>,
    ) -> Result<Response<RaftReply>, Status> {
        self.answer(Call::ChangeMembers, request).await
    }

    async fn install_snapshot(
        &self,
        request: Request<Streaming<SnapshotPart>>,
    ) -> Result<Response<RaftReply>, Status> {
        let mut parts = request.into_inner();
        let head = match parts.message().await?.and_then(|first| first.part) {
            Some(Part::Head(head)) => head,
            _ => return Err(Status::invalid_argument("the first part must be the head")),
        };
        let group = self.group(head.envelope)?;
        let frames = parts.map(|part| match part?.part {
            Some(Part::Frame(frame)) => Ok(Frame::from(frame)),
            _ => Err(Status::invalid_argument("only frames may follow the head")),
        });
        match self.metadata.receive_snapshot(group, &head.payload, frames).await {
            Ok(answer) => reply(answer),
            Err(ReceiveSnapshotError::Handle(error)) => Err(status(&error)),
            Err(ReceiveSnapshotError::Transfer(error)) => Err(Status::aborted(error.to_string())),
        }
    }
}
