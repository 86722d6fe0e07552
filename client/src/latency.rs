//! How long answers take: what is slow enough that a second node is asked as well.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// Answers that are remembered: enough for a 95th percentile, few enough to follow a change.
const SAMPLES: usize = 128;
/// Before so many answers nothing is known.
const SAMPLES_MIN: usize = 20;
/// The percentile is computed anew after so many answers.
const EVERY: usize = 16;

#[derive(Debug)]
pub(crate) struct Latency {
    least: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    samples: Vec<Duration>,
    next: usize,
    p95: Option<Duration>,
}

impl Latency {
    pub(crate) fn new(least: Duration) -> Latency {
        Latency { least, state: Mutex::default() }
    }

    /// An answer began after `taken`.
    pub(crate) fn record(&self, taken: Duration) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let at = state.next % SAMPLES;
        match state.samples.get_mut(at) {
            Some(sample) => *sample = taken,
            None => state.samples.push(taken),
        }
        state.next += 1;
        if state.next.is_multiple_of(EVERY) && state.samples.len() >= SAMPLES_MIN {
            let mut sorted = state.samples.clone();
            sorted.sort_unstable();
            state.p95 = sorted.get(sorted.len() * 95 / 100).copied();
        }
    }

    /// When to ask a second node.
    pub(crate) fn hedge_after(&self) -> Duration {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // Without knowledge, well above what a node needs, so that a cold start hedges little.
        state.p95.unwrap_or(self.least * 4).max(self.least)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_twentieth_is_what_hedging_waits_for() {
        let latency = Latency::new(Duration::from_millis(1));
        assert_eq!(latency.hedge_after(), Duration::from_millis(4));
        for millis in (1..=100).chain(1..=28) {
            latency.record(Duration::from_millis(millis));
        }
        assert_eq!(latency.hedge_after(), Duration::from_millis(94));
    }
}
