//! The messages of the metadata groups over gRPC: [`RaftPeers`] sends them, [`RaftService`] answers.

mod service;

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use atoll_core::view;
use atoll_proto::raft::v1::{
    Envelope, RaftReply, RaftRequest, SnapshotFrame, SnapshotHead, SnapshotPart,
    raft_client::RaftClient, snapshot_part::Part,
};
use bytes::Bytes;
use futures_util::{Stream, future::BoxFuture, stream::BoxStream};
use tonic::{Response, Status};

pub use self::service::RaftService;
use crate::cluster::relocation::Hints;
use crate::metadata::{
    Frame, NodeId,
    peers::{Call, Peer, PeerUnreachable, Peers},
};
use crate::wire::{
    Security,
    channel::{BadAddress, Channel},
};

/// Format of the opaque payloads; see `metadata`'s codec, which has its own byte for it.
pub const PAYLOAD_VERSION: u32 = 1;

/// Largest message. A follower is sent 4 MiB of entries and one more entry at most, and an entry is a
/// batch of 256 KiB or one request, which is no larger than a manifest and its annotations.
pub const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// How long a state may be on its way. A state of 10 GiB takes a few minutes.
const SNAPSHOT_TIMEOUT: Duration = Duration::from_secs(3600);

/// The way to the other voters.
#[derive(Clone, Debug)]
pub struct RaftPeers {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    cluster_id: String,
    node: NodeId,
    security: Security,
    hints: Hints,
    /// One for each node and address ever met: as many as the cluster had nodes.
    channels: Mutex<BTreeMap<(NodeId, String), Channel>>,
}

impl RaftPeers {
    /// For node `node` of cluster `cluster_id`.
    pub fn new(cluster_id: impl Into<String>, node: NodeId, security: Security) -> Self {
        let (cluster_id, channels) = (cluster_id.into(), Mutex::default());
        let hints = Hints::default();
        Self { inner: Arc::new(Inner { cluster_id, node, security, hints, channels }) }
    }

    /// Where nodes have said that they are, which counts until the groups know.
    pub fn hints(&self) -> Hints {
        self.inner.hints.clone()
    }

    fn client(&self, peer: &Peer) -> Result<RaftClient<Channel>, BadAddress> {
        let address = match u16::try_from(peer.id) {
            Ok(node) => self.inner.hints.resolve(view::NodeId(node), &peer.address),
            Err(_) => peer.address.clone(),
        };
        let peer = &Peer { id: peer.id, address };
        let mut channels = self.inner.channels.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (peer.id, peer.address.clone());
        let channel = match channels.get(&key) {
            Some(channel) => channel.clone(),
            None => {
                let channel = self.inner.connect(peer)?;
                channels.insert(key, channel.clone());
                channel
            }
        };
        Ok(RaftClient::new(channel)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX))
    }

    fn envelope(&self, group: u16) -> Envelope {
        Envelope {
            cluster_id: self.inner.cluster_id.clone(),
            sender: self.inner.node,
            group: u32::from(group),
            payload_version: PAYLOAD_VERSION,
        }
    }
}

impl Inner {
    fn connect(&self, peer: &Peer) -> Result<Channel, BadAddress> {
        match u16::try_from(peer.id) {
            Ok(node) => Channel::to_node(view::NodeId(node), &peer.address, &self.security),
            Err(_) => Err(BadAddress(format!("node {}", peer.id))),
        }
    }
}

/// Waits for an answer, for at most `within`.
async fn answer(
    peer: NodeId,
    within: Duration,
    call: impl Future<Output = Result<Response<RaftReply>, Status>>,
) -> Result<Bytes, PeerUnreachable> {
    let reason = match tokio::time::timeout(within, call).await {
        Ok(Ok(reply)) => return Ok(reply.into_inner().payload),
        Ok(Err(status)) => format!("{:?}: {}", status.code(), status.message()),
        Err(_) => format!("no answer within {within:?}"),
    };
    Err(PeerUnreachable { peer, reason })
}

fn unreachable(peer: NodeId, error: &BadAddress) -> PeerUnreachable {
    PeerUnreachable { peer, reason: error.to_string() }
}

impl Peers for RaftPeers {
    fn call(
        &self,
        peer: Peer,
        group: u16,
        call: Call,
        payload: Bytes,
        within: Duration,
    ) -> BoxFuture<'static, Result<Bytes, PeerUnreachable>> {
        let request = RaftRequest { envelope: Some(self.envelope(group)), payload };
        let client = self.client(&peer);
        Box::pin(async move {
            let mut client = client.map_err(|error| unreachable(peer.id, &error))?;
            match call {
                Call::Append => answer(peer.id, within, client.append(request)).await,
                Call::Vote => answer(peer.id, within, client.vote(request)).await,
                Call::Fresh => answer(peer.id, within, client.fresh(request)).await,
                Call::ReadIndex => answer(peer.id, within, client.read_index(request)).await,
                Call::Propose => answer(peer.id, within, client.propose(request)).await,
                Call::ChangeMembers => {
                    answer(peer.id, within, client.change_members(request)).await
                }
            }
        })
    }

    fn send_snapshot(
        &self,
        peer: Peer,
        group: u16,
        header: Bytes,
        frames: BoxStream<'static, Frame>,
    ) -> BoxFuture<'static, Result<Bytes, PeerUnreachable>> {
        let head = SnapshotHead { envelope: Some(self.envelope(group)), payload: header };
        let parts = Parts { head: Some(head), frames };
        let client = self.client(&peer);
        Box::pin(async move {
            let mut client = client.map_err(|error| unreachable(peer.id, &error))?;
            answer(peer.id, SNAPSHOT_TIMEOUT, client.install_snapshot(parts)).await
        })
    }
}

/// A head and its frames, as one stream. A type of its own and not combinators: with those the
/// compiler cannot prove that the call is `Send`.
struct Parts {
    head: Option<SnapshotHead>,
    frames: BoxStream<'static, Frame>,
}

impl Stream for Parts {
    type Item = SnapshotPart;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<SnapshotPart>> {
        if let Some(head) = self.head.take() {
            return Poll::Ready(Some(SnapshotPart { part: Some(Part::Head(head)) }));
        }
        let frame = self.frames.as_mut().poll_next(cx);
        frame.map(|frame| frame.map(|frame| SnapshotPart { part: Some(Part::Frame(frame.into())) }))
    }
}

impl From<Frame> for SnapshotFrame {
    fn from(frame: Frame) -> Self {
        let Frame { sequence, rows, crc32c, rows_total } = frame;
        Self { sequence, rows, crc32c, rows_total }
    }
}

impl From<SnapshotFrame> for Frame {
    fn from(frame: SnapshotFrame) -> Self {
        let SnapshotFrame { sequence, rows, crc32c, rows_total } = frame;
        Self { sequence, rows, crc32c, rows_total }
    }
}
