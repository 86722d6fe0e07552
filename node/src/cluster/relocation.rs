//! A member that starts at another address than before.
//!
//! Whoever leads a Raft group sends to the address that is written down, and a node that hears from no
//! leader can register nothing. So it goes to the other members itself, which are where they were,
//! and one of them writes down where it is now. A cluster all of whose voters move at once cannot
//! write anything down: at least one of them must be where it was known to be.

use std::time::Duration;

use atoll_core::view::{MemberRecord, NodeId};
use atoll_proto::cluster::v1::{MoveRequest, membership_client::MembershipClient};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::{Cluster, SessionSlot, join::admission::reachable, znodes};
use crate::coordination::{CoordinationError, Op, Refusal, Session};

/// How long a start gets before it goes round: most come back where they were.
const GRACE: Duration = Duration::from_millis(400);

/// How long one member may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// Goes round the members of the view that this node had until it has a session.
pub async fn announce(
    cluster: Cluster,
    session: SessionSlot,
    http: String,
    grpc: String,
    stop: CancellationToken,
) {
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            _ = session.wait(&stop) => return,
            () = tokio::time::sleep(GRACE) => {}
        }
        let view = cluster.view();
        for node in view.members.keys().filter(|node| **node != cluster.me()) {
            if session.get().is_some() || stop.is_cancelled() {
                return;
            }
            let request = MoveRequest {
                envelope: Some(cluster.envelope()),
                http: http.clone(),
                grpc: grpc.clone(),
            };
            match tell(&cluster, *node, request).await {
                Ok(()) => break,
                Err(status) => {
                    tracing::debug!(%node, reason = status.message(), "cannot say where I am");
                }
            }
        }
    }
}

async fn tell(cluster: &Cluster, node: NodeId, request: MoveRequest) -> Result<(), Status> {
    let mut client = MembershipClient::new(cluster.channel(node)?);
    let told = tokio::time::timeout(ANSWER_TIMEOUT, client.r#move(request)).await;
    told.map_err(|_| Status::deadline_exceeded("no answer"))??;
    Ok(())
}

/// Why a move is not written down.
#[derive(Debug, thiserror::Error)]
pub enum NotMoved {
    /// No such address, or an earlier start of the node says it.
    #[error("{0}")]
    Invalid(String),
    /// Group 0 does not answer.
    #[error("not now: {0}")]
    NotNow(#[from] CoordinationError),
}

/// Writes down where `node` is now, if that is another place.
///
/// # Errors
/// See [`NotMoved`].
pub async fn write(
    cluster: &Cluster,
    session: &dyn Session,
    node: NodeId,
    incarnation: u64,
    request: &MoveRequest,
) -> Result<(), NotMoved> {
    let known = cluster.view().members.get(&node).map_or(0, |member| member.incarnation);
    if incarnation < known {
        return Err(NotMoved::Invalid(format!("start {incarnation} was followed by {known}")));
    }
    let address = |text: &str| {
        reachable(text).ok_or_else(|| NotMoved::Invalid(format!("`{text}` is no address to reach")))
    };
    let (http, grpc) = (address(&request.http)?, address(&request.grpc)?);
    session.sync(znodes::MEMBERS).await?;
    if let Some(op) = record_at(session, node, &http, &grpc).await? {
        session.multi(vec![op]).await?;
        tracing::info!(%node, address = grpc, "a member is at another address");
    }
    Ok(())
}

/// The change that makes the record of `node` say these addresses; `None` when it does.
///
/// # Errors
/// The session.
pub async fn record_at(
    session: &dyn Session,
    node: NodeId,
    http: &str,
    grpc: &str,
) -> Result<Option<Op>, CoordinationError> {
    let path = znodes::of(znodes::MEMBERS, node);
    let (data, stat) = match session.get(&path).await {
        Err(error) if matches!(error.refusal(), Some(Refusal::NoNode(_))) => return Ok(None),
        found => found?,
    };
    let failed = |error: znodes::BadData| CoordinationError::Failed(error.to_string());
    let record: MemberRecord = znodes::decode(&data).map_err(failed)?;
    if record.http == http && record.grpc == grpc {
        return Ok(None);
    }
    let record = MemberRecord { http: http.to_owned(), grpc: grpc.to_owned(), ..record };
    let data = znodes::encode(&record).map_err(failed)?;
    Ok(Some(Op::Set { path, data, version: Some(stat.version) }))
}
