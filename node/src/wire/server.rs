//! The cluster listener: HTTP/2, one task for each connection.

use hyper::server::conn::http2;
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tracing::{debug, warn};

use super::{KEEP_ALIVE_INTERVAL, KEEP_ALIVE_TIMEOUT};
use crate::io::{
    net::{self, Listener},
    rt::{Executor, Timer},
};

/// Pause after a failed accept (out of file handles), so that the loop does not spin.
const ACCEPT_PAUSE: std::time::Duration = std::time::Duration::from_millis(50);

/// Serves `routes` on `listener` until `stop`; connections end with it, calls in flight included:
/// every call among nodes is retried by its caller.
pub async fn serve(listener: Listener, routes: Routes, stop: CancellationToken) {
    let service = TowerToHyperService::new(routes.into_axum_router());
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                tokio::spawn(connection(stream, peer, service.clone(), stop.clone()));
            }
            Err(error) => {
                warn!(%error, "cannot accept a connection of another node");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(
    stream: net::Stream,
    peer: std::net::SocketAddr,
    service: TowerToHyperService<axum::Router>,
    stop: CancellationToken,
) {
    let connection = http2::Builder::new(Executor)
        .timer(Timer)
        .keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        ended = connection => if let Err(error) = ended {
            debug!(%peer, %error, "connection of another node ended");
        },
    }
}
