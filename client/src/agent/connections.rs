//! Connections to nodes: the library's own, with the bodies of callers flowing over them.
//!
//! A request with a body always gets a new connection: one that was kept may be closed by the node
//! just then, and a body that flows cannot be sent twice.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;

use super::body::Body;
use crate::{
    LocalFailure, TcpTransport, TlsSettings,
    endpoint::Endpoint,
    limits::Limits,
    net::{
        pool::{Lease, Pool},
        tls::Tls,
    },
};

/// A connection that is not there by then will not come soon: another node is asked.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(400);
/// Connections to one node: callers that wait for one would wait behind each other's layers.
const PER_NODE_MAX: usize = 1024;

/// The connections of an agent; cheap to clone.
#[derive(Clone, Debug)]
pub struct Connections {
    pool: Arc<Pool>,
    insecure_http: bool,
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
    /// To nodes that are spoken to in this way.
    ///
    /// # Errors
    /// A file with certificates cannot be used.
    pub fn new(tls: &TlsSettings) -> Result<Connections, LocalFailure> {
        let limits = Limits {
            connect_timeout: CONNECT_TIMEOUT,
            connections_per_node: PER_NODE_MAX,
            ..Limits::default()
        };
        let pool = Pool::new(Arc::new(TcpTransport), Tls::new(tls)?, Arc::new(limits));
        Ok(Connections { pool: Arc::new(pool), insecure_http: tls.insecure_http })
    }

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
        let mut request = request;
        let mut fresh = with_body;
        loop {
            let leased = match Endpoint::parse(node, self.insecure_http) {
                Ok(endpoint) => self.pool.lease(&endpoint, fresh).await,
                Err(error) => Err(io::Error::new(io::ErrorKind::InvalidInput, error)),
            };
            let mut lease = match leased {
                Ok(lease) => lease,
                Err(error) => return Err(Failed::Unreachable(error, Box::new(request))),
            };
            match within(patience, lease.sender.try_send_request(request)).await? {
                Ok(answer) => return Ok(relay(lease, answer)),
                Err(mut error) => match error.take_message() {
                    // It was closed before the request went out.
                    Some(message) if lease.is_used => (request, fresh) = (message, true),
                    _ => return Err(lost(&error.into_error())),
                },
            }
        }
    }
}

/// The answer; its connection is given back when the body was read to its end.
fn relay(lease: Lease, answer: Response<Incoming>) -> Response<Body> {
    let (parts, body) = answer.into_parts();
    let mut relayed = Relayed { body, lease: Some(lease) };
    relayed.end_if_ended();
    Response::from_parts(parts, relayed.boxed_unsync())
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
            lease.give_back();
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
