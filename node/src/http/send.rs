//! Sending without copying: what the kernel can do for a plain TCP socket beyond `write`.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

use rustix::fd::BorrowedFd;

use crate::io::net;

/// Writes some of `slices`. `more` says that other bytes follow at once, so that a short header
/// does not travel in a packet of its own.
#[cfg(not(madsim))]
pub fn poll_write_slices(
    stream: Pin<&mut net::Stream>,
    cx: &mut Context<'_>,
    slices: &[IoSlice<'_>],
    more: bool,
) -> Poll<io::Result<usize>> {
    use rustix::net::{SendAncillaryBuffer, SendFlags, sendmsg};
    if !more {
        return tokio::io::AsyncWrite::poll_write_vectored(stream, cx, slices);
    }
    let flags = SendFlags::NOSIGNAL | SendFlags::MORE;
    poll_ready(&stream, cx, |socket| {
        Ok(sendmsg(socket, slices, &mut SendAncillaryBuffer::default(), flags)?)
    })
}

/// Sends up to `len` bytes of `file` from `offset`: the pages go to the socket as they are.
#[cfg(not(madsim))]
pub fn poll_send_file(
    stream: Pin<&mut net::Stream>,
    cx: &mut Context<'_>,
    file: BorrowedFd<'_>,
    offset: u64,
    len: usize,
) -> Poll<io::Result<usize>> {
    poll_ready(&stream, cx, |socket| {
        let mut offset = offset;
        Ok(rustix::fs::sendfile(socket, file, Some(&mut offset), len)?)
    })
}

/// Tries `send` whenever the socket has room.
#[cfg(not(madsim))]
fn poll_ready(
    stream: &net::Stream,
    cx: &mut Context<'_>,
    mut send: impl FnMut(BorrowedFd<'_>) -> io::Result<usize>,
) -> Poll<io::Result<usize>> {
    use rustix::fd::AsFd;
    use std::task::ready;
    loop {
        ready!(stream.poll_write_ready(cx))?;
        let tried = stream.try_io(tokio::io::Interest::WRITABLE, || send(stream.as_fd()));
        match tried {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return Poll::Ready(done),
        }
    }
}

/// In simulation there is no kernel: bytes are written.
#[cfg(madsim)]
pub fn poll_write_slices(
    stream: Pin<&mut net::Stream>,
    cx: &mut Context<'_>,
    slices: &[IoSlice<'_>],
    _more: bool,
) -> Poll<io::Result<usize>> {
    tokio::io::AsyncWrite::poll_write_vectored(stream, cx, slices)
}

/// In simulation there is no arena, so nothing is ever sent from one.
#[cfg(madsim)]
pub fn poll_send_file(
    _stream: Pin<&mut net::Stream>,
    _cx: &mut Context<'_>,
    _file: BorrowedFd<'_>,
    _offset: u64,
    _len: usize,
) -> Poll<io::Result<usize>> {
    Poll::Ready(Err(io::ErrorKind::Unsupported.into()))
}
