//! The listener for operators and their tools: probes, metrics, and the admin API ([`api`]).
//!
//! | path | answer |
//! |---|---|
//! | `/livez` | 200 as long as the process answers at all; restart it when it does not |
//! | `/startupz` | 200 once the node has been ready for the first time |
//! | `/readyz` | 200 while it should get requests, else 503; the body tells each check |
//! | `/metrics` | OpenMetrics text |
//! | `/v1/…` | the admin API |
//!
//! A node that drains is alive and not ready: load balancers turn away, supervisors leave it be.

pub mod api;
mod changes;
mod error;
mod guard;
pub mod health;
mod ledger;
mod operator;
pub mod pieces;
mod service;
mod shares;
mod status;
mod whereabouts;

#[cfg(test)]
mod tests;

use std::sync::{Arc, OnceLock};

use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};

pub use error::AdminError;
pub use health::{Check, CheckState, Health};
pub use ledger::TreeLedger;
pub use operator::{How, Operator, Reached};
pub use service::OperatorService;

use crate::telemetry::{Metrics, metrics};

/// What the listener answers from.
#[derive(Clone, Debug, Default)]
pub struct AdminState {
    /// The state of the node's parts.
    pub health: Health,
    /// The node's metrics.
    pub metrics: Metrics,
    /// What the admin API answers from, once the node has opened its parts. The listener is there
    /// before that.
    pub operator: Arc<OnceLock<Operator>>,
    /// May other machines change something?
    pub allow_remote: bool,
}

/// The routes of the listener.
pub fn router(state: AdminState) -> Router {
    Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/startupz", get(startupz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(exposition))
        .merge(api::router())
        .with_state(state)
}

async fn startupz(State(state): State<AdminState>) -> impl IntoResponse {
    if state.health.has_started() {
        (StatusCode::OK, "started\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "starting\n")
    }
}

async fn readyz(State(state): State<AdminState>) -> impl IntoResponse {
    let report = state.health.report();
    let status = if report.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, [(header::CACHE_CONTROL, "no-store")], Json(report))
}

async fn exposition(State(state): State<AdminState>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], state.metrics.text())
}
