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

use atoll_core::view::NodeId;
use http::uri::{Authority, Scheme};
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tonic::{Status, body::Body};
use tracing::{debug, warn};

use super::{
    KEEP_ALIVE_INTERVAL, KEEP_ALIVE_TIMEOUT, Security,
    security::Caller,
    tls::{connect, reason::with_causes},
};
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
    /// Who must answer there; `None` for any member.
    expected: Option<NodeId>,
    security: Security,
    connection: Mutex<Option<SendRequest<Body>>>,
    /// Why TLS failed last, so that a peer that is tried for ever is logged once.
    refused: Mutex<Option<String>>,
}

/// An address that is not `ip:port`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an address like 10.0.0.1:5001")]
pub struct BadAddress(pub String);

impl Channel {
    /// A channel to whichever member is at `address` (`ip:port`); it does not connect yet.
    ///
    /// # Errors
    /// It is no such address.
    pub fn new(address: &str, security: &Security) -> Result<Self, BadAddress> {
        Self::expecting(None, address, security)
    }

    /// A channel to node `node` at `address`: under TLS, nobody else is spoken to there.
    ///
    /// # Errors
    /// It is no such address.
    pub fn to_node(node: NodeId, address: &str, security: &Security) -> Result<Self, BadAddress> {
        Self::expecting(Some(node), address, security)
    }

    fn expecting(
        expected: Option<NodeId>,
        address: &str,
        security: &Security,
    ) -> Result<Self, BadAddress> {
        let bad = || BadAddress(address.to_owned());
        let address = address.parse::<SocketAddr>().map_err(|_| bad())?;
        let authority = address.to_string().parse().map_err(|_| bad())?;
        let (connection, refused) = (Mutex::new(None), Mutex::new(None));
        let security = security.clone();
        let inner = Inner { address, authority, expected, security, connection, refused };
        Ok(Self { inner: Arc::new(inner) })
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
        // Boxed, for it is rare and large: every call would carry the room for it.
        let fresh = Box::pin(self.connect()).await?;
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        *connection = Some(fresh.clone());
        Ok(fresh)
    }

    async fn connect(&self) -> Result<SendRequest<Body>, Status> {
        let caller = self.security.caller();
        if let Caller::NotReady = caller {
            return Err(self.unavailable("this node has no certificate yet"));
        }
        let stream = net::connect(self.address, CONNECT_TIMEOUT).await;
        let stream = stream.map_err(|error| self.unavailable(error))?;
        let Caller::Tls(config) = caller else { return self.begin(stream).await };
        match connect::handshake(config, stream, self.address, self.expected).await {
            Ok(stream) => {
                self.note_refusal(None);
                self.begin(stream).await
            }
            Err(reason) => {
                self.note_refusal(Some(&reason));
                Err(self.unavailable(reason))
            }
        }
    }

    /// Begins HTTP/2 on a stream.
    async fn begin<S>(&self, stream: S) -> Result<SendRequest<Body>, Status>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let handshake = Builder::new(Executor)
            .timer(Timer)
            .keep_alive_interval(Some(KEEP_ALIVE_INTERVAL))
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
            .keep_alive_while_idle(true)
            .handshake(TokioIo::new(stream));
        let connected = handshake.await.map_err(|error| self.unavailable(with_causes(&error)));
        let (sender, connection) = connected?;
        let address = self.address;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                debug!(%address, error = with_causes(&error), "connection to a node ended");
            }
        });
        Ok(sender)
    }

    fn note_refusal(&self, reason: Option<&str>) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        if refused.as_deref() == reason {
            return;
        }
        *refused = reason.map(str::to_owned);
        drop(refused);
        if let Some(reason) = reason {
            warn!(address = %self.address, reason, "no secure connection to a node");
        }
    }

    fn unavailable(&self, error: impl std::fmt::Display) -> Status {
        Status::unavailable(format!("connect to {}: {error}", self.address))
    }

    fn address_to(&self, request: &mut http::Request<Body>) -> Result<(), Status> {
        let mut parts = std::mem::take(request.uri_mut()).into_parts();
        parts.scheme =
            Some(if self.security.is_plaintext() { Scheme::HTTP } else { Scheme::HTTPS });
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
                Err(error) => {
                    let error = with_causes(&error);
                    Err(Status::unavailable(format!("{}: {error}", inner.address)))
                }
            }
        })
    }
}
