//! What becomes of a request.
//!
//! Content is pulled through the cache (`pull`), everything else is forwarded (`forward`). Before
//! both stand the guard and the question which registry is meant.

mod forward;
mod pull;

use std::{net::SocketAddr, sync::Arc};

use atoll_core::{
    Reference,
    route::{self, Route},
};
use http::{HeaderMap, HeaderValue, Method, Request, Response, header};
use hyper::body::Incoming;
use tracing::debug;

use super::{
    authority::Authority,
    body::{self, Body},
    cache::{Cache, Flights},
    figures::{Counters, Status},
    guard::Guard,
    headers,
    host::{self, Instant},
    namespace::{self, Names},
    placement::Placement,
    refusal::Refusal,
    upstream::{Answered, Upstream},
};

/// Says by which name the registry was meant (distribution-spec, "Registry Proxying").
const OCI_NAMESPACE: &str = "oci-namespace";

/// Everything that answers need.
#[derive(Debug)]
pub struct Api {
    listen: SocketAddr,
    began: Instant,
    guard: Guard,
    names: Names,
    placement: Arc<dyn Placement>,
    upstream: Upstream,
    authority: Authority,
    cache: Cache,
    flights: Flights,
    counters: Counters,
}

/// The registry behind the agent.
#[derive(Clone, Debug)]
pub struct Nodes {
    /// Who is asked.
    pub placement: Arc<dyn Placement>,
    /// How.
    pub upstream: Upstream,
}

/// A request as the agent sees it.
struct Call {
    method: Method,
    /// Path and query, as a node is asked.
    path: String,
    route: Option<Route>,
    query: String,
    headers: HeaderMap,
}

impl Api {
    /// For an agent that listens on `listen`, of the registry known by `names`.
    pub fn new(listen: SocketAddr, names: Names, nodes: Nodes, cache: Cache) -> Api {
        let Nodes { placement, upstream } = nodes;
        Api {
            listen,
            began: host::now(),
            guard: Guard::new(listen.port()),
            names,
            placement,
            upstream,
            authority: Authority::default(),
            cache,
            flights: Flights::default(),
            counters: Counters::default(),
        }
    }

    /// Answers one request.
    pub async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        self.counters.requests.add(1);
        let is_head = request.method() == Method::HEAD;
        // Never the headers: a credential is among them.
        debug!(method = %request.method(), path = request.uri().path(), "asked");
        let answer = self.judged(request).await;
        answer.unwrap_or_else(|refusal| {
            debug!(%refusal, "refused");
            refusal.answer(is_head)
        })
    }

    async fn judged(&self, request: Request<Incoming>) -> Result<Response<Body>, Refusal> {
        let refused = |refusal| {
            self.counters.refused.add(1);
            refusal
        };
        self.guard.check(request.uri(), request.headers()).map_err(refused)?;
        let (parts, body) = request.into_parts();
        match parts.uri.path() {
            "/agent/status" => return own(&parts.method, "application/json", &self.status_text()),
            "/agent/metrics" => {
                return own(&parts.method, "text/plain; version=0.0.4", &self.status().metrics());
            }
            _ => {}
        }
        let name = self.names.check(&parts.uri).map_err(refused)?;
        let call = Call {
            path: namespace::without(&parts.uri),
            route: route::parse(parts.uri.path()).ok(),
            query: parts.uri.query().unwrap_or_default().to_owned(),
            headers: headers::between_connections(&parts.headers),
            method: parts.method,
        };
        if !call.path.starts_with("/v2") {
            return Err(Refusal::no_path("the agent serves /v2/ and /agent/status"));
        }
        let mut answer = self.served(call, body).await?;
        if let Some(name) = name.and_then(|name| HeaderValue::try_from(name).ok()) {
            answer.headers_mut().insert(OCI_NAMESPACE, name);
        }
        Ok(answer)
    }

    async fn served(&self, call: Call, body: Incoming) -> Result<Response<Body>, Refusal> {
        let is_get = call.method == Method::GET;
        match &call.route {
            Some(Route::Blob { digest, .. }) if is_get => self.pull(&call, Some(*digest)).await,
            Some(Route::Manifest { reference, .. }) if is_get => {
                let digest = match reference {
                    Reference::Digest(digest) => Some(*digest),
                    Reference::Tag(_) => None,
                };
                self.pull(&call, digest).await
            }
            _ => self.forward(&call, body).await,
        }
    }

    /// A node's answer as the caller gets it.
    fn relayed(&self, answered: Answered) -> Response<Body> {
        let (mut parts, body) = answered.answer.into_parts();
        parts.headers = headers::between_connections(&parts.headers);
        headers::localize(&mut parts.headers, |address| {
            address == answered.node || self.placement.is_node(address)
        });
        Response::from_parts(parts, body)
    }

    /// What the agent did.
    pub fn status(&self) -> Status {
        let mut status = Status {
            version: env!("CARGO_PKG_VERSION"),
            listen: self.listen.to_string(),
            registries: self.names.iter().map(str::to_owned).collect(),
            uptime_seconds: self.began.elapsed().as_secs(),
            requests: 0,
            refused: 0,
            hits: 0,
            misses: 0,
            joined: 0,
            relayed: 0,
            content_bytes: 0,
            cache: self.cache.figures(),
            nodes: self.upstream.figures(),
        };
        self.counters.read_into(&mut status);
        status
    }

    fn status_text(&self) -> String {
        serde_json::to_string_pretty(&self.status()).unwrap_or_default()
    }
}

/// An answer about the agent itself.
fn own(method: &Method, kind: &'static str, text: &str) -> Result<Response<Body>, Refusal> {
    if !matches!(*method, Method::GET | Method::HEAD) {
        return Err(Refusal::denied("this can only be read"));
    }
    let mut answer = Response::new(body::full(text.to_owned()));
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    Ok(answer)
}
