//! A keep-alive HTTP/1.1 connection that does as little as it can.
//!
//! Requests are prepared bytes; answers are read into one buffer per thread and dropped. What is
//! checked is what makes an answer right: the status, the Content-Length and that exactly so many
//! bytes follow. A client library would spend more per small request than some servers do, and
//! the generator's cost is the same for every server, so it would flatten the ratios.

use std::{
    cell::RefCell,
    future::poll_fn,
    io::{self, IoSlice},
    net::SocketAddr,
    pin::Pin,
};
use tokio::{
    io::{AsyncRead, AsyncWriteExt, ReadBuf},
    net::TcpStream,
};

/// One read takes at most this much: large enough that a 64 KiB answer is one or two reads.
const SCRATCH_BYTES: usize = 256 * 1024;
/// No server here sends longer answer heads.
const HEAD_BYTES_MAX: usize = 16 * 1024;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; SCRATCH_BYTES]);
}

/// The parts of an answer's head that are checked or followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Status code.
    pub status: u16,
    /// Declared length of the body.
    pub content_length: u64,
    /// `Location`, as sent.
    pub location: Option<String>,
}

/// An open connection.
pub struct Connection {
    stream: TcpStream,
}

impl Connection {
    /// Connects without delay for small writes.
    pub async fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream })
    }

    /// Sends `parts` one after the other, in as few writes as the socket takes.
    pub async fn send(&mut self, parts: &[&[u8]]) -> io::Result<()> {
        let mut slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
        let mut rest = &mut slices[..];
        IoSlice::advance_slices(&mut rest, 0);
        while !rest.is_empty() {
            let written = self.stream.write_vectored(rest).await?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            IoSlice::advance_slices(&mut rest, written);
        }
        Ok(())
    }

    /// Reads one whole answer and gives each piece of its body to `body`.
    pub async fn receive(&mut self, mut body: impl FnMut(&[u8])) -> io::Result<Head> {
        let mut partial = Vec::new();
        let (head, mut missing) = loop {
            let parsed = self
                .read(SCRATCH_BYTES, |bytes| -> io::Result<Option<(Head, u64)>> {
                    let piece: &[u8] = if partial.is_empty() {
                        bytes
                    } else {
                        partial.extend_from_slice(bytes);
                        &partial
                    };
                    let Some(end) = find_head_end(piece) else {
                        if partial.is_empty() {
                            partial.extend_from_slice(bytes);
                        }
                        return Ok(None);
                    };
                    let head = parse_head(&piece[..end])?;
                    let first = &piece[end..];
                    let missing = head
                        .content_length
                        .checked_sub(first.len() as u64)
                        .ok_or_else(|| invalid("more bytes than Content-Length"))?;
                    body(first);
                    Ok(Some((head, missing)))
                })
                .await??;
            match parsed {
                Some(found) => break found,
                None if partial.len() > HEAD_BYTES_MAX => return Err(invalid("head too long")),
                None => {}
            }
        };
        while missing > 0 {
            missing -= self.receive_some(missing, SCRATCH_BYTES, &mut body).await?;
        }
        Ok(head)
    }

    /// Reads an answer's head and the first bytes of its body, at most `limit` with the head.
    /// Gives the head and how much of the body is still to come.
    pub async fn receive_head(&mut self, limit: usize) -> io::Result<(Head, u64)> {
        let mut partial = Vec::new();
        loop {
            self.read(limit, |bytes| partial.extend_from_slice(bytes)).await?;
            if let Some(end) = find_head_end(&partial) {
                let head = parse_head(&partial[..end])?;
                let missing = head.content_length.checked_sub((partial.len() - end) as u64);
                return Ok((head, missing.ok_or_else(|| invalid("more than Content-Length"))?));
            }
        }
    }

    /// Reads the next piece of a body of which `missing` bytes are to come; gives its length.
    pub async fn receive_some(
        &mut self,
        missing: u64,
        limit: usize,
        body: &mut impl FnMut(&[u8]),
    ) -> io::Result<u64> {
        let got = self
            .read(limit, |bytes| {
                body(bytes);
                bytes.len() as u64
            })
            .await?;
        if got > missing {
            return Err(invalid("more bytes than Content-Length"));
        }
        Ok(got)
    }

    /// One read of at most `limit` bytes into the thread's buffer. The buffer is borrowed only
    /// while the socket is polled, so any number of connections share it. Polling with a buffer
    /// larger than what is there spares the second read that would only say "would block".
    async fn read<T>(&mut self, limit: usize, mut used: impl FnMut(&[u8]) -> T) -> io::Result<T> {
        let limit = limit.min(SCRATCH_BYTES);
        poll_fn(|context| {
            SCRATCH.with_borrow_mut(|scratch| {
                let mut buffer = ReadBuf::new(&mut scratch[..limit]);
                std::task::ready!(Pin::new(&mut self.stream).poll_read(context, &mut buffer))?;
                if buffer.filled().is_empty() {
                    return std::task::Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
                }
                std::task::Poll::Ready(Ok(used(buffer.filled())))
            })
        })
        .await
    }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

/// Offset just past the empty line that ends the head.
fn find_head_end(bytes: &[u8]) -> Option<usize> {
    let window = &bytes[..bytes.len().min(HEAD_BYTES_MAX)];
    window.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4)
}

fn parse_head(bytes: &[u8]) -> io::Result<Head> {
    let text = std::str::from_utf8(bytes).map_err(|_| invalid("head is not text"))?;
    let mut lines = text.split("\r\n");
    let status = lines
        .next()
        .and_then(|line| line.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok())
        .ok_or_else(|| invalid("no HTTP/1.1 status line"))?;
    let mut head = Head { status, content_length: 0, location: None };
    for line in lines {
        let Some((name, value)) = line.split_once(':') else { continue };
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") {
            head.content_length = value.parse().map_err(|_| invalid("bad Content-Length"))?;
        } else if name.eq_ignore_ascii_case("location") {
            head.location = Some(value.to_owned());
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            return Err(invalid("answer without Content-Length"));
        }
    }
    Ok(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_found_and_parsed() {
        let bytes = b"HTTP/1.1 202 Accepted\r\nLOCATION: /v2/x\r\ncontent-length:  7\r\n\r\nbody";
        let end = find_head_end(bytes).expect("end");
        assert_eq!(&bytes[end..], b"body");
        let head = parse_head(&bytes[..end]).expect("head");
        let location = Some("/v2/x".to_owned());
        assert_eq!(head, Head { status: 202, content_length: 7, location });
    }

    #[test]
    fn what_cannot_be_checked_is_refused() {
        assert!(parse_head(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").is_err());
        assert!(parse_head(b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n").is_err());
        assert!(parse_head(b"HTTP/1.0 200 OK\r\n\r\n").is_err());
        assert_eq!(find_head_end(b"HTTP/1.1 200 OK\r\n"), None);
    }
}
