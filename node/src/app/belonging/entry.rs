//! Who this node is: as its folder says, as it draws for a cluster it founds, or as it is told by the
//! cluster that it joins.

use std::path::Path;

use anyhow::Context as _;
use atoll_core::view::{MemberRecord, View};

use super::settings::{Addresses, ClusterSettings};
use crate::{
    cluster::{
        certificate::{self, NodeKey},
        identity::{self, Identity, JoinNonce, Kept},
        join::{self, JoinError, Newcomer},
        token::Token,
    },
    io::Io,
    wire::{Security, policy::Protection},
};

/// What a node is by now.
#[derive(Debug)]
pub struct Entry {
    /// Who it is.
    pub identity: Identity,
    /// A view to begin with, for one that has just joined.
    pub view: Option<View>,
    /// How its connections are protected, with its certificate if it has one.
    pub security: Security,
}

/// Finds out who this node is; a newcomer asks its cluster until it is let in or refused.
///
/// # Errors
/// The disk, a certificate that does not fit, a cluster that does not let it in.
pub async fn enter(
    io: &Io,
    settings: &ClusterSettings,
    record: &MemberRecord,
    addresses: Addresses,
) -> anyhow::Result<Entry> {
    let protection = settings.protection(addresses);
    if protection == Protection::Exposed {
        let listen = settings.listen;
        tracing::warn!(%listen, "nodes speak plain text on a network: cluster.insecure is set");
    }
    let security = protection.security(io.clock.clone());
    let (kept, in_use) = io
        .disk_op(|disk| {
            let in_use = disk.list(Path::new("metadata")).is_ok();
            identity::read(disk.as_ref()).map(|kept| (kept, in_use))
        })
        .await?;
    let nonce = match kept {
        Kept::Member(identity) => {
            let identity = Identity { incarnation: identity.incarnation + 1, ..identity };
            keep(io, &identity).await?;
            if !security.is_plaintext()
                && let Some(proof) = certificate::load(io).await?
            {
                security.install(proof)?;
            }
            return Ok(Entry { identity, view: None, security });
        }
        Kept::Nothing if settings.join.is_empty() || in_use => {
            let identity = Identity::founder(io.entropy.as_ref());
            keep(io, &identity).await?;
            return Ok(Entry { identity, view: None, security });
        }
        Kept::Joining(nonce) => nonce,
        Kept::Nothing => JoinNonce::draw(io.entropy.as_ref()),
    };
    io.disk_op(move |disk| identity::write_joining(disk.as_ref(), nonce)).await?;
    let token = settings.token.as_ref().ok_or(JoinError::NoToken)?;
    let parsed: Token = token.reveal().parse().context("cluster.token")?;
    let asking = parsed.security(protection, io.clock.clone()).context("cluster.token")?;
    let key = (!security.is_plaintext()).then(NodeKey::generate).transpose()?;
    let newcomer = Newcomer {
        seeds: settings.join.clone(),
        token: token.clone(),
        nonce,
        name: record.name.clone(),
        http: addresses.http,
        grpc: addresses.grpc,
        zone: settings.zone.clone(),
        weight: settings.weight,
        csr: key.as_ref().map(NodeKey::request_pem).transpose()?.unwrap_or_default(),
    };
    let joined = join::join(&newcomer, &asking, io.clock.as_ref()).await?;
    // The certificate first: a member without one could not come back.
    if let Some(key) = key {
        let proof = key.with_certificate(&joined.certificate, &joined.ca);
        certificate::adopt(io, &security, proof).await?;
    }
    let identity = Identity {
        cluster_id: joined.cluster_id,
        node: joined.node,
        incarnation: 1,
        groups: Some(joined.groups),
    };
    keep(io, &identity).await?;
    tracing::info!(cluster = identity.cluster_id, node = %identity.node, "joined");
    Ok(Entry { identity, view: Some(joined.view), security })
}

async fn keep(io: &Io, identity: &Identity) -> std::io::Result<()> {
    let identity = identity.clone();
    io.disk_op(move |disk| identity::write_member(disk.as_ref(), &identity)).await
}
