//! The simulated network: TCP's behaviour over madsim's message streams.
//!
//! What madsim's `TcpStream` lacks, and this adds with a few frames of its own:
//! - bytes go out when written; a flush with nothing to send sends nothing (madsim sends an empty
//!   message, by which two HTTP/2 peers wake each other for ever);
//! - a half close, that obeys latency and cut links like the bytes before it;
//! - back-pressure, by a window of credit as TCP has;
//! - short reads and writes, when madsim's buggify is on;
//! - the end of a peer is seen behind its last bytes, never before them, and as a reset when it left
//!   bytes unread or lost its power and came back;
//! - a connection attempt over a cut link or to a machine without power stays unanswered;
//! - links that are slower than the others, one way or both ([`partition::slow`]).
//!
//! Not simulated: bandwidth, and the retransmission time of a connection attempt under loss.

#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "this is the door")]

mod frame;
mod stream;

use std::{io, net::SocketAddr};

use madsim::net::{TcpListener, TcpStream};
use stream::SimStream;

use super::partition;

/// madsim calls a lost attempt refused. Attempts cost microseconds; at 10 % loss one in ten
/// thousand connections is still refused, as an overloaded listener would.
const CONNECT_ATTEMPTS: u32 = 4;

pub(super) type Stream = SimStream;

/// There is one thread: nothing is handed over.
pub(super) type Parked = Stream;

pub(super) fn park(stream: Stream) -> io::Result<Parked> {
    Ok(stream)
}

pub(super) fn unpark(parked: Parked) -> io::Result<Stream> {
    Ok(parked)
}

pub(super) async fn bind(addr: SocketAddr, _backlog: u32) -> io::Result<TcpListener> {
    TcpListener::bind(addr).await
}

pub(super) async fn accept(listener: &TcpListener) -> io::Result<(Stream, SocketAddr)> {
    let (stream, peer) = listener.accept().await?;
    Ok((SimStream::new(stream)?, peer))
}

/// Never returns when nothing answers: the caller has a time limit.
pub(super) async fn connect(addr: SocketAddr) -> io::Result<Stream> {
    let mut attempt = 1;
    let longer = partition::round_trip_delay(addr.ip());
    if !longer.is_zero() {
        tokio::time::sleep(longer).await;
    }
    loop {
        if partition::is_silent(addr) {
            std::future::pending::<()>().await;
        }
        match TcpStream::connect(addr).await {
            Ok(stream) => return SimStream::new(stream),
            Err(error) if error.kind() != io::ErrorKind::ConnectionRefused => return Err(error),
            // The link may have been cut during the attempt.
            Err(_) if partition::is_silent(addr) => {}
            Err(error) if attempt == CONNECT_ATTEMPTS => return Err(error),
            Err(_) => attempt += 1,
        }
    }
}
