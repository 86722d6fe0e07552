//! A client's way to one address: one HTTP/2 connection, made when first needed and again when it
//! broke.
//!
//! No pool: HTTP/2 carries many calls at once, and Raft sends few. No lock is held while connecting,
//! so two calls that find no connection may each make one; the later stays and the other ends with
//! its call.

use std::{
    future::Future,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use http::uri::{Authority, Scheme};
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use tonic::{Status, body::Body};
use tracing::debug;

use super::{KEEP_ALIVE_INTERVAL, KEEP_ALIVE_TIMEOUT};
use crate::io::{
    net,
    rt::{Executor, Timer},
};

/// How long a connection may take to come up, unless the call's own limit ends it before.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// A reconnecting HTTP/2 connection, as generated clients want it. Clones share it.
#[derive(Clone, Debug)]
pub struct Channel {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    address: SocketAddr,
    authority: Authority,
    connection: Mutex<Option<SendRequest<Body>>>,
}

/// An address that is not `ip:port`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an address like 10.0.0.1:5001")]
pub struct BadAddress(pub String);

impl Channel {
    /// A channel to `address` (`ip:port`); it does not connect yet.
    pub fn new(address: &str) -> Result<Self, BadAddress> {
        let bad = || BadAddress(address.to_owned());
        let address = address.parse::<SocketAddr>().map_err(|_| bad())?;
        let authority = address.to_string().parse().map_err(|_| bad())?;
        let connection = Mutex::new(None);
        Ok(Self { inner: Arc::new(Inner { address, authority, connection }) })
    }
}

impl Inner {
    async fn connection(&self) -> Result<SendRequest<Body>, Status> {
        let present = self.connection.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(connection) = present
            && !connection.is_closed()
        {
            return Ok(connection);
        }
        let fresh = self.connect().await?;
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        *connection = Some(fresh.clone());
        Ok(fresh)
    }

    async fn connect(&self) -> Result<SendRequest<Body>, Status> {
        let address = self.address;
        let unavailable = |error: &dyn std::fmt::Display| {
            Status::unavailable(format!("connect to {address}: {error}"))
        };
        let stream = net::connect(address, CONNECT_TIMEOUT).await;
        let stream = TokioIo::new(stream.map_err(|error| unavailable(&error))?);
        let handshake = Builder::new(Executor)
            .timer(Timer)
            .keep_alive_interval(Some(KEEP_ALIVE_INTERVAL))
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
            .keep_alive_while_idle(true)
            .handshake(stream);
        let (sender, connection) = handshake.await.map_err(|error| unavailable(&error))?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                debug!(%address, %error, "connection to a node ended");
            }
        });
        Ok(sender)
    }

    fn address_to(&self, request: &mut http::Request<Body>) -> Result<(), Status> {
        let mut parts = std::mem::take(request.uri_mut()).into_parts();
        parts.scheme = Some(Scheme::HTTP);
        parts.authority = Some(self.authority.clone());
        *request.uri_mut() =
            http::Uri::from_parts(parts).map_err(|error| Status::internal(error.to_string()))?;
        Ok(())
    }
}

impl tower_service::Service<http::Request<Body>> for Channel {
    type Response = http::Response<Body>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Status>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        let inner = self.inner.clone();
        Box::pin(async move {
            inner.address_to(&mut request)?;
            let mut connection = inner.connection().await?;
            match connection.send_request(request).await {
                Ok(response) => Ok(response.map(Body::new)),
                Err(error) => Err(Status::unavailable(format!("{}: {error}", inner.address))),
            }
        })
    }
}
