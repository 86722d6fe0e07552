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

    /// Takes the next piece: hashes and keeps it. Its room in memory may be given back after that.
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
    // A small piece may hold on to a connection's whole buffer: it is copied out of it.
    if let [only] = chunks.as_slice()
        && only.len() > INLINE_BYTES_MAX
    {
        return chunks.pop().unwrap_or_default();
    }
    let mut all = BytesMut::with_capacity(chunks.iter().map(Bytes::len).sum());
    chunks.iter().for_each(|chunk| all.extend_from_slice(chunk));
    all.freeze()
}

fn local(doing: &str, cause: std::io::Error) -> PullError {
    PullError::Local(Box::new(LocalFailure { doing: doing.to_owned(), cause }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        Algorithm,
        pull::cut::pieces,
        spool::{MemorySpool, Spool as _},
    };

    fn piece(content: &Bytes, offset: u64, end: u64, chunk: usize) -> Piece {
        let part = content.slice(offset as usize..end as usize);
        let chunks = part.chunks(chunk).map(Bytes::copy_from_slice).collect();
        Piece { offset, chunks, sources: Vec::new(), total: content.len() as u64 }
    }

    proptest! {
        #[test]
        fn pieces_make_the_blob_again_and_one_wrong_bit_makes_none(
            content in prop::collection::vec(any::<u8>(), 1..2000),
            bytes in 1_u64..300,
            chunk in 1_usize..100,
            in_file: bool,
            flip: Option<prop::sample::Index>,
        ) {
            let content = Bytes::from(content);
            let size = content.len() as u64;
            let digest = Digest::of(Algorithm::Sha256, &content);
            let mut intake = if in_file {
                Intake::in_file(digest, size, MemorySpool.create().expect("memory"))
            } else {
                Intake::in_memory(digest, size)
            };
            let mut sent = content.to_vec();
            if let Some(flip) = flip {
                *flip.get_mut(&mut sent) ^= 1;
            }
            let sent = Bytes::from(sent);
            let kept = pieces(0, size, bytes).try_for_each(|cut| {
                intake.keep(&piece(&sent, cut.offset, cut.end.expect("an end"), chunk))
            });
            let finished = kept.and_then(|()| intake.finish());
            match (flip, finished) {
                (None, Ok(blob)) => {
                    prop_assert_eq!(blob.read_for_tests(), content);
                }
                (Some(_), Err(FetchError::Wrong { .. })) => {}
                (flip, _) => prop_assert!(false, "flip {:?} ended otherwise", flip),
            }
        }
    }
}
