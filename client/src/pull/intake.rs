//! Pieces in, in order; a verified blob out.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::{FetchError, piece::Piece};
use crate::{
    Digest, Verifier,
    blob::Blob,
    endpoint::Endpoint,
    error::{LocalFailure, PullError},
    spool::{SpoolFile, blocking},
};

/// Hashing this many bytes does not hold up others for long; more is done away from the reactor.
const INLINE_BYTES_MAX: usize = 128 << 10;

pub(crate) struct Intake {
    verifier: Verifier,
    content: Content,
    /// Whoever sent a part of it.
    sources: Vec<Endpoint>,
}

enum Content {
    Memory(Vec<Bytes>),
    File { file: Arc<dyn SpoolFile>, written: u64 },
}

impl Intake {
    pub(crate) fn in_memory(digest: Digest, size: u64) -> Intake {
        let content = Content::Memory(Vec::new());
        Intake { verifier: Verifier::new(digest, size), content, sources: Vec::new() }
    }

    pub(crate) fn in_file(digest: Digest, size: u64, file: Arc<dyn SpoolFile>) -> Intake {
        let content = Content::File { file, written: 0 };
        Intake { verifier: Verifier::new(digest, size), content, sources: Vec::new() }
    }

    /// Takes the next piece: hashes and keeps it. Its room in memory is given back after that.
    pub(crate) async fn take(mut self, mut piece: Piece) -> Result<Intake, FetchError> {
        for source in piece.sources.drain(..) {
            if !self.sources.contains(&source) {
                self.sources.push(source);
            }
        }
        let is_small = piece.len() <= INLINE_BYTES_MAX as u64;
        if is_small && matches!(self.content, Content::Memory(_)) {
            self.keep(&piece)?;
            return Ok(self);
        }
        let work = move || {
            let kept = self.keep(&piece);
            kept.map(|()| self)
        };
        blocking(work).await.map_err(|cause| local("storing what was pulled", cause))?
    }

    fn keep(&mut self, piece: &Piece) -> Result<(), FetchError> {
        for bytes in &piece.chunks {
            if let Err(error) = self.verifier.check(bytes) {
                let from = std::mem::take(&mut self.sources);
                return Err(FetchError::Wrong { from, why: error.to_string() });
            }
            match &mut self.content {
                Content::Memory(chunks) => chunks.push(bytes.clone()),
                Content::File { file, written } => {
                    file.write_at(*written, bytes)
                        .map_err(|cause| local("writing what was pulled to the spool", cause))?;
                    *written += bytes.len() as u64;
                }
            }
        }
        Ok(())
    }

    /// The blob, if it is what was asked for.
    pub(crate) fn finish(self) -> Result<Blob, FetchError> {
        if let Err(error) = self.verifier.finish() {
            return Err(FetchError::Wrong { from: self.sources, why: error.to_string() });
        }
        Ok(match self.content {
            Content::Memory(chunks) => Blob::from_memory(joined(chunks)),
            Content::File { file, written } => Blob::spooled(file, written),
        })
    }
}

fn joined(mut chunks: Vec<Bytes>) -> Bytes {
    if chunks.len() == 1 {
        return chunks.pop().unwrap_or_default();
    }
    let mut all = BytesMut::with_capacity(chunks.iter().map(Bytes::len).sum());
    chunks.iter().for_each(|chunk| all.extend_from_slice(chunk));
    all.freeze()
}

fn local(doing: &str, cause: std::io::Error) -> PullError {
    PullError::Local(Box::new(LocalFailure { doing: doing.to_owned(), cause }))
}
