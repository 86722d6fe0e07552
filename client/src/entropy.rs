//! Randomness: jitter and spreading, nothing that must be secret.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    sync::atomic::{AtomicU64, Ordering},
};

/// A sequence of numbers (SplitMix64). One seed gives one sequence, which is what the simulator needs.
#[derive(Debug)]
pub(crate) struct Entropy(AtomicU64);

impl Entropy {
    pub(crate) fn seeded(seed: u64) -> Entropy {
        Entropy(AtomicU64::new(seed))
    }

    /// A seed that differs from process to process.
    pub(crate) fn of_the_process() -> Entropy {
        Entropy::seeded(RandomState::new().build_hasher().finish())
    }

    pub(crate) fn next(&self) -> u64 {
        let step = 0x9e37_79b9_7f4a_7c15_u64;
        mix(self.0.fetch_add(step, Ordering::Relaxed).wrapping_add(step))
    }

    /// A number below `bound`; 0 when `bound` is.
    pub(crate) fn below(&self, bound: usize) -> usize {
        // The bias is below bound / 2^64.
        ((u128::from(self.next()) * bound as u128) >> 64) as usize
    }
}

/// The finaliser of SplitMix64: every input bit reaches every output bit.
pub(crate) fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A hash of text, the same in every process (FNV-1a, then mixed).
pub(crate) fn hash(text: &str) -> u64 {
    let fold = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    mix(text.bytes().fold(0xcbf2_9ce4_8422_2325, fold))
}
