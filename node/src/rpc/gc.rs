//! The collection service: what this node answers the driver of a collection.

use std::time::Duration;

use atoll_core::{Digest, gc::GcEpoch};
use atoll_proto::gc::v1::{
    Candidate, CandidatesReply, CandidatesRequest, DeleteReply, DeleteRequest, UntouchedReply,
    UntouchedRequest,
    collection_server::{Collection, CollectionServer},
};
use tonic::{Request, Response, Status};

use crate::{
    background::gc::holder::{DIGESTS_MAX, Holder, HolderError},
    cluster::Cluster,
};

/// Answers for one node.
#[derive(Clone, Debug)]
pub struct GcService {
    cluster: Cluster,
    holder: Holder,
}

impl GcService {
    /// The service, ready to be routed.
    pub fn server(cluster: Cluster, holder: Holder) -> CollectionServer<Self> {
        CollectionServer::new(Self { cluster, holder })
    }
}

fn digests(texts: &[String]) -> Result<Vec<Digest>, Status> {
    if texts.len() > DIGESTS_MAX {
        let message = format!("{} digests, at most {DIGESTS_MAX} are allowed", texts.len());
        return Err(Status::invalid_argument(message));
    }
    let parsed = texts.iter().map(|text| text.parse());
    parsed.collect::<Result<_, _>>().map_err(|error| Status::invalid_argument(format!("{error}")))
}

fn status(error: &HolderError) -> Status {
    Status::unavailable(error.to_string())
}

#[tonic::async_trait]
impl Collection for GcService {
    async fn candidates(
        &self,
        request: Request<CandidatesRequest>,
    ) -> Result<Response<CandidatesReply>, Status> {
        let request = request.into_inner();
        self.cluster.admit_any_epoch(request.envelope.as_ref())?;
        let after = match request.after.as_str() {
            "" => None,
            text => {
                Some(text.parse().map_err(|_| Status::invalid_argument("`after` is no digest"))?)
            }
        };
        let min_age = Duration::from_secs(request.min_age_seconds);
        let page = self.holder.candidates(after, min_age).await.map_err(|error| status(&error))?;
        let told = |(digest, size): (Digest, u64)| Candidate { digest: digest.to_string(), size };
        Ok(Response::new(CandidatesReply {
            candidates: page.blobs.into_iter().map(told).collect(),
            cursor: page.cursor.map(|digest| digest.to_string()).unwrap_or_default(),
        }))
    }

    async fn untouched(
        &self,
        request: Request<UntouchedRequest>,
    ) -> Result<Response<UntouchedReply>, Status> {
        let request = request.into_inner();
        self.cluster.admit_any_epoch(request.envelope.as_ref())?;
        let min_age = Duration::from_secs(request.min_age_seconds);
        let idle = self.holder.untouched(&digests(&request.digests)?, min_age);
        let digests = idle.iter().map(ToString::to_string).collect();
        Ok(Response::new(UntouchedReply { digests }))
    }

    async fn delete(
        &self,
        request: Request<DeleteRequest>,
    ) -> Result<Response<DeleteReply>, Status> {
        let request = request.into_inner();
        self.cluster.admit_any_epoch(request.envelope.as_ref())?;
        let digests = digests(&request.digests)?;
        let freed = self.holder.delete(GcEpoch(request.epoch), &digests).await;
        let freed_bytes = freed.map_err(|error| status(&error))?;
        Ok(Response::new(DeleteReply { freed_bytes }))
    }
}
