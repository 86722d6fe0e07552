//! How long owners take to send their first byte: when to stop waiting for one alone.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// Answers that are remembered. Enough for a percentile, few enough to follow a change at once.
const SAMPLES: usize = 64;

/// A second owner is never asked sooner: a disk that has to seek may take as long.
const DELAY_MIN: Duration = Duration::from_millis(30);

/// Nor later: somebody waits.
const DELAY_MAX: Duration = Duration::from_secs(1);

/// The last answers.
#[derive(Debug, Default)]
pub struct Latency {
    samples: Mutex<Samples>,
}

#[derive(Debug, Default)]
struct Samples {
    taken: Vec<Duration>,
    next: usize,
}

impl Latency {
    /// An owner sent its first byte after `taken`.
    pub fn note(&self, taken: Duration) {
        let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        if samples.taken.len() < SAMPLES {
            samples.taken.push(taken);
            return;
        }
        let at = samples.next;
        samples.taken[at] = taken;
        samples.next = (at + 1) % SAMPLES;
    }

    /// How long to wait before a second owner is asked: what 95 of 100 answers keep to.
    pub fn hedge_delay(&self) -> Duration {
        let mut taken = {
            let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
            samples.taken.clone()
        };
        taken.sort_unstable();
        let p95 = taken.get(taken.len() * 95 / 100).copied().unwrap_or_default();
        p95.clamp(DELAY_MIN, DELAY_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delay_follows_the_slowest_of_twenty_within_its_bounds() {
        let latency = Latency::default();
        assert_eq!(latency.hedge_delay(), DELAY_MIN);
        (0..SAMPLES).for_each(|_| latency.note(Duration::from_millis(200)));
        assert_eq!(latency.hedge_delay(), Duration::from_millis(200));
        (0..SAMPLES).for_each(|_| latency.note(Duration::from_millis(1)));
        assert_eq!(latency.hedge_delay(), DELAY_MIN);
        (0..SAMPLES).for_each(|_| latency.note(Duration::from_secs(60)));
        assert_eq!(latency.hedge_delay(), DELAY_MAX);
    }
}
