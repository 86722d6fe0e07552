//! The `Operator` service: what other nodes ask of this one for an operator.

use atoll_proto::operator::v1::{
    CollectReply, CollectRequest, RepairReply, RepairRequest, ReportReply, ReportRequest,
    operator_server::{Operator as Service, OperatorServer},
};
use serde::Serialize;
use tonic::{Request, Response, Status};

use super::Operator;

/// The service over this node's handle.
#[derive(Clone, Debug)]
pub struct OperatorService {
    operator: Operator,
}

impl OperatorService {
    /// The service, as routes take it.
    pub fn server(operator: Operator) -> OperatorServer<OperatorService> {
        OperatorServer::new(OperatorService { operator })
    }
}

#[tonic::async_trait]
impl Service for OperatorService {
    async fn report(&self, asked: Request<ReportRequest>) -> Result<Response<ReportReply>, Status> {
        // What a node tells of itself does not depend on a view.
        self.operator.cluster().admit_any_epoch(asked.get_ref().envelope.as_ref())?;
        let account = json(&self.operator.pieces().report().await)?;
        Ok(Response::new(ReportReply { account }))
    }

    async fn repair(&self, asked: Request<RepairRequest>) -> Result<Response<RepairReply>, Status> {
        self.operator.cluster().admit_any_epoch(asked.get_ref().envelope.as_ref())?;
        self.operator.pieces().repair();
        Ok(Response::new(RepairReply {}))
    }

    async fn collect(
        &self,
        asked: Request<CollectRequest>,
    ) -> Result<Response<CollectReply>, Status> {
        self.operator.cluster().admit_any_epoch(asked.get_ref().envelope.as_ref())?;
        if self.operator.pieces().collector() != Some(self.operator.cluster().me()) {
            return Err(Status::failed_precondition("another node drives garbage collection"));
        }
        let outcome = self.operator.pieces().collect(asked.get_ref().dry_run).await;
        let outcome = outcome.map_err(|error| Status::internal(error.to_string()))?;
        Ok(Response::new(CollectReply { outcome: json(&outcome)? }))
    }
}

fn json(value: &impl Serialize) -> Result<bytes::Bytes, Status> {
    let text = serde_json::to_vec(value).map_err(|error| Status::internal(error.to_string()))?;
    Ok(text.into())
}
