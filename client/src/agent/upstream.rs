//! The nodes, as one registry that answers.
//!
//! What only reads is asked of one node after the other until one answers; when none can yet (a vote,
//! a new view), again after a pause, for a while. What writes goes to the first node that takes the
//! connection, and to no other once a byte was sent: a body cannot be sent twice. When no node can
//! be reached at all, that is said at once, because a caller that has another way (containerd, podman)
//! shall take it.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use tokio::sync::Notify;
use tracing::{debug, warn};

use super::{
    body::{self, Body},
    connections::{Connections, Failed},
    headers,
    host::{self, Instant},
    refusal::Refusal,
};

/// How long the first answer may take before another node is asked. A node that was stopped, or
/// whose machine is gone, costs a caller this once.
const FIRST_BYTE_HASTY: Duration = Duration::from_secs(1);
/// The same once all were asked in haste: then everyone is slow.
const FIRST_BYTE_PATIENT: Duration = Duration::from_secs(5);
/// How long a reading request is tried while nodes can be reached: longer than a session of a node
/// that died (3 s), a vote and a new view together.
const PATIENCE: Duration = Duration::from_secs(12);
/// When by then no node took a connection, none is there.
const UNREACHABLE_AFTER: Duration = Duration::from_millis(800);
/// The first pause between two rounds; it doubles.
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// How long a node that failed is asked last.
const SUSPECT_FOR: Duration = Duration::from_secs(5);

/// Names the view by which a node answered.
const EPOCH: &str = "atoll-epoch";

/// A request that can be sent as often as it takes.
#[derive(Clone, Debug)]
pub struct Ask {
    /// What is done.
    pub method: Method,
    /// Path and query.
    pub path: String,
    /// What the caller sent along, without what is about its connection.
    pub headers: HeaderMap,
    /// Its body, where it is short enough to be held.
    pub payload: Bytes,
}

/// An answer, and who gave it.
#[derive(Debug)]
pub struct Answered {
    /// `host:port` of the node.
    pub node: String,
    /// Its answer.
    pub answer: Response<Body>,
}

/// The nodes; cheap to clone.
#[derive(Clone, Debug)]
pub struct Upstream {
    connections: Connections,
    nodes: Arc<Mutex<BTreeMap<String, Standing>>>,
    /// The newest view that an answer named.
    epoch: Arc<AtomicU64>,
    /// Somebody should look at the view.
    stale: Arc<Notify>,
}

/// What is known of a node.
#[derive(Clone, Copy, Debug, Default)]
struct Standing {
    suspect_until: Option<Instant>,
    figures: NodeFigures,
}

/// What became of the requests to one node, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct NodeFigures {
    /// Requests sent.
    pub requests: u64,
    /// Requests for the content of a blob among them.
    pub blob_gets: u64,
    /// Requests that had no answer.
    pub failures: u64,
}

/// How one round over the nodes ended.
enum Round {
    Answered(Answered),
    /// Nodes answered, that they cannot answer; the last of them.
    Busy(Option<Answered>),
    Unreachable,
}

impl Upstream {
    /// Over these connections.
    pub fn new(connections: Connections) -> Upstream {
        let (nodes, epoch, stale) = (Arc::default(), Arc::default(), Arc::default());
        Upstream { connections, nodes, epoch, stale }
    }

    /// Waits until a node failed, or named a view that is news.
    pub async fn stale(&self) {
        self.stale.notified().await;
    }

    /// Asks the nodes in this order until one answers.
    ///
    /// # Errors
    /// None did: at once when none can be reached, else after some patience.
    pub async fn read(&self, order: &[String], ask: &Ask) -> Result<Answered, Refusal> {
        let began = host::now();
        let mut pause = PAUSE_MIN;
        let mut limit = FIRST_BYTE_HASTY;
        loop {
            let busy = match self.round(order, ask, limit).await {
                Round::Answered(answered) => return Ok(answered),
                Round::Unreachable => {
                    warn!(nodes = order.len(), "no node can be reached");
                    return Err(Refusal::unavailable("no node of the registry can be reached"));
                }
                Round::Busy(busy) => busy,
            };
            if began.elapsed() + pause > PATIENCE {
                let nobody = || Refusal::unavailable("no node of the registry answered in time");
                return busy.ok_or_else(nobody);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
            limit = FIRST_BYTE_PATIENT;
        }
    }

    async fn round(&self, order: &[String], ask: &Ask, limit: Duration) -> Round {
        let began = host::now();
        let mut reached = false;
        let mut busy = None;
        for node in self.suspects_last(order) {
            if !reached && began.elapsed() > UNREACHABLE_AFTER {
                break;
            }
            match self.send(&node, ask.request(&node), Some(limit), false).await {
                Ok(answer) if is_busy(answer.status()) => {
                    reached = true;
                    busy = Some(Answered { node, answer });
                }
                Ok(answer) => return Round::Answered(Answered { node, answer }),
                Err(Failed::Unreachable(..)) => {}
                Err(Failed::Lost(_)) => reached = true,
            }
        }
        if reached { Round::Busy(busy) } else { Round::Unreachable }
    }

    /// Sends a request with a body to the first of these nodes that takes the connection.
    ///
    /// # Errors
    /// None can be reached, or the connection was lost on the way.
    pub async fn write(
        &self,
        order: &[String],
        ask: &Ask,
        body: Body,
    ) -> Result<Answered, Refusal> {
        let mut body = body;
        for node in self.suspects_last(order) {
            let request = ask.request(&node).map(|_| body);
            match self.send(&node, request, None, true).await {
                Ok(answer) => return Ok(Answered { node, answer }),
                Err(Failed::Unreachable(_, unsent)) => body = unsent.into_body(),
                Err(Failed::Lost(error)) => {
                    let message = format!("the node went away during the request: {error}");
                    return Err(Refusal::unavailable(message));
                }
            }
        }
        Err(Refusal::unavailable("no node of the registry can be reached"))
    }

    async fn send(
        &self,
        node: &str,
        request: Request<Body>,
        patience: Option<Duration>,
        with_body: bool,
    ) -> Result<Response<Body>, Failed> {
        let is_blob_get =
            request.method() == Method::GET && request.uri().path().contains("/blobs/sha");
        self.note(node, |standing| {
            standing.figures.requests += 1;
            standing.figures.blob_gets += u64::from(is_blob_get);
        });
        let sent = self.connections.send(node, request, patience, with_body).await;
        match &sent {
            Ok(answer) => {
                debug!(node, status = answer.status().as_u16(), "answered");
                self.hear(answer);
                self.note(node, |standing| standing.suspect_until = None);
            }
            Err(Failed::Unreachable(error, _) | Failed::Lost(error)) => {
                debug!(node, %error, "no answer");
                self.fail(node);
            }
        }
        sent
    }

    fn hear(&self, answer: &Response<Body>) {
        let epoch = answer.headers().get(EPOCH).and_then(|epoch| epoch.to_str().ok()?.parse().ok());
        if let Some(epoch) = epoch
            && self.epoch.fetch_max(epoch, Ordering::Relaxed) < epoch
        {
            self.stale.notify_one();
        }
    }

    /// Asks this node last for a while.
    pub fn fail(&self, node: &str) {
        let until = host::now() + SUSPECT_FOR;
        self.note(node, |standing| {
            standing.suspect_until = Some(until);
            standing.figures.failures += 1;
        });
        self.stale.notify_one();
    }

    /// What became of the requests, by node.
    pub fn figures(&self) -> BTreeMap<String, NodeFigures> {
        let nodes = host::lock(&self.nodes);
        nodes.iter().map(|(node, standing)| (node.clone(), standing.figures)).collect()
    }

    fn note(&self, node: &str, change: impl FnOnce(&mut Standing)) {
        let mut nodes = host::lock(&self.nodes);
        if let Some(standing) = nodes.get_mut(node) {
            return change(standing);
        }
        change(nodes.entry(node.to_owned()).or_default());
    }

    fn suspects_last(&self, order: &[String]) -> Vec<String> {
        let now = host::now();
        let nodes = host::lock(&self.nodes);
        let is_suspect = |node: &String| {
            let standing = nodes.get(node);
            standing.and_then(|standing| standing.suspect_until).is_some_and(|until| until > now)
        };
        let (mut last, mut first): (Vec<_>, Vec<_>) = order.iter().cloned().partition(is_suspect);
        first.append(&mut last);
        first
    }
}

impl Ask {
    /// One without a body.
    pub fn new(method: Method, path: String, headers: HeaderMap) -> Ask {
        Ask { method, path, headers, payload: Bytes::new() }
    }

    fn request(&self, node: &str) -> Request<Body> {
        let mut request = Request::new(body::full(self.payload.clone()));
        *request.method_mut() = self.method.clone();
        // The path came in as a URI; what is not one here becomes an answer of the node's.
        *request.uri_mut() = self.path.parse().unwrap_or_default();
        *request.headers_mut() = headers::between_connections(&self.headers);
        if let Ok(node) = HeaderValue::try_from(node) {
            request.headers_mut().insert(header::HOST, node);
        }
        request
    }
}

/// Says that another node, or the same one later, may answer.
fn is_busy(status: StatusCode) -> bool {
    matches!(status.as_u16(), 429 | 500 | 502 | 503 | 504)
}
