//! Acknowledged early, delivered surely; and a peer that lies.

#![allow(clippy::unwrap_used, reason = "a test panics when something is wrong")]

mod replicate_common;

use atoll_core::view::NodeId;
use atoll_node::{
    config::Consistency,
    io::net,
    replicate::{FetchError, ReplicateSettings},
    wire::{Security, server::serve},
};
use atoll_proto::blobs::v1::{
    DeleteReply, DeleteRequest, FetchReply, FetchRequest, GetHead, GetPart, GetRequest, HaveReply,
    HaveRequest, Held, HeldState, PinReply, PinRequest, PutPart, PutReply,
    blobs_server::{Blobs, BlobsServer},
    get_part::Part,
};
use bytes::Bytes;
use futures_util::{StreamExt, stream, stream::BoxStream};
use replicate_common::*;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_early_acknowledgement_is_kept_over_a_restart() {
    let settings = ReplicateSettings { consistency: Consistency::Eventual };
    let mut fleet = Fleet::start_with(4, 3, settings).await;
    for at in [NodeId(1), NodeId(4)] {
        let content = content(1_200_000, u64::from(at.0));
        let digest = sha256(&content);
        let owners = fleet.owners(&digest);
        push(fleet.blobs(at), &content, &digest).await;
        let first = fleet.holders(&digest).await;
        assert_eq!(first.len(), 1, "{first:?}");
        assert!(owners.contains(&first[0]));
        assert_eq!(fleet.blobs(at).stats().outbox, 2);
        // The one who promised goes down before it delivered, and comes back.
        fleet.kill(at).await;
        fleet.revive(at).await;
        assert_eq!(fleet.blobs(at).stats().outbox, 2);
        fleet.blobs(at).deliver_due().await;
        fleet.until_held_by(&digest, &owners).await;
        assert_eq!(fleet.blobs(at).stats().outbox, 0);
        assert_eq!(fleet.node(at).names_in("outbox"), Vec::<String>::new());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_delivered_yet_is_kept() {
    let settings = ReplicateSettings { consistency: Consistency::Eventual };
    let mut fleet = Fleet::start_with(3, 3, settings).await;
    let content = content(10_000, 5);
    let digest = sha256(&content);
    push(fleet.blobs(NodeId(1)), &content, &digest).await;
    fleet.kill(NodeId(2)).await;
    fleet.blobs(NodeId(1)).deliver_due().await;
    assert_eq!(fleet.holders(&digest).await, [NodeId(1), NodeId(3)]);
    assert_eq!(fleet.blobs(NodeId(1)).stats().outbox, 1);
    fleet.revive(NodeId(2)).await;
    // It is put off for a moment after each attempt.
    for _ in 0..100 {
        fleet.blobs(NodeId(1)).deliver_due().await;
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    fleet.until_held_by(&digest, &[NodeId(1), NodeId(2), NodeId(3)]).await;
}

/// A peer that has everything and sends other bytes.
struct Liar {
    content: Bytes,
}

#[tonic::async_trait]
impl Blobs for Liar {
    async fn put(&self, _: Request<Streaming<PutPart>>) -> Result<Response<PutReply>, Status> {
        Err(Status::unavailable("a liar"))
    }

    type GetStream = BoxStream<'static, Result<GetPart, Status>>;

    async fn get(&self, request: Request<GetRequest>) -> Result<Response<Self::GetStream>, Status> {
        let request = request.into_inner();
        let size = self.content.len() as u64;
        let mut wrong = self.content.to_vec();
        let last = wrong.len() - 1;
        wrong[last] ^= 1;
        let end = request.offset + request.length.unwrap_or(size - request.offset);
        let asked = Bytes::from(wrong).slice(request.offset as usize..end as usize);
        let pieces: Vec<_> = asked.chunks(1 << 20).map(Bytes::copy_from_slice).collect();
        let parts = std::iter::once(Part::Head(GetHead { size }))
            .chain(pieces.into_iter().map(Part::Data))
            .map(|part| Ok(GetPart { part: Some(part) }));
        Ok(Response::new(stream::iter(parts.collect::<Vec<_>>()).boxed()))
    }

    async fn have(&self, request: Request<HaveRequest>) -> Result<Response<HaveReply>, Status> {
        let size = self.content.len() as u64;
        let held = Held { state: HeldState::Present.into(), size };
        let held = vec![held; request.into_inner().digests.len()];
        Ok(Response::new(HaveReply { held, epoch: 1 }))
    }

    async fn pin(&self, _: Request<PinRequest>) -> Result<Response<PinReply>, Status> {
        Err(Status::unavailable("a liar"))
    }

    async fn delete(&self, _: Request<DeleteRequest>) -> Result<Response<DeleteReply>, Status> {
        Err(Status::unavailable("a liar"))
    }

    async fn fetch(&self, _: Request<FetchRequest>) -> Result<Response<FetchReply>, Status> {
        Err(Status::unavailable("a liar"))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_lying_peer_sends_is_never_taken_for_the_blob() {
    let mut fleet = Fleet::start(4, 3).await;
    for size in [10_000, 3 << 20] {
        let (content, digest) = content_owned_without(&fleet, size, &[NodeId(1)]);
        push(fleet.blobs(NodeId(1)), &content, &digest).await;
        // All owners but one lie.
        let owners = fleet.owners(&digest);
        let stop = CancellationToken::new();
        for owner in &owners[..2] {
            fleet.kill(*owner).await;
            let liar = BlobsServer::new(Liar { content: content.clone() });
            let listener = net::listen(fleet.node(*owner).address, 16).await.unwrap();
            let routes = tonic::service::Routes::new(liar);
            tokio::spawn(serve(listener, routes, Security::plaintext(), stop.clone()));
        }
        let mut good = 0;
        for _ in 0..20 {
            match pull(fleet.blobs(NodeId(1)), &digest, size).await {
                Ok(read) => {
                    assert!(read == content);
                    good += 1;
                }
                // A long answer is broken off before its last bytes; the next one is good.
                Err(FetchError::WrongBytes(_)) => assert!(size > 1 << 20),
                Err(error) => panic!("{error}"),
            }
        }
        assert!(good >= 15, "{good} good answers");
        stop.cancel();
        for owner in &owners[..2] {
            fleet.revive(*owner).await;
        }
    }
}
