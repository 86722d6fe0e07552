//! Bodies of requests and answers, whatever they are made of.

use std::io;

use atoll_core::Digest;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http_body_util::{
    BodyExt as _, BodyStream, Empty, Full, StreamBody, combinators::UnsyncBoxBody,
};

use crate::Verifier;

/// A body as it flows through the agent.
pub type Body = UnsyncBoxBody<Bytes, io::Error>;

/// No bytes.
pub fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// These bytes.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// Anything that flows.
pub fn flowing<B>(body: B) -> Body
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    body.map_err(io::Error::other).boxed_unsync()
}

/// The same body, whose last piece is kept back until all of it was what it should be: nobody gets
/// the whole of something else.
pub fn verified(body: Body, digest: Digest, size: u64) -> Body {
    let state = (BodyStream::new(body), Verifier::new(digest, size));
    flowing(StreamBody::new(stream::try_unfold(state, |(mut frames, mut verifier)| async {
        let Some(frame) = frames.next().await else {
            return verifier.finish().map(|()| None).map_err(io::Error::other);
        };
        let frame = frame?;
        if let Some(data) = frame.data_ref() {
            verifier.check(data).map_err(io::Error::other)?;
        }
        Ok(Some((frame, (frames, verifier))))
    })))
}
