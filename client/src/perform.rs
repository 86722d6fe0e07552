//! One request to the cluster: whom to ask next, when to ask a second, when to wait, when to give up.
//!
//! A round asks the targets in their order, each as soon as the one before failed, and a second one
//! early when the first is slow. When a whole round brings nothing, there is a pause; by then the
//! view may be a new one. The operation ends after [`crate::Limits::patience`] without progress.

use std::{collections::BTreeMap, io, time::Duration};

use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use http::{HeaderMap, StatusCode, header};
use tokio::time::{Instant, sleep, sleep_until};

use crate::{
    auth::Scope,
    clock::now,
    endpoint::Endpoint,
    engine::Engine,
    error::{Attempt, Denied, NotFound, Refused, RequestError, Unavailable},
    exchange::{ExchangeError, Sending},
    net::answer::Answer,
    placement::Aim,
};

/// The longest `Retry-After` that is waited for at a time.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(30);
/// Failures by node that an error tells.
const FAILURES_MAX: usize = 8;

/// A request, whoever answers it.
#[derive(Clone)]
pub(crate) struct Ask {
    /// What it is about, for people: the subject of an error's sentence.
    pub(crate) what: String,
    pub(crate) aim: Aim,
    pub(crate) scope: Scope,
    pub(crate) sending: Sending,
    /// May two nodes be asked at a time? Only where that changes nothing.
    pub(crate) hedge: bool,
    /// Ask these and nobody else, once each.
    pub(crate) only: Option<Vec<Endpoint>>,
    /// Ask these last: what they sent before was wrong.
    pub(crate) distrusted: Vec<Endpoint>,
    /// How many places to begin further along, so that pieces of one blob come from different
    /// replicas; the first so many targets take turns.
    pub(crate) turn: Option<(usize, usize)>,
}

impl Ask {
    pub(crate) fn new(what: String, aim: Aim, scope: Scope, sending: Sending) -> Ask {
        let hedge = matches!(sending.method, http::Method::GET | http::Method::HEAD);
        Ask { what, aim, scope, sending, hedge, only: None, distrusted: Vec::new(), turn: None }
    }
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum AskError {
    Request(RequestError),
    /// What is pushed cannot be read.
    Source(io::Error),
}

impl From<RequestError> for AskError {
    fn from(error: RequestError) -> Self {
        AskError::Request(error)
    }
}

/// What was tried so far.
struct Tried {
    since: Instant,
    attempts: u32,
    last: BTreeMap<Endpoint, String>,
    /// The soonest that anybody wants to be asked again.
    again_after: Option<Duration>,
}

enum Verdict {
    Done(Box<Answer>),
    Final(AskError),
    Next(String),
}

type Running<'a> = BoxFuture<'a, (Endpoint, usize, Result<Answer, ExchangeError>)>;

impl Engine {
    /// Asks until somebody answers. The status of the answer is a success.
    pub(crate) async fn perform(
        self: &std::sync::Arc<Self>,
        ask: &Ask,
    ) -> Result<Answer, AskError> {
        self.prepare().await;
        let mut tried =
            Tried { since: now(), attempts: 0, last: BTreeMap::new(), again_after: None };
        for round in 0_u32.. {
            let targets = self.ordered_targets(ask).await;
            if let Some(end) = self.round(ask, targets, &mut tried).await {
                return end;
            }
            let waited = tried.since.elapsed();
            let patience = self.limits().patience;
            if ask.only.is_some() || waited >= patience {
                break;
            }
            self.refresh_soon();
            self.wires.counters.retries.add(1);
            let pause =
                if self.retries.spend() { self.backoff(round) } else { self.limits().backoff_max };
            let pause = tried.again_after.take().map_or(pause, |after| pause.max(after));
            sleep(pause.min(patience - waited)).await;
        }
        Err(AskError::Request(tried.unavailable(&ask.what)))
    }

    async fn ordered_targets(&self, ask: &Ask) -> Vec<Endpoint> {
        if let Some(only) = &ask.only {
            return only.clone();
        }
        let mut targets = self.targets(&ask.aim).await;
        if let Some((places, first)) = ask.turn {
            let trusted = targets.iter().filter(|target| !self.directory.is_suspect(target));
            let first = first.min(trusted.count());
            if let Some(front) = targets.get_mut(..first).filter(|front| !front.is_empty()) {
                front.rotate_left(places % first);
            }
        }
        targets.sort_by_key(|target| ask.distrusted.contains(target));
        targets
    }

    /// Asks the targets once each. `None` when none of them could answer.
    async fn round(
        self: &std::sync::Arc<Self>,
        ask: &Ask,
        targets: Vec<Endpoint>,
        tried: &mut Tried,
    ) -> Option<Result<Answer, AskError>> {
        let members_before = self.directory.known();
        let is_member = |endpoint: &Endpoint| {
            let known = members_before.as_ref();
            known.is_some_and(|known| known.endpoints.values().any(|one| one == endpoint))
        };
        let mut members_failed = 0;
        let mut waiting = targets.into_iter().enumerate();
        let mut running: FuturesUnordered<Running<'_>> = FuturesUnordered::new();
        let (nth, first) = waiting.next()?;
        running.push(self.ask_one(ask, first, nth, tried));
        let hedge_at = sleep_until(now() + self.latency.hedge_after());
        tokio::pin!(hedge_at);
        let mut may_hedge = ask.hedge && ask.only.is_none();
        let mut hedge = None;
        loop {
            tokio::select! {
                biased;
                Some((endpoint, nth, outcome)) = running.next() => {
                    let is_network = matches!(&outcome, Err(ExchangeError::Io(_)));
                    match self.judge(ask, &endpoint, outcome, tried).await {
                        Verdict::Done(answer) => {
                            if hedge == Some(nth) {
                                self.wires.counters.hedges_won.add(1);
                            }
                            if members_failed > 0 && !is_member(&endpoint) {
                                self.directory.set_behind(self.limits().behind_seeds_for);
                            }
                            return Some(Ok(*answer));
                        }
                        Verdict::Final(error) => return Some(Err(error)),
                        Verdict::Next(why) => {
                            members_failed += usize::from(is_network && is_member(&endpoint));
                            tracing::debug!(node = %endpoint, what = ask.what, why, "asking the next");
                            tried.last.insert(endpoint, why);
                        }
                    }
                    if running.is_empty() {
                        let (nth, next) = waiting.next()?;
                        self.wires.counters.fail_overs.add(1);
                        running.push(self.ask_one(ask, next, nth, tried));
                    }
                }
                () = &mut hedge_at, if may_hedge => {
                    may_hedge = false;
                    if self.hedges.spend()
                        && let Some((nth, next)) = waiting.next()
                    {
                        self.wires.counters.hedges.add(1);
                        hedge = Some(nth);
                        running.push(self.ask_one(ask, next, nth, tried));
                    }
                }
            }
        }
    }

    fn ask_one<'a>(
        &'a self,
        ask: &'a Ask,
        target: Endpoint,
        nth: usize,
        tried: &mut Tried,
    ) -> Running<'a> {
        tried.attempts += 1;
        if nth == 0 {
            self.hedges.earn();
            self.retries.earn();
        }
        async move {
            let started = now();
            let asking = self.wires.exchange(&self.authorizer, &ask.scope, &target, &ask.sending);
            let outcome = asking.await;
            if ask.hedge && outcome.is_ok() {
                self.latency.record(started.elapsed());
            }
            (target, nth, outcome)
        }
        .boxed()
    }

    /// What an outcome means for the request.
    async fn judge(
        self: &std::sync::Arc<Self>,
        ask: &Ask,
        endpoint: &Endpoint,
        outcome: Result<Answer, ExchangeError>,
        tried: &mut Tried,
    ) -> Verdict {
        let mut answer = match outcome {
            Ok(answer) => answer,
            Err(ExchangeError::Source(error)) => return Verdict::Final(AskError::Source(error)),
            Err(ExchangeError::Login(failed)) if failed.is_passing => {
                return Verdict::Next(failed.why);
            }
            Err(ExchangeError::Login(failed)) => {
                let denied = self.denied(ask, endpoint, StatusCode::UNAUTHORIZED, failed.why);
                return Verdict::Final(denied.into());
            }
            Err(ExchangeError::Io(error)) => {
                self.directory.suspect(endpoint, self.limits().suspect_for);
                self.refresh_soon();
                return Verdict::Next(error.to_string());
            }
        };
        self.note_epoch(&answer.headers);
        let status = answer.status;
        if status.is_success() {
            self.directory.trust(endpoint);
            return Verdict::Done(Box::new(answer));
        }
        let detail = answer.detail().await;
        let is_passing = status.is_server_error()
            || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT);
        if is_passing {
            if let Some(after) = retry_after(&answer.headers) {
                self.directory.suspect(endpoint, after);
                tried.again_after =
                    Some(tried.again_after.map_or(after, |soonest| soonest.min(after)));
            }
            return Verdict::Next(format!("answered {status} {detail}").trim_end().to_owned());
        }
        Verdict::Final(self.refusal(ask, endpoint, status, detail).into())
    }

    fn refusal(
        &self,
        ask: &Ask,
        endpoint: &Endpoint,
        status: StatusCode,
        detail: String,
    ) -> RequestError {
        let (what, node) = (ask.what.clone(), endpoint.to_string());
        match status {
            StatusCode::NOT_FOUND | StatusCode::GONE => {
                RequestError::NotFound(Box::new(NotFound { what, node, status, detail }))
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                self.denied(ask, endpoint, status, detail)
            }
            _ => RequestError::Refused(Box::new(Refused { what, node, status, detail })),
        }
    }

    fn denied(
        &self,
        ask: &Ask,
        endpoint: &Endpoint,
        status: StatusCode,
        detail: String,
    ) -> RequestError {
        let registry = self.authorizer.registry();
        let advice = if status == StatusCode::UNAUTHORIZED {
            format!("log in with `atoll login {registry}`")
        } else {
            "the account lacks this right: ask whoever runs the registry".to_owned()
        };
        RequestError::Denied(Box::new(Denied {
            what: ask.what.clone(),
            node: endpoint.to_string(),
            status,
            detail,
            advice,
        }))
    }
}

impl Tried {
    fn unavailable(self, what: &str) -> RequestError {
        let last = self.last.into_iter().take(FAILURES_MAX);
        RequestError::Unavailable(Box::new(Unavailable {
            what: what.to_owned(),
            waited: self.since.elapsed(),
            attempts: self.attempts,
            last: last.map(|(node, why)| Attempt { node: node.to_string(), why }).collect(),
        }))
    }
}

/// `Retry-After` in seconds; dates are not read, as no registry sends them.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds: u64 = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(RETRY_AFTER_MAX))
}
