//! The trailer of a blob file: what stands behind the content.
//!
//! ```text
//! content | crc32c of block 0 | crc32c of block 1 | … | footer (104 bytes, fixed)
//!
//! footer:  0  magic "ATOLBLOB"             8  version, u16       10  algorithm, u8, then zero, u8
//!         12  block size, u32             16  content length, u64
//!         24  digest, 64 bytes, zero padded
//!         88  reserved, zeros, 12 bytes  100  crc32c of all checksums and the footer up to here
//! ```
//! Numbers are little-endian. One file, so one fsync makes content and checksums durable together,
//! and one rename publishes both. It stands at the end because the length is not known at the
//! start; the reader finds the footer from the end of the file. The digest is in it so that a file
//! which ended up under another name is recognised.

use atoll_core::{Algorithm, Digest};

use super::{
    BLOCK_BYTES,
    sums::{BlockSums, blocks_of},
};

const MAGIC: &[u8; 8] = b"ATOLBLOB";
const VERSION: u16 = 1;
/// Length of the footer in bytes.
pub(crate) const FOOTER_BYTES: usize = 104;
const SUM_BYTES: usize = 4;
const SUM_AT: usize = FOOTER_BYTES - SUM_BYTES;

/// What a good trailer says about its blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trailer {
    pub(crate) digest: Digest,
    pub(crate) content_bytes: u64,
    /// The CRC-32C of every block.
    pub(crate) sums: Vec<u32>,
}

/// A blob file whose end is not a good trailer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadTrailer;

impl Trailer {
    pub(crate) fn new(digest: Digest, sums: &BlockSums) -> Trailer {
        Trailer { digest, content_bytes: sums.content_bytes(), sums: sums.list() }
    }

    /// The bytes that follow the content.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.sums.len() * SUM_BYTES + FOOTER_BYTES);
        for sum in &self.sums {
            bytes.extend_from_slice(&sum.to_le_bytes());
        }
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&[algorithm_code(self.digest.algorithm()), 0]);
        bytes.extend_from_slice(&(BLOCK_BYTES as u32).to_le_bytes());
        bytes.extend_from_slice(&self.content_bytes.to_le_bytes());
        let mut hash = [0; 64];
        hash[..self.digest.as_bytes().len()].copy_from_slice(self.digest.as_bytes());
        bytes.extend_from_slice(&hash);
        bytes.extend_from_slice(&[0; 12]);
        let sum = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// Reads the trailer of `digest` from the bytes that follow the content.
    pub(crate) fn decode(digest: &Digest, bytes: &[u8]) -> Result<Trailer, BadTrailer> {
        let (covered, sum) = bytes.split_last_chunk::<SUM_BYTES>().ok_or(BadTrailer)?;
        if crc32c::crc32c(covered) != u32::from_le_bytes(*sum) {
            return Err(BadTrailer);
        }
        let at = covered.len().checked_sub(SUM_AT).ok_or(BadTrailer)?;
        let (sums, footer) = covered.split_at(at);
        let sums: Vec<u32> =
            sums.as_chunks::<SUM_BYTES>().0.iter().map(|sum| u32::from_le_bytes(*sum)).collect();
        let content_bytes = footer[16..].first_chunk().copied().map(u64::from_le_bytes);
        let content_bytes = content_bytes.ok_or(BadTrailer)?;
        let trailer = Trailer { digest: *digest, content_bytes, sums };
        // Everything else in a trailer follows from these three: writing it anew must give the
        // same bytes. That checks magic, version, algorithm, digest, block size and padding.
        if trailer.sums.len() as u64 == blocks_of(content_bytes) && trailer.encode() == bytes {
            Ok(trailer)
        } else {
            Err(BadTrailer)
        }
    }
}

fn algorithm_code(algorithm: Algorithm) -> u8 {
    match algorithm {
        Algorithm::Sha256 => 1,
        Algorithm::Sha512 => 2,
    }
}

/// Length of the content of a blob file of `file_bytes`; `None` when no blob file is that long.
///
/// Content of `c` bytes makes a file of `c + 4 × blocks(c) + footer`, which grows with every byte
/// of content, so there is one answer at most.
pub(crate) fn content_bytes_of_file(file_bytes: u64) -> Option<u64> {
    let payload = file_bytes.checked_sub(FOOTER_BYTES as u64)?;
    let blocks = payload.div_ceil(BLOCK_BYTES + SUM_BYTES as u64);
    let content = payload.checked_sub(blocks * SUM_BYTES as u64)?;
    (blocks_of(content) == blocks).then_some(content)
}

/// Length of the trailer that follows content of `content_bytes`.
pub(crate) fn trailer_bytes(content_bytes: u64) -> u64 {
    blocks_of(content_bytes) * SUM_BYTES as u64 + FOOTER_BYTES as u64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn trailer(content: &[u8], algorithm: Algorithm) -> Trailer {
        let mut sums = BlockSums::default();
        sums.update(content);
        Trailer::new(Digest::of(algorithm, content), &sums)
    }

    #[test]
    fn every_flipped_bit_is_refused() {
        let content = vec![1; super::super::BLOCK_LEN + 1];
        for algorithm in Algorithm::ALL {
            let good = trailer(&content, algorithm);
            let mut bytes = good.encode();
            assert_eq!(Trailer::decode(&good.digest, &bytes), Ok(good.clone()));
            for bit in 0..bytes.len() * 8 {
                bytes[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(Trailer::decode(&good.digest, &bytes), Err(BadTrailer), "bit {bit}");
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
        }
    }

    #[test]
    fn another_blobs_trailer_is_refused() {
        let good = trailer(b"mine", Algorithm::Sha256);
        let other = Digest::of(Algorithm::Sha256, b"yours");
        assert_eq!(Trailer::decode(&other, &good.encode()), Err(BadTrailer));
    }

    proptest! {
        #[test]
        fn the_length_of_the_file_tells_the_length_of_the_content(
            near in 0u64..40, sign in any::<bool>(), blocks in 0u64..5_000
        ) {
            let edge = blocks * BLOCK_BYTES;
            let content = if sign { edge + near } else { edge.saturating_sub(near) };
            let file = content + trailer_bytes(content);
            prop_assert_eq!(content_bytes_of_file(file), Some(content));
        }

        #[test]
        fn no_input_panics(bytes in prop::collection::vec(any::<u8>(), 0..400), len in any::<u64>()) {
            let digest = Digest::of(Algorithm::Sha256, b"");
            prop_assert_eq!(Trailer::decode(&digest, &bytes), Err(BadTrailer));
            if let Some(content) = content_bytes_of_file(len) {
                prop_assert_eq!(content + trailer_bytes(content), len);
            }
        }
    }
}
