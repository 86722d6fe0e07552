//! Drawing from the seed: sizes, pauses, choices.

use std::{ops::Range, time::Duration};

use atoll_node::io::entropy::rng::SeededRng;
use bytes::Bytes;

/// One sequence of draws. Parts of a run draw from sequences of their own, so that a change in one
/// part leaves the others as they were.
#[derive(Clone, Debug)]
pub struct Draw(SeededRng);

impl Draw {
    /// The sequence named `part` of a run.
    pub fn new(seed: u64, part: u64) -> Draw {
        let mut mixed = SeededRng::new(seed ^ part.wrapping_mul(0xd6e8_feb8_6659_fd93));
        Draw(SeededRng::new(mixed.next_u64()))
    }

    /// A number of the range.
    pub fn within(&mut self, range: Range<u64>) -> u64 {
        range.start + self.0.below(range.end.saturating_sub(range.start))
    }

    /// True with this probability.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.0.chance(probability)
    }

    /// One of them.
    ///
    /// # Panics
    /// When there is none.
    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        assert!(!of.is_empty(), "a choice needs something to choose from");
        &of[self.0.below(of.len() as u64) as usize]
    }

    /// A pause of so many milliseconds.
    pub fn millis(&mut self, range: Range<u64>) -> Duration {
        let micros = range.start * 1_000..range.end * 1_000;
        Duration::from_micros(self.within(micros))
    }

    /// So many bytes that nobody else draws.
    pub fn bytes(&mut self, len: u64) -> Bytes {
        let mut bytes = vec![0; len as usize];
        self.0.fill(&mut bytes);
        bytes.into()
    }

    /// A seed for something that draws on its own.
    pub fn seed(&mut self) -> u64 {
        self.0.next_u64()
    }
}
