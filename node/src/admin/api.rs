//! The admin API: `/v1/…`, JSON in and out.
//!
//! | path | answer |
//! |---|---|
//! | `GET /v1/status` | the whole cluster |
//! | `GET /v1/report` | this node's own account |
//! | `GET /v1/ring` | who has how much of the ring |
//! | `GET /v1/where?ref=…` | where an image or blob is |
//! | `POST /v1/nodes/{node}/drain`, `…/undrain`, `…/remove` | change one node; `?dry_run=1`, `?force=1` |
//! | `POST /v1/nodes/{node}/replace` `{"by": …}` | put one node in another's place |
//! | `GET`, `POST`, `DELETE /v1/plan`, `POST /v1/plan/commit` | look at, stage, discard, commit a plan |
//! | `POST /v1/repair` | compare copies everywhere now |
//! | `POST /v1/gc` | begin to collect garbage; `?dry_run=1` |
//! | `POST /v1/tokens` `{"ttl_seconds": …}` | make a join token |
//!
//! The shapes are those of [`atoll_core::admin`]; refusals are one [`Failure`](atoll_core::admin::Failure).
//! Handlers only translate: what happens is [`Operator`]'s.

use std::time::Duration;

use atoll_core::admin::{Change, PlanRequest};
use axum::{
    Json, Router,
    body::Bytes,
    extract::{FromRequestParts, Path, Query},
    http::{Method, Uri, header, request::Parts},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{AdminError, AdminState, How, Operator, guard};
use crate::io::net::Peer;

/// The longest life of a token that is asked for without one.
const TOKEN_TTL_SECONDS: u64 = 3600;

/// The routes.
pub fn router() -> Router<AdminState> {
    Router::new()
        .route("/v1/status", get(status))
        .route("/v1/report", get(report))
        .route("/v1/ring", get(ring))
        .route("/v1/where", get(whereabouts))
        .route("/v1/nodes/{node}/drain", post(drain))
        .route("/v1/nodes/{node}/undrain", post(undrain))
        .route("/v1/nodes/{node}/remove", post(remove))
        .route("/v1/nodes/{node}/replace", post(replace))
        .route("/v1/plan", get(plan).post(stage).delete(discard))
        .route("/v1/plan/commit", post(commit))
        .route("/v1/repair", post(repair))
        .route("/v1/gc", post(collect))
        .route("/v1/tokens", post(mint))
        .route("/v1/{*rest}", axum::routing::any(unknown))
        .method_not_allowed_fallback(async |method: Method| {
            AdminError::WrongMethod(method.to_string())
        })
}

/// An answer: never kept by anyone in between, since it is old the moment after.
struct Fresh<T>(T);

impl<T: Serialize> IntoResponse for Fresh<T> {
    fn into_response(self) -> Response {
        ([(header::CACHE_CONTROL, "no-store")], Json(self.0)).into_response()
    }
}

type Answer<T> = Result<Fresh<T>, AdminError>;

/// The operator of a request that only reads.
struct Reader(Operator);

impl FromRequestParts<AdminState> for Reader {
    type Rejection = AdminError;

    async fn from_request_parts(_: &mut Parts, state: &AdminState) -> Result<Self, AdminError> {
        state.operator.get().cloned().map(Reader).ok_or(AdminError::Starting)
    }
}

/// The operator of a request that changes something: whoever sends it may.
struct Changer(Operator);

impl FromRequestParts<AdminState> for Changer {
    type Rejection = AdminError;

    async fn from_request_parts(parts: &mut Parts, state: &AdminState) -> Result<Self, AdminError> {
        let peer = parts.extensions.get::<Peer>().map(|peer| peer.0);
        guard::may_change(peer, &parts.headers, state.allow_remote)?;
        state.operator.get().cloned().map(Changer).ok_or(AdminError::Starting)
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Flags {
    dry_run: Option<String>,
    force: Option<String>,
}

impl FromRequestParts<AdminState> for How {
    type Rejection = AdminError;

    async fn from_request_parts(parts: &mut Parts, _: &AdminState) -> Result<Self, AdminError> {
        let flags = Query::<Flags>::try_from_uri(&parts.uri);
        let Query(flags) = flags.map_err(|error| AdminError::BadQuery(error.body_text()))?;
        let flag = |text: Option<String>| match text.as_deref() {
            None | Some("0" | "false") => Ok(false),
            Some("" | "1" | "true") => Ok(true),
            Some(other) => Err(AdminError::BadQuery(format!("`{other}` is no flag"))),
        };
        Ok(How { dry_run: flag(flags.dry_run)?, force: flag(flags.force)? })
    }
}

/// A JSON body; one that is empty counts as `{}`.
fn body<T: DeserializeOwned>(body: &Bytes) -> Result<T, AdminError> {
    let text: &[u8] = if body.is_empty() { b"{}" } else { body };
    serde_json::from_slice(text).map_err(|error| AdminError::BadBody(error.to_string()))
}

async fn unknown(uri: Uri) -> AdminError {
    AdminError::UnknownPath(uri.path().to_owned())
}

async fn status(Reader(operator): Reader) -> Answer<impl Serialize> {
    operator.status().await.map(Fresh)
}

async fn report(Reader(operator): Reader) -> Answer<impl Serialize> {
    Ok(Fresh(operator.pieces().report().await))
}

async fn ring(Reader(operator): Reader) -> Answer<impl Serialize> {
    operator.ring().await.map(Fresh)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Where {
    #[serde(rename = "ref")]
    target: String,
}

async fn whereabouts(Reader(operator): Reader, uri: Uri) -> Answer<impl Serialize> {
    let asked = Query::<Where>::try_from_uri(&uri);
    let Query(asked) = asked.map_err(|error| AdminError::BadQuery(error.body_text()))?;
    operator.whereabouts(&asked.target.parse()?).await.map(Fresh)
}

async fn drain(
    Changer(operator): Changer,
    Path(node): Path<String>,
    how: How,
) -> Answer<impl Serialize> {
    operator.change(&node, Change::Drain, how).await.map(Fresh)
}

async fn undrain(
    Changer(operator): Changer,
    Path(node): Path<String>,
    how: How,
) -> Answer<impl Serialize> {
    operator.change(&node, Change::Undrain, how).await.map(Fresh)
}

async fn remove(
    Changer(operator): Changer,
    Path(node): Path<String>,
    how: How,
) -> Answer<impl Serialize> {
    operator.change(&node, Change::Remove, how).await.map(Fresh)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Replacement {
    by: Named,
}

/// A node by its number or name.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Named {
    Number(u16),
    Name(String),
}

async fn replace(
    Changer(operator): Changer,
    Path(node): Path<String>,
    how: How,
    sent: Bytes,
) -> Answer<impl Serialize> {
    let by = match body::<Replacement>(&sent)?.by {
        Named::Number(number) => number.to_string(),
        Named::Name(name) => name,
    };
    operator.replace(&node, &by, how).await.map(Fresh)
}

async fn plan(Reader(operator): Reader) -> Answer<impl Serialize> {
    operator.plan().await.map(Fresh)
}

async fn stage(Changer(operator): Changer, how: How, sent: Bytes) -> Answer<impl Serialize> {
    let asked: PlanRequest = body(&sent)?;
    operator.stage(asked.changes, how.dry_run).await.map(Fresh)
}

async fn discard(Changer(operator): Changer) -> Answer<impl Serialize> {
    operator.discard_plan().await?;
    Ok(Fresh(serde_json::json!({ "discarded": true })))
}

async fn commit(Changer(operator): Changer, how: How) -> Answer<impl Serialize> {
    operator.commit_plan(how.force).await.map(Fresh)
}

async fn repair(Changer(operator): Changer) -> Answer<impl Serialize> {
    Ok(Fresh(operator.repair().await))
}

async fn collect(Changer(operator): Changer, how: How) -> Answer<impl Serialize> {
    operator.collect(how.dry_run).await.map(Fresh)
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Mint {
    ttl_seconds: Option<u64>,
}

async fn mint(Changer(operator): Changer, sent: Bytes) -> Answer<impl Serialize> {
    let asked: Mint = body(&sent)?;
    let ttl = Duration::from_secs(asked.ttl_seconds.unwrap_or(TOKEN_TTL_SECONDS));
    operator.mint(ttl).await.map(Fresh)
}
