//! rustls, set up for the nodes of one cluster: TLS 1.3, HTTP/2, both sides prove who they are.

use std::{
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    client::Resumption,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, UnixTime},
    server::NoServerSessionStorage,
    time_provider::TimeProvider,
    version::TLS13,
};

use super::{
    BadIdentity, Fingerprint, Identity,
    verify::{Callee, Callers},
};
use crate::io::Clock;

/// What both sides speak inside: gRPC is HTTP/2.
const ALPN: &[u8] = b"h2";

/// The node's own clock decides when a certificate has expired.
#[derive(Debug)]
struct Wall(Arc<dyn Clock>);

impl TimeProvider for Wall {
    fn current_time(&self) -> Option<UnixTime> {
        let since = self.0.wall().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Some(UnixTime::since_unix_epoch(since))
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// The CAs among `certificates`, as trust anchors.
///
/// # Errors
/// None can be one.
pub(super) fn roots(
    certificates: &[CertificateDer<'static>],
) -> Result<RootCertStore, BadIdentity> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        roots.add(certificate.clone()).map_err(|error| BadIdentity::Roots(error.to_string()))?;
    }
    match roots.is_empty() {
        true => Err(BadIdentity::Roots("there is none".to_owned())),
        false => Ok(roots),
    }
}

/// For calls of a member.
///
/// # Errors
/// The parts of `identity` do not fit together.
pub fn client(
    clock: Arc<dyn Clock>,
    identity: &Identity,
) -> Result<Arc<ClientConfig>, BadIdentity> {
    let provider = provider();
    let verifier = Callee::member(identity, provider.clone())?;
    let config = ClientConfig::builder_with_details(provider, Arc::new(Wall(clock)))
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_auth_cert(identity.chain().to_vec(), identity.key().clone_key())?;
    Ok(Arc::new(finished(config)))
}

/// For the one call by which a node joins.
pub fn joining(clock: Arc<dyn Clock>, authority: Fingerprint) -> Arc<ClientConfig> {
    let provider = provider();
    let verifier = Callee::newcomer(authority, provider.clone());
    let config = ClientConfig::builder_with_details(provider, Arc::new(Wall(clock)))
        .with_protocol_versions(&[&TLS13])
        .expect("the provider has suites of TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Arc::new(finished(config))
}

fn finished(mut config: ClientConfig) -> ClientConfig {
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_sni = false;
    config
}

/// For the listener of a member. A caller without a certificate comes in as a stranger.
///
/// # Errors
/// The parts of `identity` do not fit together.
pub fn server(
    clock: Arc<dyn Clock>,
    identity: &Identity,
) -> Result<Arc<ServerConfig>, BadIdentity> {
    let provider = provider();
    let verifier = Callers::new(identity, provider.clone())?;
    let mut config = ServerConfig::builder_with_details(provider, Arc::new(Wall(clock)))
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_single_cert(identity.chain().to_vec(), identity.key().clone_key())?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}
