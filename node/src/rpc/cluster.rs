//! The services about the cluster itself: joining it, its view, gossip.

use atoll_core::view::{Epoch, NodeId};
use atoll_proto::cluster::v1::{
    GossipPacket, GossipReply, JoinReply, JoinRequest, MoveReply, MoveRequest, PullViewReply,
    PullViewRequest, Whereabouts,
    gossip_server::{Gossip, GossipServer},
    membership_server::{Membership, MembershipServer},
    views_server::{Views, ViewsServer},
};
use tonic::{Request, Response, Status};

use crate::cluster::{
    Cluster,
    gossip::GossipInbox,
    join::admission::{Admission, Refused},
    relocation::{self, Hints, NotMoved},
};

/// Lets newcomers in.
#[derive(Clone, Debug)]
pub struct MembershipService {
    admission: Admission,
    hints: Hints,
    grpc: String,
}

impl MembershipService {
    /// The service of the node at `grpc`, ready to be routed. Moves that it hears of and cannot write
    /// down go to `hints`.
    pub fn server(admission: Admission, hints: Hints, grpc: String) -> MembershipServer<Self> {
        MembershipServer::new(Self { admission, hints, grpc })
    }
}

#[tonic::async_trait]
impl Membership for MembershipService {
    async fn join(&self, request: Request<JoinRequest>) -> Result<Response<JoinReply>, Status> {
        let request = request.into_inner();
        match self.admission.admit(&request).await {
            Ok(reply) => {
                let JoinRequest { name, grpc, .. } = &request;
                tracing::info!(node = reply.node, name, address = grpc, "a node is let in");
                Ok(Response::new(reply))
            }
            Err(refused) => {
                let JoinRequest { name, grpc, .. } = &request;
                tracing::warn!(name, address = grpc, reason = %refused, "a node is not let in");
                Err(status(&refused))
            }
        }
    }

    async fn r#move(&self, request: Request<MoveRequest>) -> Result<Response<MoveReply>, Status> {
        Ok(Response::new(self.hear_of_move(&request.into_inner()).await?))
    }
}

impl MembershipService {
    async fn hear_of_move(&self, request: &MoveRequest) -> Result<MoveReply, Status> {
        let Admission { cluster, session, .. } = &self.admission;
        cluster.admit_any_epoch(request.envelope.as_ref())?;
        let (sender, incarnation) =
            request.envelope.as_ref().map_or((0, 0), |from| (from.sender, from.incarnation));
        let node = u16::try_from(sender).map(NodeId);
        let node = node.map_err(|_| Status::invalid_argument("no such sender"))?;
        let session = session.get();
        let heard =
            relocation::hear(cluster, session.as_deref(), &self.hints, node, incarnation, request);
        heard.await.map_err(|error| match error {
            NotMoved::Invalid(_) => Status::invalid_argument(error.to_string()),
            NotMoved::NotNow(_) => Status::unavailable(error.to_string()),
        })?;
        let mut known = self.hints.all();
        known.push((cluster.me(), cluster.incarnation(), self.grpc.clone()));
        let known = known.into_iter().map(|(node, incarnation, grpc)| Whereabouts {
            node: u32::from(node.0),
            incarnation,
            grpc,
        });
        Ok(MoveReply { known: known.collect() })
    }
}

fn status(refused: &Refused) -> Status {
    let reason = refused.to_string();
    match refused {
        Refused::Token(_) | Refused::TokenRefused(_) => Status::unauthenticated(reason),
        Refused::OtherCluster { .. } => Status::failed_precondition(reason),
        Refused::Invalid(_) | Refused::Sign(_) => Status::invalid_argument(reason),
        Refused::AddressTaken(_) => Status::already_exists(reason),
        Refused::NotNow(_) => Status::unavailable(reason),
    }
}

/// Hands out the view.
#[derive(Clone, Debug)]
pub struct ViewsService {
    cluster: Cluster,
}

impl ViewsService {
    /// The service, ready to be routed.
    pub fn server(cluster: Cluster) -> ViewsServer<Self> {
        ViewsServer::new(Self { cluster })
    }
}

#[tonic::async_trait]
impl Views for ViewsService {
    async fn pull_view(
        &self,
        request: Request<PullViewRequest>,
    ) -> Result<Response<PullViewReply>, Status> {
        let envelope = request.into_inner().envelope;
        let view = self.cluster.admit_any_epoch(envelope.as_ref())?;
        let theirs = Epoch(envelope.map_or(0, |envelope| envelope.epoch));
        let bytes = if theirs < view.epoch { view.encode() } else { Vec::new() };
        Ok(Response::new(PullViewReply { epoch: view.epoch.0, view: bytes.into() }))
    }
}

/// Receives packets of the failure detector.
#[derive(Clone, Debug)]
pub struct GossipService {
    cluster: Cluster,
    inbox: GossipInbox,
}

impl GossipService {
    /// The service, ready to be routed.
    pub fn server(cluster: Cluster, inbox: GossipInbox) -> GossipServer<Self> {
        GossipServer::new(Self { cluster, inbox })
    }
}

#[tonic::async_trait]
impl Gossip for GossipService {
    async fn packet(
        &self,
        request: Request<GossipPacket>,
    ) -> Result<Response<GossipReply>, Status> {
        let packet = request.into_inner();
        let view = self.cluster.admit_any_epoch(packet.envelope.as_ref())?;
        let (sender, epoch) =
            packet.envelope.map_or((0, 0), |envelope| (envelope.sender, envelope.epoch));
        let sender = u16::try_from(sender).unwrap_or_default();
        if epoch == view.epoch.0 && packet.view_hash != self.cluster.view_hash() {
            // Consensus makes this impossible: somebody's disk or memory has changed a view.
            tracing::error!(%sender, epoch, "another node has another view of the same epoch");
        }
        self.inbox.receive(packet.payload);
        Ok(Response::new(GossipReply { epoch: view.epoch.0 }))
    }
}
