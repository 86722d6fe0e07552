//! The door to the network: ordered bytes to an endpoint. The simulator puts its own door here.
//!
//! TLS is not the transport's: it is laid over whatever bytes come from here.

use std::{fmt, io, net::SocketAddr};

use futures_util::future::BoxFuture;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

use crate::endpoint::Endpoint;

/// Bytes both ways.
pub trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// Makes connections and resolves names.
pub trait Transport: fmt::Debug + Send + Sync {
    /// Connects to the endpoint: to its `address` if that is set, else to its host and port. Whoever
    /// calls has a time limit.
    fn connect<'a>(&'a self, endpoint: &'a Endpoint) -> BoxFuture<'a, io::Result<Box<dyn Wire>>>;

    /// Every address of a name.
    fn resolve<'a>(
        &'a self,
        host: &'a str,
        port: u16,
    ) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>>;
}

/// The network of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct TcpTransport;

impl Transport for TcpTransport {
    fn connect<'a>(&'a self, endpoint: &'a Endpoint) -> BoxFuture<'a, io::Result<Box<dyn Wire>>> {
        Box::pin(async move {
            #[allow(clippy::disallowed_methods, reason = "this is the client's door")]
            let stream = match endpoint.address {
                Some(address) => TcpStream::connect(address).await?,
                None => TcpStream::connect((endpoint.bare_host(), endpoint.port)).await?,
            };
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as Box<dyn Wire>)
        })
    }

    fn resolve<'a>(
        &'a self,
        host: &'a str,
        port: u16,
    ) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        Box::pin(async move {
            let mut found: Vec<SocketAddr> = tokio::net::lookup_host((host, port)).await?.collect();
            found.sort_unstable();
            found.dedup();
            Ok(found)
        })
    }
}
