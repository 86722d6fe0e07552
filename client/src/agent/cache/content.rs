//! Cached content on its way to a caller.
//!
//! The file stays open while it is read: what is evicted meanwhile is read to its end. Whole
//! content is compared with its digest once more while it flows, and the last piece is kept back
//! until it was right: a disk that changed a byte ends the answer early, and the next one is
//! fetched again.

use std::{io, ops::Range, sync::Arc};

use atoll_core::Digest;
use bytes::Bytes;
use futures_util::stream;
use http_body::Frame;
use http_body_util::StreamBody;

use super::{Cache, disk, disk::File, host};
use crate::{
    Verifier,
    agent::body::{self, Body},
};

/// Content that was compared with its digest.
#[derive(Clone, Debug)]
pub struct Content {
    cache: Cache,
    digest: Digest,
    size: u64,
    file: Arc<File>,
}

/// How far an answer has come.
struct Reading {
    content: Content,
    rest: Range<u64>,
    /// For whole content.
    verifier: Option<Verifier>,
}

impl Content {
    pub(super) fn new(cache: Cache, digest: Digest, size: u64, file: File) -> Content {
        Content::shared(cache, digest, size, Arc::new(file))
    }

    pub(super) fn shared(cache: Cache, digest: Digest, size: u64, file: Arc<File>) -> Content {
        Content { cache, digest, size, file }
    }

    /// Its length in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The bytes of `range`, which lies within the content.
    pub fn body(self, range: Range<u64>) -> Body {
        let is_whole = range == (0..self.size);
        let verifier = is_whole.then(|| Verifier::new(self.digest, self.size));
        let reading = Reading { content: self, rest: range, verifier };
        body::flowing(StreamBody::new(stream::try_unfold(reading, Reading::next)))
    }
}

impl Reading {
    async fn next(mut self) -> Result<Option<(Frame<Bytes>, Reading)>, io::Error> {
        let left = self.rest.end.saturating_sub(self.rest.start);
        if left == 0 {
            return Ok(None);
        }
        let length = usize::try_from(left).unwrap_or(usize::MAX).min(disk::PIECE_BYTES);
        let (file, at) = (self.content.file.clone(), self.rest.start);
        let verifier = self.verifier.take();
        let read = host::blocking(move || {
            let piece = disk::read_piece(&file, at, length)?;
            let mut verifier = verifier;
            let right = match &mut verifier {
                Some(verifier) => verifier.check(&piece).is_ok(),
                None => true,
            };
            Ok((right && piece.len() == length, piece, verifier))
        });
        let (right, piece, verifier) = read.await?;
        if !right {
            self.content.cache.discard(self.content.digest).await;
            return Err(io::Error::other("the cached copy is damaged; ask again"));
        }
        self.rest.start += length as u64;
        self.verifier = verifier;
        Ok(Some((Frame::data(Bytes::from(piece)), self)))
    }
}
