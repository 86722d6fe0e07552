//! A stream whose first byte was looked at.
//!
//! One byte tells plaintext from TLS, and a peer's first byte after a handshake says that it accepted
//! this node's certificate. Why not `peek`: only a bare socket has it, and a simulated one has not.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

/// A stream, and the byte that was read from it and not yet handed on.
#[derive(Debug)]
pub(super) struct Replay<S> {
    first: Option<u8>,
    inner: S,
}

impl<S: AsyncRead + Unpin> Replay<S> {
    /// Waits for the first byte.
    ///
    /// # Errors
    /// Those of the stream; `UnexpectedEof` when it ends without one.
    pub async fn after_first(mut inner: S) -> io::Result<(u8, Replay<S>)> {
        let first = inner.read_u8().await?;
        Ok((first, Replay { first: Some(first), inner }))
    }
}

impl<S> Replay<S> {
    pub fn inner_mut(&mut self) -> &mut S {
        &mut self.inner
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Replay<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if buffer.remaining() > 0
            && let Some(first) = self.first.take()
        {
            buffer.put_slice(&[first]);
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Replay<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test panics when something is wrong")]
    use super::*;

    #[tokio::test]
    async fn the_first_byte_comes_twice_and_the_rest_once() {
        let (first, mut stream) = Replay::after_first(&b"abc"[..]).await.unwrap();
        assert_eq!(first, b'a');
        let mut all = Vec::new();
        stream.read_to_end(&mut all).await.unwrap();
        assert_eq!(all, b"abc");
        assert!(Replay::after_first(&b""[..]).await.is_err());
    }
}
