//! The inside of a client: everything that its clones share.

use std::{sync::Arc, time::Duration};

use atoll_core::view::Epoch;
use http::{HeaderMap, HeaderName, StatusCode};
use tokio::sync::{Mutex as AsyncMutex, Semaphore};

use crate::{
    auth::{Authorizer, Scope},
    budget::Budget,
    clock::now,
    directory::{Directory, Known},
    endpoint::Endpoint,
    entropy::Entropy,
    error::{Attempt, RequestError, StrangeAnswer, Unavailable, ViewError},
    exchange::{Sending, Wires},
    latency::Latency,
    placement::{Aim, Placement},
    seed::Seed,
    spool::Spool,
    view_json::{self, VIEW_BYTES_MAX},
};

/// The epoch of the view that a node answered by.
pub(crate) const ATOLL_EPOCH: HeaderName = HeaderName::from_static("atoll-epoch");

/// Where the view is told.
const VIEW_PATH: &str = "/v2/_atoll/view?ring=1";

/// Members that are asked for the view before the seeds are.
const VIEW_SOURCES_MAX: usize = 3;

#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) seeds: Vec<(Seed, Endpoint)>,
    pub(crate) wires: Wires,
    pub(crate) authorizer: Authorizer,
    pub(crate) directory: Directory,
    pub(crate) placement: Placement,
    pub(crate) entropy: Arc<Entropy>,
    pub(crate) latency: Latency,
    pub(crate) hedges: Budget,
    pub(crate) retries: Budget,
    pub(crate) spool: Arc<dyn Spool>,
    /// Bytes on their way, in units of [`crate::pull::UNIT_BYTES`].
    pub(crate) room: Arc<Semaphore>,
    pub(crate) refreshing: AsyncMutex<()>,
}

impl Engine {
    pub(crate) fn limits(&self) -> &crate::Limits {
        &self.wires.limits
    }

    /// The seeds as endpoints, names with several addresses as several.
    pub(crate) async fn seeds(&self) -> Vec<Endpoint> {
        if self.seeds.iter().all(|(seed, _)| matches!(seed, Seed::Node(_))) {
            return self.seeds.iter().map(|(_, endpoint)| endpoint.clone()).collect();
        }
        if let Some(resolved) = self.directory.resolved() {
            return resolved;
        }
        let mut endpoints = Vec::new();
        for (seed, endpoint) in &self.seeds {
            let Seed::Dns(_) = seed else {
                endpoints.push(endpoint.clone());
                continue;
            };
            let transport = self.wires.pool.transport();
            let resolving = transport.resolve(endpoint.bare_host(), endpoint.port);
            match tokio::time::timeout(self.limits().first_byte_timeout, resolving).await {
                Ok(Ok(addresses)) => endpoints.extend(
                    addresses
                        .into_iter()
                        .map(|address| Endpoint { address: Some(address), ..endpoint.clone() }),
                ),
                Ok(Err(error)) => tracing::debug!(%seed, %error, "name not resolved"),
                Err(_elapsed) => tracing::debug!(%seed, "name not resolved in time"),
            }
        }
        if !endpoints.is_empty() {
            self.directory.set_resolved(endpoints.clone());
        }
        endpoints
    }

    /// Whom to ask, best first. Never empty unless a name has no address.
    pub(crate) async fn targets(&self, aim: &Aim) -> Vec<Endpoint> {
        let mut targets = Vec::new();
        if let Some(Known { view, endpoints, .. }) = self.directory.known() {
            let suspects = self.directory.suspects(&endpoints);
            let order = self.placement.order(&view, aim, &suspects);
            targets.extend(order.iter().filter_map(|node| endpoints.get(node).cloned()));
        }
        let members = targets.len();
        for seed in self.seeds().await {
            if !targets.contains(&seed) {
                targets.push(seed);
            }
        }
        if self.directory.is_behind() {
            targets.rotate_left(members);
        }
        // Stable: among those that failed lately the order stays.
        targets.sort_by_cached_key(|endpoint| self.directory.is_suspect(endpoint));
        targets
    }

    /// Before the first request: the view, unless the registry has none.
    pub(crate) async fn prepare(self: &Arc<Self>) {
        if self.directory.needs_view() {
            // A failure shows itself in the request that follows, which asks the seeds.
            if let Err(error) = self.refresh().await {
                tracing::debug!(%error, "no view yet");
            }
        } else if self.directory.is_due(self.limits().view_age_max) {
            self.refresh_soon();
        }
    }

    /// Looks at the view in the background, unless that is being done.
    pub(crate) fn refresh_soon(self: &Arc<Self>) {
        if self.refreshing.try_lock().is_err() {
            return;
        }
        let engine = self.clone();
        // Ends by itself: every request in it has a time limit.
        tokio::spawn(async move {
            if let Err(error) = engine.refresh().await {
                tracing::debug!(%error, "view not refreshed");
            }
        });
    }

    /// What an answer says about the view.
    pub(crate) fn note_epoch(self: &Arc<Self>, headers: &HeaderMap) {
        let told = headers.get(ATOLL_EPOCH).and_then(|value| value.to_str().ok()?.parse().ok());
        if let Some(epoch) = told
            && self.directory.heard(Epoch(epoch))
        {
            self.refresh_soon();
        }
    }

    /// Looks at the view now. Whoever waits for one that is under way is content with its result.
    pub(crate) async fn refresh(self: &Arc<Self>) -> Result<(), ViewError> {
        let (waited, _guard) = match self.refreshing.try_lock() {
            Ok(guard) => (false, guard),
            Err(_) => (true, self.refreshing.lock().await),
        };
        if waited && !self.directory.needs_view() {
            return Ok(());
        }
        let mut failures = Vec::new();
        let started = now();
        for source in self.view_sources().await {
            match self.view_from(&source).await {
                Ok(()) => return Ok(()),
                Err(ViewFailure::Final(error)) => return Err(error),
                Err(ViewFailure::Next(why)) => {
                    self.directory.suspect(&source, self.limits().suspect_for);
                    failures.push(Attempt { node: source.to_string(), why });
                }
            }
        }
        let unavailable = Unavailable {
            what: "reading the view of the cluster".to_owned(),
            waited: started.elapsed(),
            attempts: failures.len() as u32,
            last: failures,
        };
        Err(ViewError::Request(RequestError::Unavailable(Box::new(unavailable))))
    }

    /// Whom to ask for the view: a few members at random, those suspected last, then the seeds.
    async fn view_sources(&self) -> Vec<Endpoint> {
        let mut sources = Vec::new();
        let known = self.directory.known().filter(|_| !self.directory.is_behind());
        if let Some(Known { view, endpoints, .. }) = known {
            let up = endpoints.iter().filter(|(node, _)| view.is_up(**node));
            sources.extend(up.map(|(_, endpoint)| endpoint.clone()));
            let turn = self.entropy.below(sources.len());
            sources.rotate_left(turn);
            sources.sort_by_cached_key(|endpoint| self.directory.is_suspect(endpoint));
            sources.truncate(VIEW_SOURCES_MAX);
        }
        for seed in self.seeds().await {
            if !sources.contains(&seed) {
                sources.push(seed);
            }
        }
        sources
    }

    async fn view_from(&self, source: &Endpoint) -> Result<(), ViewFailure> {
        let mut sending = Sending::get(VIEW_PATH.to_owned());
        let known = self.directory.known();
        if let Some(etag) = known.as_ref().and_then(|known| known.etag.as_ref())
            && let Ok(value) = http::HeaderValue::try_from(etag.as_str())
        {
            sending = sending.header(http::header::IF_NONE_MATCH, value);
        }
        let next = |error: &dyn std::fmt::Display| ViewFailure::Next(error.to_string());
        let scope = Scope::base();
        let asking = self.wires.exchange(&self.authorizer, &scope, source, &sending);
        let mut answer = asking.await.map_err(|error| next(&error))?;
        match answer.status {
            StatusCode::OK => {}
            StatusCode::NOT_MODIFIED => {
                self.directory.still_good();
                return Ok(());
            }
            // Another registry: the path is nobody's there, or looks like a repository's.
            status if status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS => {
                let _ = answer.detail().await;
                if known.is_some() {
                    return Err(ViewFailure::Next(format!("answered {status}")));
                }
                self.directory.is_plain();
                return Ok(());
            }
            status => {
                let detail = answer.detail().await;
                return Err(ViewFailure::Next(format!("answered {status} {detail}")));
            }
        }
        let etag = answer.header(&http::header::ETAG).map(str::to_owned);
        let body = answer.whole(VIEW_BYTES_MAX).await.map_err(|error| next(&error))?;
        let view = view_json::parse(&body).map_err(|cause| {
            let node = source.to_string();
            if known.is_some() {
                return ViewFailure::Next(cause.to_string());
            }
            self.directory.is_plain();
            ViewFailure::Final(ViewError::Invalid { node, cause })
        })?;
        let (epoch, nodes) = (view.epoch, view.members.len());
        let tls = self.seeds.first().is_some_and(|(_, seed)| seed.tls);
        if self.directory.adopt(Known::new(view, etag, tls)) {
            self.wires.counters.views.add(1);
            tracing::debug!(%epoch, nodes, "view adopted");
        }
        Ok(())
    }

    /// An error for an answer that makes no sense.
    pub(crate) fn strange(
        what: &str,
        node: &Endpoint,
        received: impl Into<String>,
        expected: &str,
    ) -> RequestError {
        RequestError::Strange(Box::new(StrangeAnswer {
            what: what.to_owned(),
            node: node.to_string(),
            received: received.into(),
            expected: expected.to_owned(),
        }))
    }

    /// A pause that grows and never beats in time with others.
    pub(crate) fn backoff(&self, round: u32) -> Duration {
        let limits = self.limits();
        let full = limits.backoff_min.saturating_mul(1 << round.min(16)).min(limits.backoff_max);
        let half = full / 2;
        let jitter = half.as_micros().min(u128::from(u32::MAX)) as usize;
        half + Duration::from_micros(self.entropy.below(jitter + 1) as u64)
    }
}

enum ViewFailure {
    /// The next source may do better.
    Next(String),
    /// It would not.
    Final(ViewError),
}
