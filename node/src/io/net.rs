//! The network: byte streams between addresses. Below this module are the only files that name TCP.
//!
//! A [`Stream`] is a TCP connection as the rest of the node knows it: ordered bytes both ways, each
//! way closed on its own, a writer held back until the reader reads. Both sides behave alike, as
//! far as the conformance suite can tell:
//! - bytes are sent when written, not when flushed (no Nagle delay);
//! - `shutdown` sends an end of file behind the bytes, and the other way stays open;
//! - dropping a stream closes both ways; the peer reads what was sent, then an end of file, and its
//!   writes fail in the end; when bytes from the peer were left unread, it may see a reset instead;
//! - a peer that lost its power says nothing at all: whoever waits needs a time limit.
//!
//! The simulated side (`--cfg madsim`) stands on madsim's network and repairs what that lacks;
//! `sim` has the list.

#[cfg(madsim)]
pub mod partition;
#[cfg(not(madsim))]
mod real;
#[cfg(madsim)]
mod sim;

use std::{io, net::SocketAddr, time::Duration};

#[cfg(not(madsim))]
use real as side;
#[cfg(madsim)]
use sim as side;

/// Connections that may wait to be accepted. Longer than the storms of a thousand clients that
/// start together; the kernel clamps it to `net.core.somaxconn` (4096 on Linux).
pub const BACKLOG: u32 = 4096;

/// One connection: `AsyncRead + AsyncWrite + Unpin + Send`, with `local_addr` and `peer_addr`.
pub type Stream = side::Stream;

/// Who is at the other end of a connection, beside the requests that came over it.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// A connection on its way from the thread that accepted it to the one that will serve it.
#[derive(Debug)]
pub struct Handover(side::Parked);

impl Handover {
    /// Takes a connection from this thread.
    ///
    /// # Errors
    /// Those of the operating system.
    pub fn of(stream: Stream) -> io::Result<Handover> {
        side::park(stream).map(Handover)
    }

    /// Gives it to the thread that calls.
    ///
    /// # Errors
    /// Those of the operating system.
    pub fn take(self) -> io::Result<Stream> {
        side::unpark(self.0)
    }
}

/// A bound address that accepts connections.
#[derive(Debug)]
pub struct Listener {
    inner: tokio::net::TcpListener,
}

/// Binds `addr` (port 0: any free one) and listens.
///
/// The address may be taken over from a process that just ended (`SO_REUSEADDR`). `backlog` bounds
/// the connections that wait to be accepted.
///
/// # Errors
/// Those of the operating system, with the address in the text.
pub async fn listen(addr: SocketAddr, backlog: u32) -> io::Result<Listener> {
    match side::bind(addr, backlog).await {
        Ok(inner) => Ok(Listener { inner }),
        Err(error) => Err(named("listen on", addr, &error)),
    }
}

/// Connects to `addr` within `timeout`.
///
/// # Errors
/// `ConnectionRefused` when nobody listens there, `TimedOut` when nothing answers, whatever else
/// the operating system says; the text names the address.
pub async fn connect(addr: SocketAddr, timeout: Duration) -> io::Result<Stream> {
    match tokio::time::timeout(timeout, side::connect(addr)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(named("connect to", addr, &error)),
        Err(_elapsed) => {
            let message = format!("connect to {addr}: no answer within {timeout:?}");
            Err(io::Error::new(io::ErrorKind::TimedOut, message))
        }
    }
}

/// The addresses of `host` (`name:port` or `address:port`), as the system resolves it.
///
/// # Errors
/// Those of the operating system; `NotFound` for a name that nobody knows.
pub async fn resolve(host: &str) -> io::Result<Vec<SocketAddr>> {
    if let Ok(address) = host.parse() {
        return Ok(vec![address]);
    }
    let found: Vec<SocketAddr> = tokio::net::lookup_host(host).await?.collect();
    if found.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, format!("`{host}` has no address")));
    }
    Ok(found)
}

impl Listener {
    /// The next connection and where it comes from.
    ///
    /// Dropping the future loses no connection.
    ///
    /// # Errors
    /// Only those of this side, such as too many open files: wait a little and try again.
    /// Connections that broke before they were accepted are passed over.
    pub async fn accept(&self) -> io::Result<(Stream, SocketAddr)> {
        loop {
            match side::accept(&self.inner).await {
                Err(error) if is_the_peers(&error) => {}
                outcome => return outcome,
            }
        }
    }

    /// The bound address, with the real port.
    ///
    /// # Errors
    /// Those of the operating system.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }
}

/// Linux hands the errors of a waiting connection to `accept`; they say nothing about the listener.
fn is_the_peers(error: &io::Error) -> bool {
    use io::ErrorKind::{
        ConnectionAborted, ConnectionReset, HostUnreachable, Interrupted, NetworkDown,
        NetworkUnreachable,
    };
    matches!(
        error.kind(),
        ConnectionAborted
            | ConnectionReset
            | HostUnreachable
            | Interrupted
            | NetworkDown
            | NetworkUnreachable
    )
}

fn named(action: &str, addr: SocketAddr, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{action} {addr}: {error}"))
}
