//! Randomness.

use std::fmt::Debug;

/// Where a node takes random bytes from: the operating system, or the seed of a simulation.
pub trait Entropy: Debug + Send + Sync + 'static {
    /// Fills `bytes` with random bytes fit for identifiers that nobody may guess.
    fn fill(&self, bytes: &mut [u8]);
}
