//! Members that start at another address than before.
//!
//! Whoever leads a Raft group sends to the address that is written down, and a node that hears from no
//! leader can register nothing. So it goes round itself: to the members where they were, and to those
//! it was told to join through. One that has a session writes down where it is now. Others at least
//! remember it, and tell whom they know to have moved ([`hints`]): when a whole cluster starts at new
//! addresses, its voters find each other that way, and the first leader writes it all down.

pub mod hints;

use std::time::Duration;

use atoll_core::view::{MemberRecord, NodeId};
use atoll_proto::cluster::v1::{
    MoveReply, MoveRequest, Whereabouts, membership_client::MembershipClient,
};
use tokio_util::sync::CancellationToken;
use tonic::Status;

pub use self::hints::Hints;
use super::{Cluster, SessionSlot, join::admission::reachable, znodes};
use crate::{
    config::HostPort,
    coordination::{CoordinationError, Op, Refusal, Session},
    io::net,
    wire::Channel,
};

/// Pause before each round: most nodes come back where they were and need none.
const ROUND_PAUSE: Duration = Duration::from_millis(400);

/// How long one member may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

/// A node that looks for the others.
#[derive(Debug)]
pub struct Relocation {
    /// This node's cluster, with the view it had.
    pub cluster: Cluster,
    /// There is nothing to do once it is open.
    pub session: SessionSlot,
    /// Where other members were said to be.
    pub seeds: Vec<HostPort>,
    /// Where clients reach this node.
    pub http: String,
    /// Where nodes reach it.
    pub grpc: String,
    /// What it hears is noted here.
    pub hints: Hints,
}

impl Relocation {
    /// Goes round until this node has a session.
    pub async fn run(self, stop: CancellationToken) {
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                _ = self.session.wait(&stop) => return,
                () = tokio::time::sleep(ROUND_PAUSE) => {}
            }
            let channels = self.channels().await;
            for (place, channel) in channels {
                if self.session.get().is_some() || stop.is_cancelled() {
                    return;
                }
                match self.tell(channel).await {
                    Ok(reply) => take(&self.hints, self.cluster.me(), reply),
                    Err(status) => {
                        tracing::debug!(place, reason = status.message(), "nobody hears me there");
                    }
                }
            }
        }
    }

    /// Every place where a member may be.
    async fn channels(&self) -> Vec<(String, Channel)> {
        let view = self.cluster.view();
        let others = view.members.iter().filter(|(node, _)| **node != self.cluster.me());
        let mut places: Vec<String> = others
            .map(|(node, member)| self.hints.resolve(*node, &member.grpc))
            .chain(self.hints.all().into_iter().map(|(_, _, address)| address))
            .collect();
        for seed in &self.seeds {
            let found = net::resolve(seed.as_str()).await.unwrap_or_default();
            places.extend(found.iter().map(ToString::to_string));
        }
        places.sort_unstable();
        places.dedup();
        places.retain(|place| *place != self.grpc);
        let channel = |place: String| Some((place.clone(), self.cluster.channel_to(&place).ok()?));
        places.into_iter().filter_map(channel).collect()
    }

    async fn tell(&self, channel: Channel) -> Result<MoveReply, Status> {
        let request = MoveRequest {
            envelope: Some(self.cluster.envelope()),
            http: self.http.clone(),
            grpc: self.grpc.clone(),
        };
        let mut client = MembershipClient::new(channel);
        let told = tokio::time::timeout(ANSWER_TIMEOUT, client.r#move(request)).await;
        Ok(told.map_err(|_| Status::deadline_exceeded("no answer"))??.into_inner())
    }
}

fn take(hints: &Hints, me: NodeId, reply: MoveReply) {
    for Whereabouts { node, incarnation, grpc } in reply.known {
        let Ok(node) = u16::try_from(node).map(NodeId) else { continue };
        if let Some(grpc) = reachable(&grpc).filter(|_| node != me) {
            hints.note(node, incarnation, grpc);
        }
    }
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

/// Remembers where `node` is now, and writes it down if that is another place and there is a
/// session to write with.
///
/// # Errors
/// See [`NotMoved`].
pub async fn hear(
    cluster: &Cluster,
    session: Option<&dyn Session>,
    hints: &Hints,
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
    let Some(session) = session else {
        hints.note(node, incarnation, grpc);
        return Ok(());
    };
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
