//! Random bytes that are cheap to make fresh and cheap to hash.
//!
//! A body is a shared random block followed by a 32-byte suffix of its own. The hash state after
//! the shared block is computed once, so the digest of a fresh body of any size costs one SHA-256
//! block inside the timed window: the client's hashing dilutes nobody's figures.

use anyhow::Context;
use sha2::{Digest, Sha256};
use std::{fmt::Write, io::Read, sync::Arc};

/// Length of the part that makes a body unique.
pub const SUFFIX_BYTES: usize = 32;

/// The shared part of every body of one size.
#[derive(Clone)]
pub struct Template {
    block: Arc<[u8]>,
    hashed: Sha256,
}

/// One body: send the template's block, then `suffix`.
pub struct Fresh {
    /// The bytes after the shared block.
    pub suffix: [u8; SUFFIX_BYTES],
    /// `sha256:<hex>` of the whole body.
    pub digest: String,
}

impl Template {
    /// A template for bodies of `size` bytes (at least the suffix).
    pub fn new(size: u64) -> anyhow::Result<Self> {
        let size = usize::try_from(size).context("size fits memory")?;
        anyhow::ensure!(size >= SUFFIX_BYTES, "a body has at least {SUFFIX_BYTES} bytes");
        let mut block = vec![0; size - SUFFIX_BYTES];
        std::fs::File::open("/dev/urandom")
            .and_then(|mut file| file.read_exact(&mut block))
            .context("read random bytes")?;
        let mut hashed = Sha256::new();
        hashed.update(&block);
        Ok(Self { block: block.into(), hashed })
    }

    /// Bytes of every body made from this template.
    pub fn size(&self) -> u64 {
        (self.block.len() + SUFFIX_BYTES) as u64
    }

    /// The shared block.
    pub fn block(&self) -> &[u8] {
        &self.block
    }

    /// The body number `sequence` of `worker`; unique as long as the pair is.
    pub fn fresh(&self, worker: u64, sequence: u64) -> Fresh {
        let mut suffix = [0; SUFFIX_BYTES];
        suffix[..8].copy_from_slice(&worker.to_le_bytes());
        suffix[8..16].copy_from_slice(&sequence.to_le_bytes());
        let mut hasher = self.hashed.clone();
        hasher.update(suffix);
        Fresh { suffix, digest: format_digest(hasher) }
    }
}

/// `sha256:<hex>` of what `hasher` has seen.
pub fn format_digest(hasher: Sha256) -> String {
    let mut text = String::with_capacity(71);
    text.push_str("sha256:");
    for byte in hasher.finalize() {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fresh_digest_is_the_digest_of_the_whole_body() {
        let template = Template::new(1000).expect("template");
        let fresh = template.fresh(3, 9);
        let mut hasher = Sha256::new();
        hasher.update(template.block());
        hasher.update(fresh.suffix);
        assert_eq!(fresh.digest, format_digest(hasher));
        assert_ne!(fresh.digest, template.fresh(3, 10).digest);
        assert_ne!(fresh.digest, template.fresh(4, 9).digest);
    }
}
