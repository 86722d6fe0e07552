//! The caller's side of a handshake.

use std::{net::SocketAddr, sync::Arc};

use atoll_core::view::NodeId;
use rustls::{ClientConfig, pki_types::ServerName};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{HANDSHAKE_TIMEOUT, PeerIdentity, reason::reason};
use crate::{io::net, wire::replay::Replay};

/// A stream inside TLS whose other end has accepted this node.
pub(in crate::wire) type Secured = Replay<TlsStream<net::Stream>>;

/// Proves both ends to each other, and that the other is `expected`.
///
/// In TLS 1.3 a caller believes itself connected before the other end has looked at its certificate.
/// So the handshake counts as done when the other end has spoken, which a listener for HTTP/2 does
/// first: a refusal is then told as such, and not as a connection that broke later.
pub(in crate::wire) async fn handshake(
    config: Arc<ClientConfig>,
    stream: net::Stream,
    address: SocketAddr,
    expected: Option<NodeId>,
) -> Result<Secured, String> {
    let both = async {
        // The name is not looked at: a certificate names a node and not a host.
        let name = ServerName::from(address.ip());
        let connected = TlsConnector::from(config).connect(name, stream).await;
        let stream = connected.map_err(|error| reason(&error))?;
        check_node(&stream, expected)?;
        match Replay::after_first(stream).await {
            Ok((_, stream)) => Ok(stream),
            Err(error) => Err(reason(&error)),
        }
    };
    match tokio::time::timeout(HANDSHAKE_TIMEOUT, both).await {
        Ok(outcome) => outcome,
        Err(_) => Err(format!("no TLS handshake within {HANDSHAKE_TIMEOUT:?}")),
    }
}

fn check_node(stream: &TlsStream<net::Stream>, expected: Option<NodeId>) -> Result<(), String> {
    let Some(expected) = expected else { return Ok(()) };
    let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let certificate = certificates.first().ok_or("it has no certificate")?;
    let name = PeerIdentity::of_certificate(certificate).map_err(|error| error.to_string())?;
    if name.node == expected {
        return Ok(());
    }
    Err(format!("it is node {}, not node {expected}: do two nodes share an address?", name.node))
}
