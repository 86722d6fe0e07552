//! Connections to nodes, kept while they are good.
//!
//! HTTP/1.1, one request at a time on each. A request with a body always gets a new connection: one
//! that was kept may be closed by the node just then, and a body that flows cannot be sent twice.

use std::{
    collections::BTreeMap,
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::{
    body::Incoming,
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;

use super::{
    body::Body,
    host::{self, Instant},
};

/// Idle connections that are kept for each node: as many as one pull uses.
const IDLE_MAX: usize = 32;
/// How long one is kept. Below the 60 s after which a node closes it.
const IDLE_AGE_MAX: Duration = Duration::from_secs(20);
/// A connection that is not there by then will not come soon: another node is asked.
pub const CONNECT_TIMEOUT: Duration = Duration::from_millis(300);

type Sender = SendRequest<Body>;

/// The connections of an agent.
#[derive(Clone, Debug, Default)]
pub struct Connections {
    idle: Arc<Mutex<BTreeMap<String, Vec<Idle>>>>,
}

#[derive(Debug)]
struct Idle {
    sender: Sender,
    since: Instant,
}

/// A request that has no answer.
#[derive(Debug)]
pub enum Failed {
    /// There is no connection; nothing was sent, and a body is still there.
    Unreachable(io::Error, Box<Request<Body>>),
    /// The connection was lost, or nothing came in time.
    Lost(io::Error),
}

impl Connections {
    /// Sends a request to `node` (`host:port`) and waits `patience` for the head of its answer.
    /// `with_body` says that the request cannot be sent twice.
    ///
    /// # Errors
    /// See [`Failed`].
    pub async fn send(
        &self,
        node: &str,
        request: Request<Body>,
        patience: Option<Duration>,
        with_body: bool,
    ) -> Result<Response<Body>, Failed> {
        let kept = if with_body { None } else { self.take(node).await };
        let mut request = request;
        if let Some(mut sender) = kept {
            match within(patience, sender.try_send_request(request)).await? {
                Ok(answer) => return Ok(self.relay(node, sender, answer)),
                Err(mut error) => match error.take_message() {
                    // It was closed before the request went out.
                    Some(message) => request = message,
                    None => return Err(lost(&error.into_error())),
                },
            }
        }
        let mut sender = match dial(node).await {
            Ok(sender) => sender,
            Err(error) => return Err(Failed::Unreachable(error, Box::new(request))),
        };
        let answer = within(patience, sender.send_request(request)).await?;
        answer.map(|answer| self.relay(node, sender, answer)).map_err(|error| lost(&error))
    }

    async fn take(&self, node: &str) -> Option<Sender> {
        loop {
            let mut idle = host::lock(&self.idle).get_mut(node)?.pop()?;
            let is_young = idle.since.elapsed() < IDLE_AGE_MAX;
            if is_young && !idle.sender.is_closed() && idle.sender.ready().await.is_ok() {
                return Some(idle.sender);
            }
        }
    }

    fn give_back(&self, node: &str, sender: Sender) {
        if sender.is_closed() {
            return;
        }
        let mut table = host::lock(&self.idle);
        let kept = table.entry(node.to_owned()).or_default();
        kept.retain(|idle| idle.since.elapsed() < IDLE_AGE_MAX);
        if kept.len() < IDLE_MAX {
            kept.push(Idle { sender, since: host::now() });
        }
    }

    /// The answer; its connection comes back when the body was read to its end.
    fn relay(&self, node: &str, sender: Sender, answer: Response<Incoming>) -> Response<Body> {
        let (parts, body) = answer.into_parts();
        let lease = Lease { connections: self.clone(), node: node.to_owned(), sender };
        let mut relayed = Relayed { body, lease: Some(lease) };
        relayed.end_if_ended();
        Response::from_parts(parts, relayed.boxed_unsync())
    }
}

async fn within<T>(limit: Option<Duration>, answer: impl Future<Output = T>) -> Result<T, Failed> {
    let Some(limit) = limit else { return Ok(answer.await) };
    tokio::time::timeout(limit, answer).await.map_err(|_| {
        let text = format!("no answer within {limit:?}");
        Failed::Lost(io::Error::new(io::ErrorKind::TimedOut, text))
    })
}

fn lost(error: &hyper::Error) -> Failed {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}"));
    Failed::Lost(io::Error::other(format!("{error}{}", cause.unwrap_or_default())))
}

async fn dial(node: &str) -> io::Result<Sender> {
    let stream = host::dial(node, CONNECT_TIMEOUT).await?;
    let shaken = http1::handshake(TokioIo::new(stream)).await;
    let (sender, connection) = shaken.map_err(io::Error::other)?;
    // Ends with the connection; what it says then is said to who waits for the answer.
    tokio::spawn(connection);
    Ok(sender)
}

struct Lease {
    connections: Connections,
    node: String,
    sender: Sender,
}

/// The body of an answer, with the connection it comes over.
struct Relayed {
    body: Incoming,
    lease: Option<Lease>,
}

impl Relayed {
    fn end_if_ended(&mut self) {
        if self.body.is_end_stream()
            && let Some(lease) = self.lease.take()
        {
            lease.connections.give_back(&lease.node, lease.sender);
        }
    }
}

impl http_body::Body for Relayed {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        match &polled {
            Poll::Ready(None | Some(Ok(_))) => self.end_if_ended(),
            Poll::Ready(Some(Err(_))) => self.lease = None,
            Poll::Pending => {}
        }
        polled.map_err(io::Error::other)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
