//! Is this the content that was asked for?
//!
//! Content is named by its digest and announced with its length, so both are checked while it
//! streams by; nothing is gathered in memory. The rule that makes this safe without a buffer: the
//! piece that completes the content is judged before it is passed on. Whoever was given all
//! announced bytes was given the right ones, and whoever was given wrong ones never sees the end.
//!
//! Why not check the digest alone, at the end: a sender that never stops would fill the disk first.

use std::io::{self, Read};

use atoll_core::{Digest, digest::Hasher};

/// Judges content piece by piece as it streams by.
///
/// ```
/// use atoll_client::{Algorithm, ContentError, Digest, Verifier};
///
/// let mut verifier = Verifier::new(Digest::of(Algorithm::Sha256, b"hello"), 5);
/// verifier.check(b"hel")?;
/// verifier.check(b"lo")?; // complete: the digest was right
/// verifier.finish()?;
///
/// let mut verifier = Verifier::new(Digest::of(Algorithm::Sha256, b"hello"), 5);
/// verifier.check(b"hel")?;
/// assert!(matches!(verifier.check(b"p!"), Err(ContentError::Digest(_))));
/// # Ok::<(), ContentError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Verifier {
    expected: Digest,
    size: u64,
    received: u64,
    hasher: Hasher,
    verdict: Verdict,
}

#[derive(Clone, Debug)]
enum Verdict {
    Open,
    Right,
    Wrong(ContentError),
}

impl Verifier {
    /// Expects content of `size` bytes with the digest `expected`.
    pub fn new(expected: Digest, size: u64) -> Verifier {
        let hasher = expected.algorithm().hasher();
        let mut verifier = Verifier { expected, size, received: 0, hasher, verdict: Verdict::Open };
        if size == 0 {
            verifier.judge();
        }
        verifier
    }

    /// Bytes that passed so far.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Takes the next bytes into account. `Ok` means that they may be passed on. After an error
    /// every further call answers the same error.
    ///
    /// # Errors
    /// There are more bytes than announced, or these complete content with another digest.
    pub fn check(&mut self, next: &[u8]) -> Result<(), ContentError> {
        if let Verdict::Wrong(error) = &self.verdict {
            return Err(error.clone());
        }
        if next.is_empty() {
            return Ok(());
        }
        if next.len() as u64 > self.size - self.received {
            return self.refuse(TooLong { digest: self.expected, announced: self.size }.into());
        }
        self.hasher.update(next);
        self.received += next.len() as u64;
        if self.received == self.size {
            self.judge();
        }
        match &self.verdict {
            Verdict::Wrong(error) => Err(error.clone()),
            Verdict::Open | Verdict::Right => Ok(()),
        }
    }

    /// Ends the content.
    ///
    /// # Errors
    /// It is incomplete, or it was refused before.
    pub fn finish(self) -> Result<(), ContentError> {
        match self.verdict {
            Verdict::Right => Ok(()),
            Verdict::Wrong(error) => Err(error),
            Verdict::Open => Err(TooShort {
                digest: self.expected,
                announced: self.size,
                received: self.received,
            }
            .into()),
        }
    }

    fn judge(&mut self) {
        let computed = self.hasher.clone().finish();
        self.verdict = if computed == self.expected {
            Verdict::Right
        } else {
            Verdict::Wrong(Box::new(DigestMismatch { expected: self.expected, computed }).into())
        };
    }

    fn refuse(&mut self, error: ContentError) -> Result<(), ContentError> {
        self.verdict = Verdict::Wrong(error.clone());
        Err(error)
    }
}

/// Reads content and judges it on the way.
///
/// It ends (`Ok(0)`) only after all of the right content; anything else is an error of kind
/// `InvalidData` whose source is the [`ContentError`].
#[derive(Debug)]
pub struct VerifiedReader<R> {
    inner: R,
    verifier: Verifier,
}

impl<R: Read> VerifiedReader<R> {
    /// Reads content of `size` bytes with the digest `expected` from `inner`.
    pub fn new(inner: R, expected: Digest, size: u64) -> Self {
        VerifiedReader { inner, verifier: Verifier::new(expected, size) }
    }
}

impl<R: Read> Read for VerifiedReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let wrong = |error| io::Error::new(io::ErrorKind::InvalidData, error);
        let read = self.inner.read(buffer)?;
        let judged = match read {
            0 => self.verifier.clone().finish(),
            _ => self.verifier.check(&buffer[..read]),
        };
        judged.map_err(|error| {
            // What is refused is not left lying in the caller's buffer.
            buffer[..read].fill(0);
            wrong(error)
        })?;
        Ok(read)
    }
}

/// The content is not what was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContentError {
    /// Other bytes. Boxed, because two digests are large and an error is mostly not there.
    #[error(transparent)]
    Digest(#[from] Box<DigestMismatch>),
    /// More bytes.
    #[error(transparent)]
    TooLong(#[from] TooLong),
    /// Fewer bytes.
    #[error(transparent)]
    TooShort(#[from] TooShort),
}

/// The content has another digest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("asked for `{expected}`, received content with the digest `{computed}`")]
pub struct DigestMismatch {
    /// What was asked for.
    pub expected: Digest,
    /// What came.
    pub computed: Digest,
}

/// The content does not end where it was announced to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{digest}` was announced with {announced} bytes, received more")]
pub struct TooLong {
    /// What was asked for.
    pub digest: Digest,
    /// Its length in bytes, as announced.
    pub announced: u64,
}

/// The content ended early.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{digest}` was announced with {announced} bytes, received {received}")]
pub struct TooShort {
    /// What was asked for.
    pub digest: Digest,
    /// Its length in bytes, as announced.
    pub announced: u64,
    /// What came.
    pub received: u64,
}

#[cfg(test)]
mod tests {
    use atoll_core::Algorithm;
    use proptest::prelude::*;

    use super::*;

    fn read(content: &[u8], expected: Digest, size: u64) -> Result<Vec<u8>, ContentError> {
        let mut all = Vec::new();
        match VerifiedReader::new(content, expected, size).read_to_end(&mut all) {
            Ok(_) => Ok(all),
            Err(error) => {
                let inner = error.into_inner().expect("made from a content error");
                Err(*inner.downcast::<ContentError>().expect("a content error"))
            }
        }
    }

    proptest! {
        #[test]
        fn right_content_passes_however_it_is_cut(
            content in prop::collection::vec(any::<u8>(), 0..300),
            piece in 1_usize..50,
            sha512: bool,
        ) {
            let algorithm = if sha512 { Algorithm::Sha512 } else { Algorithm::Sha256 };
            let digest = Digest::of(algorithm, &content);
            let mut verifier = Verifier::new(digest, content.len() as u64);
            for next in content.chunks(piece) {
                verifier.check(next).expect("right content");
            }
            prop_assert_eq!(verifier.finish(), Ok(()));
            prop_assert_eq!(read(&content, digest, content.len() as u64), Ok(content));
        }

        #[test]
        fn one_changed_bit_keeps_the_last_piece_back(
            mut content in prop::collection::vec(any::<u8>(), 1..300),
            piece in 1_usize..50,
            at: prop::sample::Index,
            bit in 0_u8..8,
        ) {
            let digest = Digest::of(Algorithm::Sha256, &content);
            *at.get_mut(&mut content) ^= 1 << bit;
            let mut verifier = Verifier::new(digest, content.len() as u64);
            let passed: usize = content
                .chunks(piece)
                .take_while(|next| verifier.check(next).is_ok())
                .map(<[u8]>::len)
                .sum();
            prop_assert!(passed < content.len());
            let is_mismatch = matches!(verifier.finish(), Err(ContentError::Digest(_)));
            prop_assert!(is_mismatch);
        }
    }

    #[test]
    fn a_sender_that_goes_on_is_stopped_at_the_announced_length() {
        let digest = Digest::of(Algorithm::Sha256, b"abc");
        let error = read(b"abcd", digest, 3).expect_err("one byte too many");
        assert_eq!(error, TooLong { digest, announced: 3 }.into());
        let error = read(b"x", Digest::of(Algorithm::Sha256, b""), 0).expect_err("not empty");
        assert!(matches!(error, ContentError::TooLong(_)), "{error}");
    }

    #[test]
    fn a_sender_that_stops_early_is_not_believed() {
        let digest = Digest::of(Algorithm::Sha256, b"abc");
        let error = read(b"ab", digest, 3).expect_err("one byte is missing");
        assert_eq!(error, TooShort { digest, announced: 3, received: 2 }.into());
        assert_eq!(error.to_string(), format!("`{digest}` was announced with 3 bytes, received 2"));
    }

    #[test]
    fn empty_content_has_a_digest_too() {
        assert_eq!(read(b"", Digest::of(Algorithm::Sha256, b""), 0), Ok(Vec::new()));
        let other = Digest::of(Algorithm::Sha256, b"x");
        assert!(matches!(read(b"", other, 0), Err(ContentError::Digest(_))));
    }
}
