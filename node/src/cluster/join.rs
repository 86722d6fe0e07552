//! Entering a cluster: what the newcomer asks, and how a member answers ([`admission`]).
//!
//! The newcomer tries the members it was told of in turn, until one of them lets it in or refuses.
//! It asks under a nonce that it has written down before, so an answer that was lost costs nothing: the
//! next try gets the same number.

pub mod admission;

use std::{net::SocketAddr, time::Duration};

use atoll_core::view::{NodeId, View};
use atoll_proto::cluster::v1::{JoinReply, JoinRequest, membership_client::MembershipClient};
use tonic::{Code, Status};

use super::{identity::JoinNonce, pull::VIEW_BYTES_MAX};
use crate::{
    config::{HostPort, Secret},
    io::{Clock, net},
    wire::{Channel, Security},
};

/// How long one member may take to answer. It commits a change to group 0, twice at most.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Pause between two rounds through the members.
const ROUND_PAUSE: Duration = Duration::from_millis(250);

/// How often a newcomer that nobody answers says so.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(5);

/// What a newcomer says of itself.
#[derive(Clone, Debug)]
pub struct Newcomer {
    /// Members to ask.
    pub seeds: Vec<HostPort>,
    /// The token that lets it in.
    pub token: Secret,
    /// What tells this join from others.
    pub nonce: JoinNonce,
    /// What it is called.
    pub name: String,
    /// Where clients will reach it.
    pub http: SocketAddr,
    /// Where nodes will reach it.
    pub grpc: SocketAddr,
    /// Its failure domain, or nothing.
    pub zone: String,
    /// Its share.
    pub weight: u32,
    /// The signing request for its certificate; empty without TLS.
    pub csr: String,
}

/// What it is given.
#[derive(Clone, Debug)]
pub struct Joined {
    /// The cluster.
    pub cluster_id: String,
    /// Its number there.
    pub node: NodeId,
    /// Number of metadata groups.
    pub groups: u16,
    /// A view to begin with; the newcomer is not in it.
    pub view: View,
    /// The certificates that the cluster trusts (PEM); empty without TLS.
    pub ca: String,
    /// Its own certificate (PEM); empty without TLS.
    pub certificate: String,
}

/// Why a newcomer does not get in. Trying again without a change is useless.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JoinError {
    /// It has no token.
    #[error("cluster.join is set and neither cluster.token nor cluster.token_file is")]
    NoToken,
    /// A member said no.
    #[error("{member} refuses this node: {reason}")]
    Refused {
        /// Who.
        member: HostPort,
        /// What it said.
        reason: String,
    },
    /// A member answered with something that makes no sense.
    #[error("{member} answers what cannot be understood: {reason}")]
    Nonsense {
        /// Who.
        member: HostPort,
        /// What is wrong with it.
        reason: String,
    },
}

/// Asks until some member lets `newcomer` in or refuses.
///
/// # Errors
/// See [`JoinError`]. Members that do not answer are no error: they may be about to start.
pub async fn join(
    newcomer: &Newcomer,
    security: &Security,
    clock: &dyn Clock,
) -> Result<Joined, JoinError> {
    let request = JoinRequest {
        token: newcomer.token.reveal().to_owned(),
        nonce: newcomer.nonce.0.to_vec().into(),
        cluster_id: String::new(),
        name: newcomer.name.clone(),
        http: newcomer.http.to_string(),
        grpc: newcomer.grpc.to_string(),
        zone: newcomer.zone.clone(),
        weight: newcomer.weight,
        csr: newcomer.csr.clone(),
    };
    let mut complained: Option<Duration> = None;
    loop {
        for member in &newcomer.seeds {
            match ask(member, request.clone(), security).await {
                Ok(reply) => return understand(member, reply),
                Err(status) if is_final(status.code()) => {
                    let reason = status.message().to_owned();
                    return Err(JoinError::Refused { member: member.clone(), reason });
                }
                Err(status) => {
                    let now = clock.monotonic();
                    if complained.is_none_or(|at| now.saturating_sub(at) >= COMPLAINT_INTERVAL) {
                        complained = Some(now);
                        tracing::warn!(%member, reason = status.message(), "not let in yet");
                    }
                }
            }
        }
        tokio::time::sleep(ROUND_PAUSE).await;
    }
}

/// Is this the last word?
fn is_final(code: Code) -> bool {
    matches!(
        code,
        Code::Unauthenticated
            | Code::PermissionDenied
            | Code::InvalidArgument
            | Code::FailedPrecondition
            | Code::AlreadyExists
            | Code::Unimplemented
    )
}

async fn ask(
    member: &HostPort,
    request: JoinRequest,
    security: &Security,
) -> Result<JoinReply, Status> {
    let addresses = net::resolve(member.as_str()).await;
    let addresses = addresses.map_err(|error| Status::unavailable(error.to_string()))?;
    let mut last = Status::unavailable(format!("{member} has no address"));
    for address in addresses {
        let channel = Channel::new(&address.to_string(), security)
            .map_err(|error| Status::unavailable(error.to_string()))?;
        let mut client = MembershipClient::new(channel).max_decoding_message_size(VIEW_BYTES_MAX);
        match tokio::time::timeout(ANSWER_TIMEOUT, client.join(request.clone())).await {
            Ok(Ok(reply)) => return Ok(reply.into_inner()),
            Ok(Err(status)) if is_final(status.code()) => return Err(status),
            Ok(Err(status)) => last = status,
            Err(_) => last = Status::unavailable(format!("no answer within {ANSWER_TIMEOUT:?}")),
        }
    }
    Err(last)
}

fn understand(member: &HostPort, reply: JoinReply) -> Result<Joined, JoinError> {
    let nonsense = |reason: String| JoinError::Nonsense { member: member.clone(), reason };
    let view = View::decode(&reply.view).map_err(|error| nonsense(error.to_string()))?;
    let number = |number: u32| u16::try_from(number).ok().filter(|number| *number > 0);
    let node = number(reply.node).ok_or_else(|| nonsense(format!("node {}", reply.node)))?;
    let groups =
        number(reply.groups).ok_or_else(|| nonsense(format!("{} groups", reply.groups)))?;
    if view.cluster_id != reply.cluster_id {
        return Err(nonsense("the view is of another cluster".to_owned()));
    }
    let JoinReply { cluster_id, ca, certificate, .. } = reply;
    Ok(Joined { cluster_id, node: NodeId(node), groups, view, ca, certificate })
}
