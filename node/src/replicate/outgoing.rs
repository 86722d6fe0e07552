//! One copy, or a chain of copies, on its way to other nodes.
//!
//! A task of its own moves the bytes, fed through a short queue: whoever feeds it is held back when
//! the next node is slow, and given up on when it stops taking bytes at all. A push that is abandoned
//! ends without its last message, and every hop forgets what it received.

use std::time::Duration;

use atoll_core::{
    Digest,
    gc::GcEpoch,
    view::{Epoch, NodeId, View},
};
use atoll_proto::blobs::v1::{PutEnd, PutHead, PutOutcome, PutPart, PutReply, put_part};
use bytes::Bytes;
use futures_util::stream;
use tokio::{sync::mpsc, task::JoinHandle};
use tonic::{Response, Status};

use super::{
    client::{DATA_BYTES, Peer, STALL_TIMEOUT, is_unreachable},
    content::Bytewise,
};
use crate::{cluster::Cluster, wire::envelope::newer_epoch};

/// Messages between whoever feeds a chain and its connection: one that is sent, one that is next, and
/// little more, because each may be a megabyte.
const QUEUE_MESSAGES: usize = 3;

/// How long a chain may take to answer after its last byte: every hop syncs a file that may be large.
const REPLY_TIMEOUT: Duration = Duration::from_secs(60);

/// What became of one copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ack {
    /// It is durable.
    Durable,
    /// The node failed, refused or did not answer.
    Failed(String),
    /// A node before it in the chain failed.
    NotTried,
    /// The node is at a newer view with other owners.
    Stale(Epoch),
}

/// What became of the copies of one chain.
pub type Acks = Vec<(NodeId, Ack)>;

/// What is sent, and to whom.
#[derive(Clone, Debug)]
pub struct Order {
    /// Which blob.
    pub digest: Digest,
    /// Its length, if it is known.
    pub size: Option<u64>,
    /// The acting owners in the sender's view.
    pub owners: Vec<NodeId>,
    /// The hops, next first; at least one.
    pub hops: Vec<NodeId>,
    /// The owner that the first hop stands in for.
    pub hint_for: Option<NodeId>,
    /// The collection epoch of the copy.
    pub stamp: u64,
}

impl Order {
    /// A copy for each of `hops`, out of the view that named them, of a push that has seen collection
    /// epoch `stamp`.
    pub fn new(
        view: &View,
        digest: &Digest,
        size: Option<u64>,
        hops: Vec<NodeId>,
        stamp: GcEpoch,
    ) -> Order {
        let owners = view.acting(digest);
        Order { digest: *digest, size, owners, hops, hint_for: None, stamp: stamp.0 }
    }

    fn head(&self, cluster: &Cluster) -> PutHead {
        let numbers = |nodes: &[NodeId]| nodes.iter().map(|node| u32::from(node.0)).collect();
        PutHead {
            envelope: Some(cluster.envelope()),
            digest: self.digest.to_string(),
            size: self.size,
            owners: numbers(&self.owners),
            chain: numbers(self.hops.get(1..).unwrap_or_default()),
            hint_for: self.hint_for.map_or(0, |node| u32::from(node.0)),
            stamp: self.stamp,
        }
    }
}

/// A chain that takes bytes.
#[derive(Debug)]
pub struct Outgoing {
    hops: Vec<NodeId>,
    /// `None` once the chain takes no more.
    feed: Option<mpsc::Sender<PutPart>>,
    reply: JoinHandle<Result<PutReply, Status>>,
}

impl Outgoing {
    /// Begins.
    pub fn begin(cluster: &Cluster, order: &Order) -> Outgoing {
        let (feed, fed) = mpsc::channel(QUEUE_MESSAGES);
        // The queue is empty, so the head finds room.
        let head = PutPart { part: Some(put_part::Part::Head(order.head(cluster))) };
        let _ = feed.try_send(head);
        let first = order.hops.first().copied().unwrap_or_default();
        let reply = tokio::spawn(send(cluster.clone(), first, fed));
        Outgoing { hops: order.hops.clone(), feed: Some(feed), reply }
    }

    /// Hands on the next bytes; waits while the chain is behind. A chain that failed takes them all
    /// without doing anything: its end says what happened.
    pub async fn data(&mut self, bytes: Bytes) {
        for start in (0..bytes.len()).step_by(DATA_BYTES) {
            let piece = bytes.slice(start..bytes.len().min(start + DATA_BYTES));
            self.send(put_part::Part::Data(piece)).await;
        }
    }

    async fn send(&mut self, part: put_part::Part) {
        let Some(feed) = &self.feed else { return };
        let sent = feed.send(PutPart { part: Some(part) });
        if !matches!(tokio::time::timeout(STALL_TIMEOUT, sent).await, Ok(Ok(()))) {
            self.feed = None;
        }
    }

    /// Says that all bytes were sent, and waits for what became of the copies.
    pub async fn finish(mut self) -> Acks {
        self.send(put_part::Part::End(PutEnd {})).await;
        self.feed = None;
        let late = || Err(Status::deadline_exceeded("no answer after the last byte"));
        let reply = match tokio::time::timeout(REPLY_TIMEOUT, &mut self.reply).await {
            Ok(joined) => joined.unwrap_or_else(|error| Err(Status::internal(error.to_string()))),
            Err(_) => late(),
        };
        acks(&self.hops, reply)
    }

    /// Sends all of `bytes` and waits for what became of the copies.
    pub async fn send_all(mut self, bytes: &Bytewise) -> Acks {
        let mut offset = 0;
        while offset < bytes.size() && self.feed.is_some() {
            match bytes.read(offset, DATA_BYTES).await {
                Ok(piece) if piece.is_empty() => break,
                Ok(piece) => {
                    offset += piece.len() as u64;
                    self.data(piece).await;
                }
                Err(error) => {
                    let reason = format!("the spool cannot be read: {error}");
                    return all_failed(&self.hops, &reason);
                }
            }
        }
        self.finish().await
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        // The queue ends without an end, and the call with it.
        self.feed = None;
        self.reply.abort();
    }
}

async fn send(
    cluster: Cluster,
    to: NodeId,
    fed: mpsc::Receiver<PutPart>,
) -> Result<PutReply, Status> {
    let peer = Peer::new(&cluster, to);
    let parts = stream::unfold(fed, |mut fed| async move { Some((fed.recv().await?, fed)) });
    let outcome = peer.client()?.put(parts).await;
    peer.noted(outcome.map(Response::into_inner))
}

/// One for each hop, whatever the answer forgot.
fn acks(hops: &[NodeId], reply: Result<PutReply, Status>) -> Acks {
    let reply = match reply {
        Ok(reply) => reply,
        Err(status) => {
            let first = match newer_epoch(&status) {
                Some(epoch) => Ack::Stale(epoch),
                None => Ack::Failed(brief(&status)),
            };
            let rest = hops.iter().skip(1).map(|hop| (*hop, Ack::NotTried));
            return hops.iter().take(1).map(|hop| (*hop, first.clone())).chain(rest).collect();
        }
    };
    let told = |hop: &NodeId| {
        let ack = reply.acks.iter().find(|ack| ack.node == u32::from(hop.0));
        match ack.map(|ack| (ack.outcome(), ack)) {
            Some((PutOutcome::Durable, _)) => Ack::Durable,
            Some((PutOutcome::Failed, ack)) => Ack::Failed(ack.reason.clone()),
            Some((PutOutcome::StaleView, ack)) => Ack::Stale(Epoch(ack.epoch)),
            Some((PutOutcome::NotTried | PutOutcome::Unspecified, _)) | None => Ack::NotTried,
        }
    };
    hops.iter().map(|hop| (*hop, told(hop))).collect()
}

fn all_failed(hops: &[NodeId], reason: &str) -> Acks {
    hops.iter().map(|hop| (*hop, Ack::Failed(reason.to_owned()))).collect()
}

/// A status as one line of a log.
pub fn brief(status: &Status) -> String {
    if is_unreachable(status) {
        return status.message().to_owned();
    }
    format!("{:?}: {}", status.code(), status.message())
}
