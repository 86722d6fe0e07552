//! The members of the cluster as holders: this node itself, and the others over their channels.

use std::time::Duration;

use atoll_core::{Digest, gc::GcEpoch, view::NodeId};
use atoll_proto::gc::v1::{
    CandidatesRequest, DeleteRequest, UntouchedRequest, collection_client::CollectionClient,
};
use futures_util::future::BoxFuture;
use tonic::{Response, Status};

use super::{
    Holders,
    holder::{CandidatePage, Holder, HolderError},
};
use crate::{cluster::Cluster, wire::Channel};

/// How long a question may take.
const ASK_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an order to delete may take: a thousand copies, each with a sync of its own.
const DELETE_TIMEOUT: Duration = Duration::from_secs(60);

/// Every member that is up.
#[derive(Clone, Debug)]
pub struct Members {
    cluster: Cluster,
    own: Holder,
}

impl Members {
    /// The members that `cluster` knows; `own` is this node.
    pub fn new(cluster: Cluster, own: Holder) -> Members {
        Members { cluster, own }
    }

    fn client(&self, node: NodeId) -> Result<CollectionClient<Channel>, HolderError> {
        Ok(CollectionClient::new(self.cluster.channel(node).map_err(unreachable)?))
    }
}

fn unreachable(status: Status) -> HolderError {
    HolderError::Unreachable(format!("{}: {}", status.code(), status.message()))
}

fn digest(text: &str) -> Result<Digest, HolderError> {
    text.parse().map_err(|error| HolderError::Unreachable(format!("{error}")))
}

fn texts(digests: &[Digest]) -> Vec<String> {
    digests.iter().map(ToString::to_string).collect()
}

async fn ask<T>(
    within: Duration,
    call: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<T, HolderError> {
    let late = || Status::deadline_exceeded(format!("no answer within {within:?}"));
    let answer = tokio::time::timeout(within, call).await.unwrap_or_else(|_| Err(late()));
    answer.map(Response::into_inner).map_err(unreachable)
}

impl Holders for Members {
    fn up(&self) -> Vec<NodeId> {
        let view = self.cluster.view();
        view.members.iter().filter(|(_, member)| member.is_up()).map(|(node, _)| *node).collect()
    }

    fn candidates(
        &self,
        node: NodeId,
        after: Option<Digest>,
        min_age: Duration,
    ) -> BoxFuture<'_, Result<CandidatePage, HolderError>> {
        Box::pin(async move {
            if node == self.cluster.me() {
                return self.own.candidates(after, min_age).await;
            }
            let request = CandidatesRequest {
                envelope: Some(self.cluster.envelope()),
                after: after.map(|digest| digest.to_string()).unwrap_or_default(),
                min_age_seconds: min_age.as_secs(),
            };
            let reply = ask(ASK_TIMEOUT, self.client(node)?.candidates(request)).await?;
            let mut page = CandidatePage::default();
            for candidate in reply.candidates {
                page.blobs.push((digest(&candidate.digest)?, candidate.size));
            }
            if !reply.cursor.is_empty() {
                page.cursor = Some(digest(&reply.cursor)?);
            }
            Ok(page)
        })
    }

    fn untouched(
        &self,
        node: NodeId,
        digests: Vec<Digest>,
        min_age: Duration,
    ) -> BoxFuture<'_, Result<Vec<Digest>, HolderError>> {
        Box::pin(async move {
            if node == self.cluster.me() {
                return Ok(self.own.untouched(&digests, min_age));
            }
            let request = UntouchedRequest {
                envelope: Some(self.cluster.envelope()),
                digests: texts(&digests),
                min_age_seconds: min_age.as_secs(),
            };
            let reply = ask(ASK_TIMEOUT, self.client(node)?.untouched(request)).await?;
            reply.digests.iter().map(|text| digest(text)).collect()
        })
    }

    fn delete(
        &self,
        node: NodeId,
        e: GcEpoch,
        digests: Vec<Digest>,
    ) -> BoxFuture<'_, Result<Vec<u64>, HolderError>> {
        Box::pin(async move {
            if node == self.cluster.me() {
                return self.own.delete(e, &digests).await;
            }
            let request = DeleteRequest {
                envelope: Some(self.cluster.envelope()),
                epoch: e.0,
                digests: texts(&digests),
            };
            Ok(ask(DELETE_TIMEOUT, self.client(node)?.delete(request)).await?.freed_bytes)
        })
    }
}
