//! The blob service: copies between nodes.

use atoll_core::{Digest, view::Epoch};
use atoll_proto::blobs::v1::{
    DeleteReply, DeleteRequest, DeletedCopy, FetchReply, FetchRequest, GetHead, GetPart,
    GetRequest, HaveReply, HaveRequest, PinReply, PinRequest, PutPart, PutReply,
    blobs_server::{Blobs, BlobsServer},
    get_part,
};
use atoll_proto::wire::v1::Envelope;
use bytes::Bytes;
use futures_util::{StreamExt, stream, stream::BoxStream};
use std::time::Duration;
use tonic::{Request, Response, Status, Streaming};

use crate::{
    replicate::{DATA_BYTES, DIGESTS_MAX, Holding, MESSAGE_BYTES_MAX, PullError, Replicator},
    store::ReadError,
    tiers::BlobStream,
};

/// How long a view that the asker knows may take to arrive here.
const VIEW_TIMEOUT: Duration = Duration::from_secs(2);

/// Answers other nodes out of this node's copies.
#[derive(Clone, Debug)]
pub struct BlobService {
    replicator: Replicator,
}

impl BlobService {
    /// The service, ready to be routed.
    pub fn server(replicator: Replicator) -> BlobsServer<Self> {
        BlobsServer::new(BlobService { replicator })
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// Lets a message in once this node's view is no older than its sender's; answers this node's
    /// epoch then.
    async fn at_their_view(&self, envelope: Option<&Envelope>) -> Result<Epoch, Status> {
        let cluster = self.replicator.cluster();
        let view = cluster.admit_any_epoch(envelope)?;
        let theirs = Epoch(envelope.map_or(0, |envelope| envelope.epoch));
        if theirs <= view.epoch {
            return Ok(view.epoch);
        }
        let newer = cluster.at_least(theirs, VIEW_TIMEOUT).await;
        let late = || Status::unavailable(format!("view {theirs} has not arrived here"));
        Ok(newer.ok_or_else(late)?.epoch)
    }
}

fn digest(text: &str) -> Result<Digest, Status> {
    text.parse().map_err(|error| Status::invalid_argument(format!("{error}")))
}

fn digests(texts: &[String]) -> Result<Vec<Digest>, Status> {
    if texts.len() > DIGESTS_MAX {
        return Err(Status::invalid_argument("too many digests in one question"));
    }
    texts.iter().map(|text| digest(text)).collect()
}

fn unreadable(error: &ReadError) -> Status {
    match error {
        ReadError::Corrupt(_) | ReadError::Damaged(_) => Status::data_loss(error.to_string()),
        ReadError::OverLimit(_) | ReadError::Io(_) => Status::internal(error.to_string()),
    }
}

fn data(bytes: Bytes) -> GetPart {
    GetPart { part: Some(get_part::Part::Data(bytes)) }
}

type Parts = BoxStream<'static, Result<GetPart, Status>>;

/// The head, then the bytes of a copy piece by piece.
fn parts(size: u64, stream: BlobStream) -> Parts {
    let head = GetPart { part: Some(get_part::Part::Head(GetHead { size })) };
    let pieces = stream::try_unfold(stream, |mut stream| async move {
        let piece = stream.next().await.map_err(|error| unreadable(&error))?;
        Ok(piece.map(|bytes| (data(bytes), stream)))
    });
    stream::once(async move { Ok(head) }).chain(pieces).boxed()
}

const _: () = assert!(crate::tiers::WINDOW_BYTES <= DATA_BYTES, "a window is one message");

#[tonic::async_trait]
impl Blobs for BlobService {
    async fn put(
        &self,
        request: Request<Streaming<PutPart>>,
    ) -> Result<Response<PutReply>, Status> {
        Ok(Response::new(self.replicator.receive(request.into_inner()).await?))
    }

    type GetStream = Parts;

    async fn get(&self, request: Request<GetRequest>) -> Result<Response<Parts>, Status> {
        let request = request.into_inner();
        self.replicator.cluster().admit_any_epoch(request.envelope.as_ref())?;
        let digest = digest(&request.digest)?;
        let opened = self.replicator.tiers().open(&digest).await;
        let opened = opened.map_err(|error| unreadable(&error))?;
        let opened = opened.ok_or_else(|| Status::not_found("no copy here"))?;
        let size = opened.size();
        let end = request.length.map_or(Some(size), |length| request.offset.checked_add(length));
        let end = end.filter(|end| *end <= size && request.offset <= *end);
        let end = end.ok_or_else(|| Status::out_of_range(format!("the blob has {size} bytes")))?;
        Ok(Response::new(parts(size, opened.stream(request.offset, end))))
    }

    async fn have(&self, request: Request<HaveRequest>) -> Result<Response<HaveReply>, Status> {
        let request = request.into_inner();
        let epoch = self.at_their_view(request.envelope.as_ref()).await?.0;
        let mut held = Vec::with_capacity(request.digests.len().min(DIGESTS_MAX));
        for digest in digests(&request.digests)? {
            held.push(self.replicator.holding(&digest).await.into());
        }
        Ok(Response::new(HaveReply { held, epoch }))
    }

    async fn pin(&self, request: Request<PinRequest>) -> Result<Response<PinReply>, Status> {
        let request = request.into_inner();
        let epoch = self.at_their_view(request.envelope.as_ref()).await?.0;
        let digests = digests(&request.digests)?;
        let held = self.replicator.stamps().pin(&self.replicator, &digests, request.stamp).await;
        let held = held.into_iter().map(Holding::into).collect();
        Ok(Response::new(PinReply { held, epoch }))
    }

    async fn delete(
        &self,
        request: Request<DeleteRequest>,
    ) -> Result<Response<DeleteReply>, Status> {
        let request = request.into_inner();
        self.replicator.cluster().admit_any_epoch(request.envelope.as_ref())?;
        let digests = digests(&request.digests)?;
        let freed = self.replicator.stamps().delete(&digests, request.older_than).await;
        let told = |freed: Option<u64>| DeletedCopy {
            done: freed.is_some(),
            bytes: freed.unwrap_or_default(),
        };
        Ok(Response::new(DeleteReply { copies: freed.into_iter().map(told).collect() }))
    }

    async fn fetch(&self, request: Request<FetchRequest>) -> Result<Response<FetchReply>, Status> {
        let request = request.into_inner();
        self.at_their_view(request.envelope.as_ref()).await?;
        let digest = digest(&request.digest)?;
        match self.replicator.pull(&digest).await {
            Ok(info) => Ok(Response::new(FetchReply { size: info.size })),
            Err(error @ PullError::Read(_)) => Err(Status::not_found(error.to_string())),
            Err(error) => Err(Status::internal(error.to_string())),
        }
    }
}
