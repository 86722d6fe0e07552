//! Request ids: what ties an answer, its log lines and its error body together.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::io::Entropy;

/// Draws request ids: 16 hexadecimal characters, unique within a run of a node and scattered over
/// the whole range, so that ids of different nodes do not meet.
#[derive(Debug)]
pub struct RequestIds {
    next: AtomicU64,
}

/// The id of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestId(u64);

impl RequestIds {
    /// Starts at a random place.
    pub fn new(entropy: &dyn Entropy) -> RequestIds {
        let mut seed = [0; 8];
        entropy.fill(&mut seed);
        RequestIds { next: AtomicU64::new(u64::from_le_bytes(seed)) }
    }

    /// The next id.
    pub fn next(&self) -> RequestId {
        RequestId(scatter(self.next.fetch_add(1, Relaxed)))
    }
}

impl RequestId {
    /// The id as text.
    pub fn text(self) -> String {
        format!("{:016x}", self.0)
    }
}

/// A bijection on 64-bit numbers that sends neighbours far apart (the finaliser of SplitMix64).
fn scatter(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
