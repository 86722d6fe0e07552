//! A member's side of a join: is the token good, which number is free, write it all down in one step.
//!
//! One `multi` uses up the token, counts the number on and writes the member's record, so that a
//! token lets one node in even when two members are asked at once, and a number is given once even
//! when a member dies half-way. Which number a nonce was given stays written down: who asks again gets
//! the same answer.

use std::net::SocketAddr;

use atoll_core::view::{Intent, MemberRecord, NodeId};
use atoll_proto::cluster::v1::{JoinReply, JoinRequest};
use tokio::sync::watch;

use crate::{
    cluster::{
        Cluster, SessionSlot,
        ca::{Authorities, SignError},
        certificate::CERTIFICATE_LIFETIME,
        token, znodes,
    },
    config::{NodeName, Zone},
    coordination::{CoordinationError, CreateMode, Op, Refusal, Session},
    io::Io,
    wire::tls::PeerIdentity,
};

/// How often a join is tried again that collides with another one.
const COLLISIONS_MAX: usize = 20;

/// Lets newcomers in.
#[derive(Clone, Debug)]
pub struct Admission {
    /// This node's cluster.
    pub cluster: Cluster,
    /// The way into group 0.
    pub session: SessionSlot,
    /// Time.
    pub io: Io,
    /// Number of metadata groups.
    pub groups: u16,
    /// What certificates are signed with; nothing without TLS.
    pub authorities: watch::Receiver<Option<Authorities>>,
}

/// Why a newcomer is not let in.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The token opens nothing.
    #[error(transparent)]
    Token(#[from] token::BadToken),
    /// The token is good for nothing here.
    #[error(transparent)]
    TokenRefused(token::TokenRefused),
    /// It means another cluster.
    #[error("this is cluster `{ours}`, the join is meant for `{theirs}`")]
    OtherCluster {
        /// This one.
        ours: String,
        /// That one.
        theirs: String,
    },
    /// Something it says of itself cannot be.
    #[error("{0}")]
    Invalid(String),
    /// Its signing request is not granted.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// A member that is up has the same address.
    #[error("node {0} is up at the same address")]
    AddressTaken(NodeId),
    /// Group 0 does not answer; perhaps later, or at another member.
    #[error("not now: {0}")]
    NotNow(String),
}

impl From<token::TokenRefused> for Refused {
    fn from(error: token::TokenRefused) -> Self {
        match error {
            token::TokenRefused::Unavailable(error) => error.into(),
            error => Refused::TokenRefused(error),
        }
    }
}

impl From<CoordinationError> for Refused {
    fn from(error: CoordinationError) -> Self {
        Refused::NotNow(error.to_string())
    }
}

impl Admission {
    /// Lets a newcomer in, or says why not.
    ///
    /// # Errors
    /// See [`Refused`].
    pub async fn admit(&self, request: &JoinRequest) -> Result<JoinReply, Refused> {
        let view = self.cluster.view();
        if !request.cluster_id.is_empty() && request.cluster_id != view.cluster_id {
            let (ours, theirs) = (view.cluster_id.clone(), request.cluster_id.clone());
            return Err(Refused::OtherCluster { ours, theirs });
        }
        let record = record(request)?;
        let nonce: [u8; 16] = request
            .nonce
            .as_ref()
            .try_into()
            .map_err(|_| Refused::Invalid("the nonce must have 16 bytes".to_owned()))?;
        let token = request.token.parse::<token::Token>()?;
        let session = self.session.get();
        let session = session.ok_or_else(|| Refused::NotNow("no session yet".to_owned()))?;
        let authorities = self.authorities()?;
        // Before the token is used up for it.
        authorities.as_ref().map_or(Ok(()), |known| known.check(&request.csr))?;
        let node = self.enter(session.as_ref(), &token, u128::from_be_bytes(nonce), record).await?;
        let (ca, certificate) = match authorities {
            Some(authorities) => {
                let name = PeerIdentity { cluster_id: view.cluster_id.clone(), node };
                let now = self.io.clock.wall();
                let signed = authorities.sign(&request.csr, &name, now, CERTIFICATE_LIFETIME)?;
                (authorities.trusted_pem(), signed)
            }
            None => (String::new(), String::new()),
        };
        Ok(JoinReply {
            cluster_id: view.cluster_id.clone(),
            node: u32::from(node.0),
            groups: u32::from(self.groups),
            view: self.cluster.view().encode().into(),
            ca,
            certificate,
        })
    }

    /// What the newcomer's certificate is signed with; `None` in a cluster without TLS.
    fn authorities(&self) -> Result<Option<Authorities>, Refused> {
        if self.cluster.security().is_plaintext() {
            return Ok(None);
        }
        let known = self.authorities.borrow().clone();
        known.map(Some).ok_or_else(|| Refused::NotNow("the CA is not known here yet".to_owned()))
    }

    async fn enter(
        &self,
        session: &dyn Session,
        token: &token::Token,
        nonce: u128,
        record: MemberRecord,
    ) -> Result<NodeId, Refused> {
        let joined = format!("{}/{nonce:032x}", znodes::JOINS);
        for _ in 0..COLLISIONS_MAX {
            session.sync(znodes::ROOT).await?;
            if let Some((data, _)) = get(session, &joined).await? {
                return znodes::decode(&data).map_err(|error| Refused::NotNow(error.to_string()));
            }
            let spent = token::redemption(session, token, self.io.clock.wall()).await?;
            self.check_address(&record)?;
            let (number, version) = next_number(session).await?;
            let node = NodeId(number);
            let ops = vec![
                spent,
                Op::Set {
                    path: znodes::NEXT_NODE.to_owned(),
                    data: encode(&(number + 1))?,
                    version: Some(version),
                },
                create(znodes::of(znodes::MEMBERS, node), encode(&record)?),
                create(joined.clone(), encode(&node)?),
            ];
            match session.multi(ops).await {
                Ok(_) => return Ok(node),
                // Another join came between: look again, this time perhaps at a token that is used.
                Err(CoordinationError::Refused { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Refused::NotNow("too many joins at once".to_owned()))
    }

    fn check_address(&self, record: &MemberRecord) -> Result<(), Refused> {
        let view = self.cluster.view();
        let twin =
            view.members.iter().find(|(_, member)| member.is_up() && member.grpc == record.grpc);
        twin.map_or(Ok(()), |(node, _)| Err(Refused::AddressTaken(*node)))
    }
}

/// The number for the next node, with the version of its znode.
async fn next_number(session: &dyn Session) -> Result<(u16, i32), Refused> {
    let (data, stat) = session.get(znodes::NEXT_NODE).await?;
    let number: u16 = znodes::decode(&data).map_err(|error| Refused::NotNow(error.to_string()))?;
    if number == u16::MAX {
        return Err(Refused::Invalid("this cluster has given out every number".to_owned()));
    }
    Ok((number, stat.version))
}

async fn get(
    session: &dyn Session,
    path: &str,
) -> Result<Option<(Vec<u8>, i32)>, CoordinationError> {
    match session.get(path).await {
        Ok((data, stat)) => Ok(Some((data, stat.version))),
        Err(error) if matches!(error.refusal(), Some(Refusal::NoNode(_))) => Ok(None),
        Err(error) => Err(error),
    }
}

fn encode<T: serde::Serialize>(value: &T) -> Result<Vec<u8>, Refused> {
    znodes::encode(value).map_err(|error| Refused::NotNow(error.to_string()))
}

fn create(path: String, data: Vec<u8>) -> Op {
    Op::Create { path, data, mode: CreateMode::PERSISTENT }
}

/// What the newcomer says of itself, checked.
fn record(request: &JoinRequest) -> Result<MemberRecord, Refused> {
    let invalid = |what: &str, value: &str| Refused::Invalid(format!("`{value}` is no {what}"));
    let name = NodeName::parse(&request.name).ok_or_else(|| invalid("name", &request.name))?;
    let address = |text: &str| reachable(text).ok_or_else(|| invalid("address to reach", text));
    if !request.zone.is_empty() && Zone::parse(&request.zone).is_none() {
        return Err(invalid("zone", &request.zone));
    }
    if !(1..=10_000).contains(&request.weight) {
        return Err(invalid("weight", &request.weight.to_string()));
    }
    Ok(MemberRecord {
        name: name.as_str().to_owned(),
        http: address(&request.http)?,
        grpc: address(&request.grpc)?,
        zone: request.zone.clone(),
        weight: request.weight,
        intent: Intent::In,
    })
}

/// An address that others can connect to, in its one spelling.
pub(in crate::cluster) fn reachable(text: &str) -> Option<String> {
    let address: SocketAddr = text.parse().ok()?;
    (!address.ip().is_unspecified() && address.port() > 0).then(|| address.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> JoinRequest {
        JoinRequest {
            name: "reef-2".to_owned(),
            http: "10.0.0.2:5000".to_owned(),
            grpc: "10.0.0.2:5001".to_owned(),
            zone: "rack-1".to_owned(),
            weight: 100,
            ..JoinRequest::default()
        }
    }

    #[test]
    fn what_a_newcomer_says_is_checked() {
        assert_eq!(record(&request()).unwrap().name, "reef-2");
        let wrong: [fn(&mut JoinRequest); 7] = [
            |request| request.name = "Reef 2".to_owned(),
            |request| request.http = "reef-2:5000".to_owned(),
            |request| request.grpc = "0.0.0.0:5001".to_owned(),
            |request| request.grpc = "10.0.0.2:0".to_owned(),
            |request| request.zone = "rack 1".to_owned(),
            |request| request.weight = 0,
            |request| request.weight = 10_001,
        ];
        for spoil in wrong {
            let mut request = request();
            spoil(&mut request);
            assert!(matches!(record(&request), Err(Refused::Invalid(_))), "{request:?}");
        }
    }
}
