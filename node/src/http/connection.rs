//! One connection: its stream, wrapped so that the listener sees what moves, and its state.

use std::{
    io::{self, IoSlice},
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::Notify,
};

use super::{
    framing::Framing,
    pace::{Cut, Observed, Patience, RateWindow, verdict},
    send,
};
use crate::{
    io::{Clock, net},
    telemetry::HttpMetrics,
    tiers::arena::Arenas,
};

/// What the node knows of one connection. Shared by its stream, its requests and the sweeper.
#[derive(Debug)]
pub struct Connection {
    /// Who is at the other end.
    pub peer: SocketAddr,
    clock: Arc<dyn Clock>,
    moved: AtomicU64,
    requests_open: AtomicU32,
    received_since_idle: AtomicBool,
    phase_since_nanos: AtomicU64,
    /// Request bodies that wait for the client's next bytes.
    bodies_waiting: AtomicU32,
    write_blocked: AtomicBool,
    /// HTTP/2: control frames may come at any time, so there is no header phase to time.
    multiplexed: AtomicBool,
    /// The header of the present request tells its length in two ways.
    ambiguous: AtomicBool,
    window: Mutex<RateWindow>,
    cut: Notify,
}

impl Connection {
    /// The state of a connection accepted just now.
    pub fn new(peer: SocketAddr, clock: Arc<dyn Clock>) -> Arc<Connection> {
        let phase_since_nanos = AtomicU64::new(nanos(clock.monotonic()));
        Arc::new(Connection {
            peer,
            clock,
            moved: AtomicU64::new(0),
            requests_open: AtomicU32::new(0),
            // A new connection owes its first request as if it had begun it.
            received_since_idle: AtomicBool::new(true),
            phase_since_nanos,
            bodies_waiting: AtomicU32::new(0),
            write_blocked: AtomicBool::new(false),
            multiplexed: AtomicBool::new(false),
            ambiguous: AtomicBool::new(false),
            window: Mutex::default(),
            cut: Notify::new(),
        })
    }

    /// Marks the connection as HTTP/2.
    pub fn set_multiplexed(&self) {
        self.multiplexed.store(true, Relaxed);
    }

    /// A request's header is complete: it is open until the guard is dropped.
    pub fn open_request(self: &Arc<Self>) -> OpenRequest {
        self.requests_open.fetch_add(1, Relaxed);
        OpenRequest { connection: self.clone() }
    }

    /// Does the header of the present request tell its length in two ways?
    pub fn is_ambiguous(&self) -> bool {
        self.ambiguous.load(Relaxed)
    }

    /// Resolves when the sweeper decided to cut the connection.
    pub async fn cut(&self) {
        self.cut.notified().await;
    }

    /// Looks at the connection, and cuts it when it is due.
    pub fn sweep(&self, patience: &Patience, now: Duration) -> Option<Cut> {
        let multiplexed = self.multiplexed.load(Relaxed);
        let observed = Observed {
            requests_open: self.requests_open.load(Relaxed),
            received_since_idle: self.received_since_idle.load(Relaxed) && !multiplexed,
            phase_since: Duration::from_nanos(self.phase_since_nanos.load(Relaxed)),
            waiting: self.bodies_waiting.load(Relaxed) > 0 || self.write_blocked.load(Relaxed),
            moved: self.moved.load(Relaxed),
        };
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        let cut = verdict(patience, &mut window, &observed, now)?;
        self.cut.notify_one();
        Some(cut)
    }

    /// Is no request open?
    pub fn is_idle(&self) -> bool {
        self.requests_open.load(Relaxed) == 0
    }

    /// Ends the connection at its next chance.
    pub fn shed(&self) {
        self.cut.notify_one();
    }

    /// Bytes arrived. Answers whether they belong to the header of a request, and if so, whether
    /// they begin it.
    fn received(&self, bytes: usize) -> Option<HeaderPart> {
        self.moved.fetch_add(bytes as u64, Relaxed);
        if self.requests_open.load(Relaxed) > 0 {
            return None;
        }
        if self.received_since_idle.swap(true, Relaxed) {
            return Some(HeaderPart::Rest);
        }
        self.begin_phase();
        Some(HeaderPart::Start)
    }

    fn begin_phase(&self) {
        self.phase_since_nanos.store(nanos(self.clock.monotonic()), Relaxed);
    }
}

/// Which part of a header some bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HeaderPart {
    Start,
    Rest,
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// A request being served.
#[derive(Debug)]
pub struct OpenRequest {
    connection: Arc<Connection>,
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        if self.connection.requests_open.fetch_sub(1, Relaxed) == 1 {
            self.connection.received_since_idle.store(false, Relaxed);
            self.connection.begin_phase();
        }
    }
}

/// A request body that tells its connection when it waits for the client.
#[derive(Debug)]
pub struct PacedBody<B> {
    inner: B,
    connection: Arc<Connection>,
    metrics: Arc<HttpMetrics>,
    waiting: bool,
}

impl<B> PacedBody<B> {
    /// Wraps the body of a request on `connection`.
    pub fn new(inner: B, connection: Arc<Connection>, metrics: Arc<HttpMetrics>) -> Self {
        PacedBody { inner, connection, metrics, waiting: false }
    }

    fn set_waiting(&mut self, waiting: bool) {
        match (self.waiting, waiting) {
            (false, true) => _ = self.connection.bodies_waiting.fetch_add(1, Relaxed),
            (true, false) => _ = self.connection.bodies_waiting.fetch_sub(1, Relaxed),
            _ => {}
        }
        self.waiting = waiting;
    }
}

impl<B: Body + Unpin> Body for PacedBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        self.set_waiting(polled.is_pending());
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            self.metrics.bytes_received.fetch_add(data_bytes(frame), Relaxed);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl<B> Drop for PacedBody<B> {
    fn drop(&mut self) {
        self.set_waiting(false);
    }
}

fn data_bytes<D: Buf>(frame: &Frame<D>) -> u64 {
    frame.data_ref().map_or(0, |data| data.remaining() as u64)
}

/// A response body that keeps its request open until it is gone.
#[derive(Debug)]
pub struct TrackedBody<B> {
    inner: B,
    metrics: Arc<HttpMetrics>,
    _open: OpenRequest,
}

impl<B> TrackedBody<B> {
    /// Ties a response body to its request.
    pub fn new(inner: B, open: OpenRequest, metrics: Arc<HttpMetrics>) -> Self {
        TrackedBody { inner, metrics, _open: open }
    }
}

impl<B: Body + Unpin> Body for TrackedBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            self.metrics.bytes_sent.fetch_add(data_bytes(frame), Relaxed);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// Slices shorter than this are copied to the socket: below, a system call of their own costs more
/// than the copy.
const SENDFILE_BYTES_MIN: usize = 16 << 10;

/// The stream of a connection: counts what moves, gives back what was read ahead, and sends bytes
/// that lie in the arena without copying them.
#[derive(Debug)]
pub struct Stream {
    inner: net::Stream,
    connection: Arc<Connection>,
    arenas: Arenas,
    ahead: Bytes,
    framing: Framing,
}

impl Stream {
    /// Wraps an accepted stream.
    pub fn new(inner: net::Stream, connection: Arc<Connection>, arenas: Arenas) -> Self {
        Stream { inner, connection, arenas, ahead: Bytes::new(), framing: Framing::default() }
    }

    /// Puts bytes back that were read to see which protocol is spoken.
    pub fn put_back(&mut self, bytes: Bytes) {
        self.ahead = bytes;
    }

    fn sent(&self, polled: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.connection.write_blocked.store(polled.is_pending(), Relaxed);
        if let Poll::Ready(Ok(bytes)) = &polled {
            self.connection.moved.fetch_add(*bytes as u64, Relaxed);
        }
        polled
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.ahead.is_empty() {
            let take = self.ahead.len().min(buffer.remaining());
            buffer.put_slice(&self.ahead[..take]);
            self.ahead.advance(take);
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buffer))?;
        let received = &buffer.filled()[before..];
        if let Some(part) = self.connection.received(received.len()) {
            let this = &mut *self;
            if part == HeaderPart::Start {
                this.framing.reset();
            }
            this.framing.look(received);
            this.connection.ambiguous.store(this.framing.is_ambiguous(), Relaxed);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.as_mut().poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let in_arena = |slice: &IoSlice<'_>| match slice.len() {
            0..SENDFILE_BYTES_MIN => None,
            _ => this.arenas.locate(slice),
        };
        // What comes before the first slice of the arena goes out as it is, most often the header.
        let copied = slices.iter().take_while(|slice| in_arena(slice).is_none()).count();
        let polled = match slices.first().and_then(|slice| Some((in_arena(slice)?, slice.len()))) {
            Some(((file, offset), len)) => {
                send::poll_send_file(Pin::new(&mut this.inner), cx, file, offset, len)
            }
            None => {
                let more = copied < slices.len();
                send::poll_write_slices(Pin::new(&mut this.inner), cx, &slices[..copied], more)
            }
        };
        self.sent(polled)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
