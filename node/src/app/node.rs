//! A node that has only its admin listener.

use anyhow::Context;
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use tracing::info;

use super::shutdown::Shutdown;
use crate::{
    admin::{self, AdminState, Check, CheckState, Health},
    config::Config,
    io::net,
    telemetry::Metrics,
};

/// Connections the system keeps until they are accepted.
const BACKLOG: u32 = 128;

/// Runs a node until `shutdown` asks it to stop.
///
/// # Errors
/// When it cannot start.
pub async fn serve(config: Config, shutdown: Shutdown) -> anyhow::Result<()> {
    let state = AdminState { health: Health::new(), metrics: Metrics::new() };
    let listener = net::listen(config.admin.listen, BACKLOG).await.context("listen for admin")?;
    info!(address = %listener.local_addr()?, "admin listens");
    for check in [Check::Storage, Check::Metadata, Check::Listener] {
        state.health.set(check, CheckState::Ready);
    }
    let router = admin::router(state);
    loop {
        let stream = tokio::select! {
            biased;
            () = shutdown.requested() => return Ok(()),
            accepted = listener.accept() => accepted?.0,
        };
        let service = TowerToHyperService::new(router.clone());
        tokio::spawn(async move {
            let builder = hyper::server::conn::http1::Builder::new();
            let _ = builder.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}
