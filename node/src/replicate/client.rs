//! Calls to the blob service of another node.

use std::time::Duration;

use atoll_core::{
    Digest,
    view::{Epoch, NodeId},
};
use atoll_proto::blobs::v1::{
    DeleteRequest, DeletedCopy, FetchRequest, GetPart, GetRequest, HaveRequest, Held, HeldState,
    PinRequest, blobs_client::BlobsClient, get_part,
};
use bytes::Bytes;
use tonic::{Code, Status, Streaming};

use crate::{cluster::Cluster, wire::Channel};

/// Bytes of a blob in one message. Large enough that the cost of a message does not count, and well
/// below what a node takes at once.
pub const DATA_BYTES: usize = 1 << 20;

/// Largest message of the service: one piece of data, or some ten thousand digests.
pub const MESSAGE_BYTES_MAX: usize = 4 << 20;

const _: () = assert!(DATA_BYTES * 2 <= MESSAGE_BYTES_MAX, "data and its frame fit into a message");

/// Digests in one question. Each is less than 150 bytes.
pub const DIGESTS_MAX: usize = 10_000;

/// How long a small question may take. A node that is alive answers in milliseconds; one that is not
/// is noticed by its connection within three seconds.
const ASK_TIMEOUT: Duration = Duration::from_secs(3);

/// How long an owner may take to pull a copy from its peers.
const FETCH_TIMEOUT: Duration = Duration::from_secs(600);

/// How long a peer may go without sending the next bytes of a blob.
pub const STALL_TIMEOUT: Duration = Duration::from_secs(5);

/// What a node holds of a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holding {
    /// A durable copy of this many bytes.
    Present(u64),
    /// None.
    Absent,
    /// A damaged one, or nobody can tell.
    Unknown,
}

impl From<Held> for Holding {
    fn from(held: Held) -> Self {
        match held.state() {
            HeldState::Present => Holding::Present(held.size),
            HeldState::Absent => Holding::Absent,
            HeldState::Unknown | HeldState::Unspecified => Holding::Unknown,
        }
    }
}

impl From<Holding> for Held {
    fn from(holding: Holding) -> Self {
        let (state, size) = match holding {
            Holding::Present(size) => (HeldState::Present, size),
            Holding::Absent => (HeldState::Absent, 0),
            Holding::Unknown => (HeldState::Unknown, 0),
        };
        Held { state: state.into(), size }
    }
}

/// The blob service of one peer.
#[derive(Clone, Debug)]
pub struct Peer<'a> {
    cluster: &'a Cluster,
    node: NodeId,
}

impl<'a> Peer<'a> {
    /// The peer `node`.
    pub fn new(cluster: &'a Cluster, node: NodeId) -> Peer<'a> {
        Peer { cluster, node }
    }

    /// A client, ready to call.
    ///
    /// # Errors
    /// It is no member.
    pub fn client(&self) -> Result<BlobsClient<Channel>, Status> {
        let client = BlobsClient::new(self.cluster.channel(self.node)?);
        Ok(client
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX))
    }

    /// Notes whether the peer can be reached, as the outcome of a call tells.
    pub fn noted<T>(&self, outcome: Result<T, Status>) -> Result<T, Status> {
        match &outcome {
            Ok(_) => self.cluster.trust(self.node),
            Err(status) if is_unreachable(status) => self.cluster.suspect(self.node),
            Err(_) => {}
        }
        outcome
    }

    async fn ask<T>(
        &self,
        within: Duration,
        call: impl Future<Output = Result<tonic::Response<T>, Status>>,
    ) -> Result<T, Status> {
        let late = || Status::deadline_exceeded(format!("no answer within {within:?}"));
        let outcome = tokio::time::timeout(within, call).await.unwrap_or_else(|_| Err(late()));
        self.noted(outcome.map(tonic::Response::into_inner))
    }

    /// Which of the digests it holds, and the epoch of its view when it looked.
    ///
    /// # Errors
    /// Those of the call.
    pub async fn have(&self, digests: &[Digest]) -> Result<(Vec<Holding>, Epoch), Status> {
        let request = HaveRequest {
            envelope: Some(self.cluster.envelope()),
            digests: digests.iter().map(ToString::to_string).collect(),
        };
        let reply = self.ask(ASK_TIMEOUT, self.client()?.have(request)).await?;
        let epoch = Epoch(reply.epoch);
        Ok((one_each(reply.held.into_iter().map(Holding::from).collect(), digests)?, epoch))
    }

    /// Pins the digests, and says which it holds, and the epoch of its view when it looked.
    ///
    /// # Errors
    /// Those of the call.
    pub async fn pin(
        &self,
        digests: &[Digest],
        stamp: u64,
    ) -> Result<(Vec<Holding>, Epoch), Status> {
        let request = PinRequest {
            envelope: Some(self.cluster.envelope()),
            digests: digests.iter().map(ToString::to_string).collect(),
            stamp,
        };
        let reply = self.ask(ASK_TIMEOUT, self.client()?.pin(request)).await?;
        let epoch = Epoch(reply.epoch);
        Ok((one_each(reply.held.into_iter().map(Holding::from).collect(), digests)?, epoch))
    }

    /// Deletes what is stamped below `older_than`.
    ///
    /// # Errors
    /// Those of the call.
    pub async fn delete(
        &self,
        digests: &[Digest],
        older_than: u64,
    ) -> Result<Vec<DeletedCopy>, Status> {
        let request = DeleteRequest {
            envelope: Some(self.cluster.envelope()),
            digests: digests.iter().map(ToString::to_string).collect(),
            older_than,
        };
        let reply = self.ask(FETCH_TIMEOUT, self.client()?.delete(request)).await?;
        one_each(reply.copies, digests)
    }

    /// Makes it pull a copy from its peers.
    ///
    /// # Errors
    /// Those of the call.
    pub async fn fetch(&self, digest: &Digest) -> Result<u64, Status> {
        let envelope = Some(self.cluster.envelope());
        let request = FetchRequest { envelope, digest: digest.to_string() };
        Ok(self.ask(FETCH_TIMEOUT, self.client()?.fetch(request)).await?.size)
    }

    /// Begins to read `[offset, end)` of a blob of `size` bytes; answers when its first bytes are
    /// here.
    ///
    /// # Errors
    /// Those of the call; `DATA_LOSS` when the peer's copy has another length.
    pub async fn get(
        &self,
        digest: &Digest,
        offset: u64,
        end: u64,
        size: u64,
    ) -> Result<(Bytes, Streaming<GetPart>), Status> {
        let request = GetRequest {
            envelope: Some(self.cluster.envelope()),
            digest: digest.to_string(),
            offset,
            length: Some(end - offset),
        };
        let begin = async {
            let mut parts = self.client()?.get(request).await?.into_inner();
            match next_part(&mut parts).await? {
                Some(get_part::Part::Head(head)) if head.size == size => {}
                Some(get_part::Part::Head(head)) => {
                    let message = format!("a copy of {} bytes instead of {size}", head.size);
                    return Err(Status::data_loss(message));
                }
                _ => return Err(Status::internal("the first part is not the head")),
            }
            let first = if offset == end { Bytes::new() } else { next_bytes(&mut parts).await? };
            Ok((first, parts))
        };
        let late = || Status::unavailable(format!("no byte within {STALL_TIMEOUT:?}"));
        let begun = tokio::time::timeout(STALL_TIMEOUT, begin).await;
        self.noted(begun.unwrap_or_else(|_| Err(late())))
    }
}

/// The next bytes of a blob.
///
/// # Errors
/// The stream broke, or stalled, or ended.
pub async fn next_bytes(parts: &mut Streaming<GetPart>) -> Result<Bytes, Status> {
    let next = tokio::time::timeout(STALL_TIMEOUT, next_part(parts)).await;
    match next.unwrap_or_else(|_| Err(Status::unavailable("the stream stalled")))? {
        Some(get_part::Part::Data(data)) if !data.is_empty() => Ok(data),
        Some(_) => Err(Status::internal("a part without data")),
        None => Err(Status::unavailable("the stream ended before its time")),
    }
}

async fn next_part(parts: &mut Streaming<GetPart>) -> Result<Option<get_part::Part>, Status> {
    Ok(parts.message().await?.and_then(|part| part.part))
}

fn one_each<T>(answers: Vec<T>, asked: &[Digest]) -> Result<Vec<T>, Status> {
    if answers.len() == asked.len() {
        return Ok(answers);
    }
    let (got, wanted) = (answers.len(), asked.len());
    Err(Status::internal(format!("{got} answers to a question about {wanted} blobs")))
}

/// Does this say that the node could not be reached, rather than that it did not want to?
pub fn is_unreachable(status: &Status) -> bool {
    matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled)
}
