//! Who is let in: on a plaintext listener everybody, on one with TLS members and, to join, strangers.
//!
//! Handshakes cost work and wait for the other end, so they are bounded in number and time, in all
//! and for each address: one that stalls cannot keep the others out. What is refused is logged with
//! the reason, at most once in a while for each address.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use rustls::ServerConfig;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{
    super::{
        Security,
        replay::Replay,
        tls::{HANDSHAKE_TIMEOUT, PeerIdentity, reason::reason},
    },
    refusals::{Handshakes, Refusals},
};
use crate::io::net;

/// Callers without a certificate that may be connected at a time. Joining is rare and short.
const STRANGERS_MAX: usize = 32;

/// How long each of them may stay: a join waits for a few commits.
pub(super) const STRANGER_TIME_MAX: Duration = Duration::from_secs(60);

/// The first byte of a TLS handshake.
const TLS_HANDSHAKE: u8 = 0x16;

/// What is read and thrown away of a caller that speaks plaintext, so that it can read the answer:
/// closing with bytes unread would reset the connection and lose it.
const PLAINTEXT_DRAINED_MAX: u64 = 64 << 10;

type Tls = TlsStream<Replay<net::Stream>>;

/// Who came in, and how.
#[cfg_attr(
    madsim,
    allow(clippy::large_enum_variant, reason = "TLS is small beside a simulated stream")
)]
pub(super) enum Entered {
    Plaintext(net::Stream),
    Member(Box<Tls>, PeerIdentity),
    Stranger(Box<Tls>, OwnedSemaphorePermit),
}

/// The way in.
pub(super) struct Door {
    security: Security,
    handshakes: Handshakes,
    refusals: Refusals,
    strangers: Arc<Semaphore>,
}

impl Door {
    pub fn new(security: Security) -> Door {
        let strangers = Arc::new(Semaphore::new(STRANGERS_MAX));
        let (handshakes, refusals) = (Handshakes::default(), Refusals::default());
        Door { security, handshakes, refusals, strangers }
    }

    /// Lets the caller in, or tells the log why not.
    pub async fn enter(&self, stream: net::Stream, address: SocketAddr) -> Option<Entered> {
        if self.security.is_plaintext() {
            return Some(Entered::Plaintext(stream));
        }
        let now = self.security.monotonic();
        match self.enter_secured(stream, address).await {
            Ok(entered) => Some(entered),
            Err(reason) => {
                self.refusals.log(address, &reason, now);
                None
            }
        }
    }

    async fn enter_secured(
        &self,
        stream: net::Stream,
        address: SocketAddr,
    ) -> Result<Entered, String> {
        let material = self.security.material().ok_or("this node has no certificate yet")?;
        let _place = self.handshakes.begin(address.ip())?;
        let shake = handshake(material.server.clone(), stream);
        let stream = match tokio::time::timeout(HANDSHAKE_TIMEOUT, shake).await {
            Ok(outcome) => outcome?,
            Err(_) => return Err(format!("no TLS handshake within {HANDSHAKE_TIMEOUT:?}")),
        };
        let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
        let Some(certificate) = certificates.first() else {
            let place = self.strangers.clone().try_acquire_owned();
            let place = place.map_err(|_| "too many callers without a certificate")?;
            return Ok(Entered::Stranger(Box::new(stream), place));
        };
        let name = PeerIdentity::of_certificate(certificate).map_err(|error| error.to_string())?;
        if self.security.is_removed(name.node) {
            return Err(format!("it is node {}, which was removed from the cluster", name.node));
        }
        Ok(Entered::Member(Box::new(stream), name))
    }
}

async fn handshake(config: Arc<ServerConfig>, stream: net::Stream) -> Result<Tls, String> {
    let (first, mut stream) =
        Replay::after_first(stream).await.map_err(|error| error.to_string())?;
    if first != TLS_HANDSHAKE {
        answer_plaintext(stream.inner_mut()).await;
        return Err("it speaks plaintext, and this node TLS: set `cluster.tls` alike on both, \
                    and check that nothing but nodes is pointed at this port"
            .to_owned());
    }
    TlsAcceptor::from(config).accept(stream).await.map_err(|error| reason(&error))
}

/// Tells a caller in plaintext HTTP/2 why it is refused: an end of the connection with a text, which
/// every gRPC client shows. The log has the same, so it does not matter when nobody reads it.
async fn answer_plaintext(stream: &mut net::Stream) {
    /// HTTP/2: empty SETTINGS, as the first frame must be.
    const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    /// GOAWAY for the connection; 8 bytes and the text follow.
    const GOAWAY: [u8; 6] = [7, 0, 0, 0, 0, 0];
    /// No stream was processed; INADEQUATE_SECURITY.
    const NOTHING_DONE: [u8; 8] = [0, 0, 0, 0, 0, 0, 0, 0x0c];
    const TEXT: &[u8] = b"this cluster port speaks TLS: check `cluster.tls` of the caller";
    const LENGTH: [u8; 3] = [0, 0, (NOTHING_DONE.len() + TEXT.len()) as u8];
    const _: () = assert!(NOTHING_DONE.len() + TEXT.len() < 256, "the length is one byte");

    let frames = [&SETTINGS[..], &LENGTH, &GOAWAY, &NOTHING_DONE, TEXT].concat();
    let _ = stream.write_all(&frames).await;
    let _ = stream.shutdown().await;
    let mut rest = stream.take(PLAINTEXT_DRAINED_MAX);
    let mut thrown = [0; 4096];
    while matches!(rest.read(&mut thrown).await, Ok(read) if read > 0) {}
}
