//! What is sent: nothing, bytes, or the content of a source, piece by piece.

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::{Bytes, BytesMut};
use futures_util::stream;
use http_body_util::{BodyExt as _, Empty, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::Frame;
use tokio::io::AsyncReadExt as _;

use crate::source::{BlobSource, Opened};

/// The body of a request.
pub(crate) type RequestBody = UnsyncBoxBody<Bytes, io::Error>;

/// Bytes that a source is asked for at a time: a socket buffer's worth.
const PIECE_BYTES: usize = 256 << 10;

/// What to send, as often as it takes.
#[derive(Clone)]
pub(crate) enum Payload {
    /// Nothing.
    None,
    /// These bytes.
    Whole(Bytes),
    /// `size - offset` bytes of a source from `offset` on.
    Source { source: Arc<dyn BlobSource>, offset: u64, size: u64 },
}

/// What became of a body: tells a slow push from one that stands still, and trouble here from
/// trouble over there.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sent(Arc<SentState>);

#[derive(Debug, Default)]
struct SentState {
    bytes: AtomicU64,
    failure: Mutex<Option<io::Error>>,
}

impl Sent {
    /// Bytes handed to the connection so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.0.bytes.load(Ordering::Relaxed)
    }

    /// Why the source could not be read, if that is so.
    pub(crate) fn take_failure(&self) -> Option<io::Error> {
        self.0.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn fail(&self, error: &io::Error) {
        let kept = io::Error::new(error.kind(), error.to_string());
        *self.0.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(kept);
    }
}

impl Payload {
    pub(crate) fn len(&self) -> u64 {
        match self {
            Payload::None => 0,
            Payload::Whole(bytes) => bytes.len() as u64,
            Payload::Source { offset, size, .. } => size - offset,
        }
    }

    /// Opens it. The length is exact, or the body fails.
    pub(crate) async fn open(&self, sent: &Sent) -> io::Result<RequestBody> {
        match self {
            Payload::None => Ok(Empty::new().map_err(|never| match never {}).boxed_unsync()),
            Payload::Whole(bytes) => {
                Ok(Full::new(bytes.clone()).map_err(|never| match never {}).boxed_unsync())
            }
            Payload::Source { source, offset, .. } => {
                let opened = source.open(*offset).await?;
                Ok(pieces(opened, self.len(), sent.clone()))
            }
        }
    }
}

fn pieces(opened: Opened, len: u64, sent: Sent) -> RequestBody {
    let frames = stream::try_unfold((opened, len), move |(mut opened, left)| {
        let sent = sent.clone();
        async move {
            if left == 0 {
                return Ok(None);
            }
            let want = PIECE_BYTES.min(usize::try_from(left).unwrap_or(PIECE_BYTES));
            let mut piece = BytesMut::with_capacity(want);
            while piece.len() < want {
                let room = (want - piece.len()) as u64;
                let read = (&mut opened).take(room).read_buf(&mut piece).await;
                let ended = || {
                    let message = "what is pushed is shorter than it was said to be";
                    Err(io::Error::new(io::ErrorKind::UnexpectedEof, message))
                };
                read.and_then(|read| if read == 0 { ended() } else { Ok(read) })
                    .inspect_err(|error| sent.fail(error))?;
            }
            sent.0.bytes.fetch_add(piece.len() as u64, Ordering::Relaxed);
            let left = left - piece.len() as u64;
            Ok(Some((Frame::data(piece.freeze()), (opened, left))))
        }
    });
    // A body must know its length, or hyper sends it in chunks; the length is in the header.
    StreamBody::new(frames).boxed_unsync()
}
