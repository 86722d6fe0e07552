//! The real network: TCP of the operating system.

#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "this is the door")]

use std::{io, net::SocketAddr};

use tokio::net::{TcpListener, TcpSocket, TcpStream};

pub(super) type Stream = TcpStream;

/// A connection that no reactor watches.
pub(super) type Parked = std::net::TcpStream;

pub(super) fn park(stream: Stream) -> io::Result<Parked> {
    stream.into_std()
}

pub(super) fn unpark(parked: Parked) -> io::Result<Stream> {
    TcpStream::from_std(parked)
}

pub(super) async fn bind(addr: SocketAddr, backlog: u32) -> io::Result<TcpListener> {
    let socket = match addr {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    socket.listen(backlog)
}

pub(super) async fn accept(listener: &TcpListener) -> io::Result<(Stream, SocketAddr)> {
    let (stream, peer) = listener.accept().await?;
    without_delay(&stream);
    Ok((stream, peer))
}

pub(super) async fn connect(addr: SocketAddr) -> io::Result<Stream> {
    let stream = TcpStream::connect(addr).await?;
    without_delay(&stream);
    Ok(stream)
}

/// Fails only on a connection that is already broken, which its next use will say better.
fn without_delay(stream: &Stream) {
    let _ = stream.set_nodelay(true);
}
