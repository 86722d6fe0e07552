//! One simulated connection.

use std::{
    collections::VecDeque,
    fmt, io,
    mem::MaybeUninit,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use bytes::{Buf, Bytes, BytesMut};
use madsim::{buggify::buggify_with_prob, net::TcpStream, rand::Rng, task::NodeId};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

use super::{
    super::partition,
    frame::{self, Frame, Received},
};

/// Bytes that may be under way in one direction: a usual socket buffer.
const WINDOW_BYTES: usize = 256 << 10;

/// Read bytes are granted anew in portions of this size, to keep the grants few.
const GRANT_BYTES: usize = WINDOW_BYTES / 4;

/// How often a read or write is cut short under buggify.
const SHORT_PROBABILITY: f64 = 0.1;

/// A simulated connection.
pub struct SimStream {
    /// Gone only while dropping.
    inner: Option<TcpStream>,
    node: NodeId,
    local: SocketAddr,
    peer: SocketAddr,
    slow: SlowWay,
    /// madsim's stream has ended.
    drained: bool,
    /// What arrived of a frame that is not whole yet.
    raw: BytesMut,
    /// Bytes for the reader.
    readable: BytesMut,
    /// Bytes read since the last grant.
    ungranted: usize,
    /// Bytes that the peer has room for.
    credit: usize,
    incoming: Incoming,
    shut_down: bool,
    /// The peer takes no more bytes. It is learnt by what arrives, never faster.
    deaf: bool,
    wakers: Arc<Wakers>,
}

/// What is still under way on a link that is slower than the others, in order.
#[derive(Default)]
struct SlowWay {
    /// Bytes, or the end of the connection, and when they arrive.
    under_way: VecDeque<(Instant, Option<Bytes>)>,
    alarm: Option<Pin<Box<Sleep>>>,
}

impl SlowWay {
    /// Is anything delayed, now or from before?
    fn is_on(&self, delay: Duration) -> bool {
        !delay.is_zero() || !self.under_way.is_empty()
    }

    /// Takes what madsim delivered.
    fn send(&mut self, delay: Duration, bytes: Option<Bytes>) {
        let latest = self.under_way.back().map(|(arrives, _)| *arrives);
        let arrives = Instant::now() + delay;
        let arrives = latest.map_or(arrives, |latest| latest.max(arrives));
        self.under_way.push_back((arrives, bytes));
    }

    /// What has arrived by now, one after the other; the waker is called for the next.
    fn arrived(&mut self, context: &mut Context<'_>) -> Option<Option<Bytes>> {
        let (arrives, _) = self.under_way.front()?;
        let arrives = *arrives;
        if arrives > Instant::now() {
            let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep_until(arrives)));
            if alarm.as_mut().poll(context).is_pending() {
                return None;
            }
        }
        self.alarm = None;
        self.under_way.pop_front().map(|(_, bytes)| bytes)
    }
}

/// What follows the readable bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Incoming {
    Open,
    Ended,
    Reset,
}

/// madsim's stream remembers one waker; two tasks may wait here.
#[derive(Default)]
struct Wakers(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Wakers {
    fn with<T>(&self, change: impl FnOnce(&mut Waiting) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Wake for Wakers {
    fn wake(self: Arc<Self>) {
        let Waiting { reader, writer } = self.with(std::mem::take);
        reader.into_iter().chain(writer).for_each(Waker::wake);
    }
}

impl fmt::Debug for SimStream {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SimStream({} -> {})", self.local, self.peer)
    }
}

impl SimStream {
    pub(super) fn new(inner: TcpStream) -> io::Result<SimStream> {
        Ok(SimStream {
            node: madsim::plugin::node(),
            local: inner.local_addr()?,
            peer: inner.peer_addr()?,
            inner: Some(inner),
            slow: SlowWay::default(),
            drained: false,
            raw: BytesMut::new(),
            readable: BytesMut::new(),
            ungranted: 0,
            credit: WINDOW_BYTES,
            incoming: Incoming::Open,
            shut_down: false,
            deaf: false,
            wakers: Arc::default(),
        })
    }

    /// The address of this end.
    ///
    /// # Errors
    /// None; the signature is that of the real side.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.local)
    }

    /// The address of the other end.
    ///
    /// # Errors
    /// None; the signature is that of the real side.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.peer)
    }

    fn send(&mut self, frame: Frame<'_>) {
        let Some(inner) = &mut self.inner else { return };
        let message = frame.encode();
        let mut context = Context::from_waker(Waker::noop());
        // madsim takes a message whole and at once. An error means that the peer is gone, which the
        // peer's last frames will tell in their own time.
        let _ = Pin::new(&mut *inner).poll_write(&mut context, &message);
        let _ = Pin::new(inner).poll_flush(&mut context);
    }

    /// Takes in whatever arrived, and has the waiting tasks woken when more does.
    fn pump(&mut self) {
        let forgotten = self.receive();
        while let Some(frame) = frame::decode(&mut self.raw) {
            match frame {
                Received::Data(bytes) => self.readable.unsplit(bytes),
                Received::Grant(bytes) => self.credit += bytes,
                Received::Fin if self.incoming == Incoming::Open => {
                    self.incoming = Incoming::Ended;
                }
                Received::Fin => {}
                Received::Close => self.end(Incoming::Ended),
                Received::Reset => self.end(Incoming::Reset),
            }
        }
        if forgotten {
            self.end(Incoming::Reset);
        }
    }

    /// Moves what arrived into `raw`. True when madsim's stream ended: if no closing frame is among
    /// the last ones, the peer's machine forgot the connection.
    fn receive(&mut self) -> bool {
        let waker = Waker::from(Arc::clone(&self.wakers));
        let mut context = Context::from_waker(&waker);
        let mut chunk = [const { MaybeUninit::uninit() }; 16 << 10];
        let delay = partition::delay(self.peer.ip(), self.node);
        while let Some(inner) = &mut self.inner
            && !self.drained
        {
            let mut buffer = ReadBuf::uninit(&mut chunk);
            let bytes = match Pin::new(inner).poll_read(&mut context, &mut buffer) {
                Poll::Pending => break,
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => Some(buffer.filled()),
                Poll::Ready(_) => None,
            };
            self.drained = bytes.is_none();
            if !self.slow.is_on(delay) {
                match bytes {
                    Some(bytes) => self.raw.extend_from_slice(bytes),
                    None => return true,
                }
                continue;
            }
            self.slow.send(delay, bytes.map(Bytes::copy_from_slice));
        }
        while let Some(arrived) = self.slow.arrived(&mut context) {
            match arrived {
                Some(bytes) => self.raw.extend_from_slice(&bytes),
                None => return true,
            }
        }
        false
    }

    /// The peer is gone.
    fn end(&mut self, how: Incoming) {
        if !self.deaf {
            self.deaf = true;
            if self.incoming == Incoming::Open || how == Incoming::Reset {
                self.incoming = how;
            }
        }
    }

    fn may_read(&self) -> bool {
        !self.readable.is_empty() || self.incoming != Incoming::Open
    }

    fn may_write(&self) -> bool {
        self.credit > 0 || self.deaf
    }

    fn wake_reader_if_ready(&self) {
        if self.may_read()
            && let Some(waker) = self.wakers.with(|waiting| waiting.reader.take())
        {
            waker.wake();
        }
    }

    fn wake_writer_if_ready(&self) {
        if self.may_write()
            && let Some(waker) = self.wakers.with(|waiting| waiting.writer.take())
        {
            waker.wake();
        }
    }
}

/// `len`, or under buggify sometimes less, at least 1.
fn perhaps_short(len: usize) -> usize {
    match len > 1 && buggify_with_prob(SHORT_PROBABILITY) {
        true => madsim::rand::thread_rng().gen_range(1..=len),
        false => len,
    }
}

impl AsyncRead for SimStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.may_read() {
            self.wakers.with(|waiting| waiting.reader = Some(cx.waker().clone()));
            self.pump();
            self.wake_writer_if_ready();
        }
        if self.readable.is_empty() {
            return match self.incoming {
                Incoming::Open => Poll::Pending,
                Incoming::Ended => Poll::Ready(Ok(())),
                Incoming::Reset => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            };
        }
        let len = perhaps_short(self.readable.len().min(buffer.remaining()));
        buffer.put_slice(&self.readable[..len]);
        self.readable.advance(len);
        self.ungranted += len;
        if self.ungranted >= GRANT_BYTES {
            let bytes = std::mem::take(&mut self.ungranted);
            self.send(Frame::Grant(bytes));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for SimStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.shut_down {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        if self.credit == 0 {
            self.wakers.with(|waiting| waiting.writer = Some(cx.waker().clone()));
        }
        self.pump();
        self.wake_reader_if_ready();
        if self.deaf {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if self.credit == 0 {
            return Poll::Pending;
        }
        let len = perhaps_short(bytes.len().min(self.credit));
        self.credit -= len;
        self.send(Frame::Data(&bytes[..len]));
        Poll::Ready(Ok(len))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut bytes = Vec::new();
        for slice in slices {
            let room = WINDOW_BYTES - bytes.len();
            bytes.extend_from_slice(&slice[..slice.len().min(room)]);
        }
        self.poll_write(cx, &bytes)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.shut_down {
            self.shut_down = true;
            self.send(Frame::Fin);
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for SimStream {
    fn drop(&mut self) {
        // After the end of the simulation there is nobody to tell, and a panic ends it.
        if madsim::runtime::Handle::try_current().is_err() || std::thread::panicking() {
            return;
        }
        self.inner = self.inner.take().and_then(|inner| partition::bury(self.node, inner));
        if self.inner.is_some() {
            self.pump();
            let unread = !self.readable.is_empty();
            self.send(if unread { Frame::Reset } else { Frame::Close });
        }
    }
}
