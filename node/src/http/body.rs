//! Bodies in both directions.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;

use crate::{
    registry::{ErrorCode, RegistryError},
    replicate::{FetchError, PartStream},
};

/// Reads the data of a request's body; trailers are passed over.
///
/// # Errors
/// The client went away, was cut off, or broke the framing.
pub async fn next_data(body: &mut Body) -> Result<Option<Bytes>, RegistryError> {
    loop {
        match body.frame().await {
            None => return Ok(None),
            Some(Err(error)) => {
                let message = "the request body ended before its time or is framed wrongly";
                return Err(ErrorCode::BlobUploadInvalid.error(message).with_cause(error));
            }
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) if data.is_empty() => {}
                Ok(data) => return Ok(Some(data)),
                Err(_trailers) => {}
            },
        }
    }
}

/// Reads a whole body of at most `bytes_max`; `Ok(None)` when it is longer.
///
/// # Errors
/// As [`next_data`].
pub async fn read_whole(body: &mut Body, bytes_max: usize) -> Result<Option<Bytes>, RegistryError> {
    let Some(first) = next_data(body).await? else { return Ok(Some(Bytes::new())) };
    if first.len() > bytes_max {
        return Ok(None);
    }
    let Some(second) = next_data(body).await? else { return Ok(Some(first)) };
    let expected = body.size_hint().lower() as usize;
    let capacity = (first.len() + second.len() + expected).min(bytes_max);
    let mut whole = BytesMut::with_capacity(capacity);
    whole.extend_from_slice(&first);
    let mut next = Some(second);
    while let Some(data) = next {
        if whole.len() + data.len() > bytes_max {
            return Ok(None);
        }
        whole.extend_from_slice(&data);
        next = next_data(body).await?;
    }
    Ok(Some(whole.freeze()))
}

/// What is read and thrown away of a body that nobody wanted, so that the client can finish sending,
/// read the answer, and use the connection again. A longer rest closes the connection.
const DISCARD_BYTES_MAX: u64 = 4 << 20;

/// How long a client may take to finish sending it.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(2);

/// Reads the rest of an unwanted body, if it is short and comes soon.
pub async fn discard(mut body: Body) {
    if body.size_hint().lower() > DISCARD_BYTES_MAX {
        return;
    }
    let read = async {
        let mut left = DISCARD_BYTES_MAX;
        while let Ok(Some(data)) = next_data(&mut body).await {
            match left.checked_sub(data.len() as u64) {
                Some(rest) => left = rest,
                None => return,
            }
        }
    };
    // A client that does not finish in time gets its answer all the same.
    let _ = tokio::time::timeout(DISCARD_TIMEOUT, read).await;
}

type Loaded = (PartStream, Result<Option<Bytes>, FetchError>);

/// A response body that reads a blob as it is sent, one verified piece at a time.
///
/// When a piece cannot be read the body fails, and with it the connection: the client sees a short
/// answer, never a wrong one.
pub struct BlobBody {
    state: State,
    remaining: u64,
}

/// Where a body is.
enum State {
    Ready(PartStream, Bytes),
    Loading(Pin<Box<dyn Future<Output = Loaded> + Send>>),
    Done,
}

impl BlobBody {
    /// Reads the first piece, so that a damaged blob is known before the answer begins.
    ///
    /// # Errors
    /// The first piece cannot be read.
    pub async fn begin(mut stream: PartStream) -> Result<BlobBody, FetchError> {
        let remaining = stream.remaining();
        Ok(match stream.next().await? {
            Some(first) => BlobBody { state: State::Ready(stream, first), remaining },
            None => BlobBody { state: State::Done, remaining },
        })
    }
}

fn load(mut stream: PartStream) -> State {
    State::Loading(Box::pin(async move {
        let loaded = stream.next().await;
        (stream, loaded)
    }))
}

impl HttpBody for BlobBody {
    type Data = Bytes;
    type Error = FetchError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, FetchError>>> {
        let (stream, bytes) = match &mut self.state {
            State::Done => return Poll::Ready(None),
            State::Loading(loading) => match ready!(loading.as_mut().poll(cx)) {
                (stream, Ok(Some(bytes))) => (stream, bytes),
                (_, Ok(None)) => {
                    self.state = State::Done;
                    return Poll::Ready(None);
                }
                (_, Err(error)) => {
                    tracing::error!(%error, "answer broken off: a blob could not be read");
                    self.state = State::Done;
                    return Poll::Ready(Some(Err(error)));
                }
            },
            ready => match std::mem::replace(ready, State::Done) {
                State::Ready(stream, bytes) => (stream, bytes),
                State::Loading(_) | State::Done => return Poll::Ready(None),
            },
        };
        self.remaining -= bytes.len() as u64;
        if stream.remaining() > 0 {
            self.state = load(stream);
        } else {
            self.state = State::Done;
        }
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.state, State::Done)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining)
    }
}
