//! Randomness.

pub mod rng;

use std::{
    fmt::Debug,
    sync::{Mutex, PoisonError},
};

use rng::SeededRng;

/// Where a node takes random bytes from: the operating system, or the seed of a simulation.
pub trait Entropy: Debug + Send + Sync + 'static {
    /// Fills `bytes` with random bytes fit for identifiers that nobody may guess.
    fn fill(&self, bytes: &mut [u8]);
}

/// The operating system's generator.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsEntropy;

impl Entropy for OsEntropy {
    /// # Panics
    /// When the operating system has no generator. To go on with guessable identifiers would be
    /// worse, and Linux cannot fail here once it has started.
    fn fill(&self, bytes: &mut [u8]) {
        #[allow(clippy::disallowed_methods, reason = "this is the door")]
        getrandom::fill(bytes).expect("the operating system provides random bytes");
    }
}

/// The bytes of a seed: same seed, same bytes in the same order of calls.
#[derive(Debug)]
pub struct SimEntropy {
    rng: Mutex<SeededRng>,
}

impl SimEntropy {
    /// The sequence of `seed`.
    pub fn new(seed: u64) -> SimEntropy {
        SimEntropy { rng: Mutex::new(SeededRng::new(seed)) }
    }
}

impl Entropy for SimEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        self.rng.lock().unwrap_or_else(PoisonError::into_inner).fill(bytes);
    }
}
