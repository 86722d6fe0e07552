//! The cluster listener: HTTP/2, one task for each connection.
//!
//! - [`door`]: who is let in: plaintext or TLS, and who then stands there;
//! - [`guard`]: what the one who was let in may call.

mod door;
mod guard;
mod refusals;

use std::{net::SocketAddr, sync::Arc};

use hyper::server::conn::http2;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tracing::{debug, warn};

use self::{
    door::{Door, Entered, STRANGER_TIME_MAX},
    guard::Guard,
};
pub use guard::OPEN_TO_STRANGERS;

use super::{
    KEEP_ALIVE_INTERVAL, KEEP_ALIVE_TIMEOUT, Security, peer::Peer, tls::reason::with_causes,
};
use crate::io::{
    net::{self, Listener},
    rt::{Executor, Timer},
};

/// Pause after a failed accept (out of file handles), so that the loop does not spin.
const ACCEPT_PAUSE: std::time::Duration = std::time::Duration::from_millis(50);

/// Serves `routes` on `listener` until `stop`; connections end with it, calls in flight included:
/// every call among nodes is retried by its caller.
pub async fn serve(
    listener: Listener,
    routes: Routes,
    security: Security,
    stop: CancellationToken,
) {
    let router = routes.into_axum_router();
    let house = Arc::new(House { router, door: Door::new(security.clone()), security, stop });
    loop {
        let accepted = tokio::select! {
            biased;
            () = house.stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                tokio::spawn(House::visit(house.clone(), stream, peer));
            }
            Err(error) => {
                warn!(%error, "cannot accept a connection of another node");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

struct House {
    router: axum::Router,
    door: Door,
    security: Security,
    stop: CancellationToken,
}

impl House {
    async fn visit(house: Arc<House>, stream: net::Stream, address: SocketAddr) {
        let whole = async {
            match house.door.enter(stream, address).await {
                None => {}
                Some(Entered::Plaintext(stream)) => {
                    house.converse(stream, address, Peer::Unproven).await;
                }
                Some(Entered::Member(stream, name)) => {
                    house.converse(stream, address, Peer::Member(name)).await;
                }
                Some(Entered::Stranger(stream, _place)) => {
                    let visit = house.converse(stream, address, Peer::Stranger);
                    if tokio::time::timeout(STRANGER_TIME_MAX, visit).await.is_err() {
                        debug!(%address, "a caller without a certificate stayed too long");
                    }
                }
            }
        };
        tokio::select! {
            biased;
            () = house.stop.cancelled() => {}
            () = whole => {}
        }
    }

    async fn converse<S>(&self, stream: S, address: SocketAddr, peer: Peer)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let guard = Guard::new(self.router.clone(), peer, self.security.clone());
        let connection = http2::Builder::new(Executor)
            .timer(Timer)
            .keep_alive_interval(KEEP_ALIVE_INTERVAL)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
            .serve_connection(TokioIo::new(stream), guard);
        if let Err(error) = connection.await {
            debug!(peer = %address, error = with_causes(&error), "connection of another node ended");
        }
    }
}
