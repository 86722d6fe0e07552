//! When a blob was last asked for by somebody who may come to rely on it.
//!
//! Uploads, mounts, pins and "yes, it is here" are touches. Collection leaves alone what was touched
//! lately. That is a courtesy: it keeps a push that takes long from being asked to send a layer twice.
//! What is safe to delete is not decided by time ([`atoll_core::gc`]). So this may forget, as long as
//! it then takes a blob for touched: the start of the process touches everything, and when there are
//! too many to remember, the oldest half is remembered as one.

use std::{collections::BTreeMap, time::Duration};

use atoll_core::Digest;

/// Blobs remembered, at most; some 30 bytes each.
const REMEMBERED_MAX: usize = 1 << 19;

/// The touches since the process started.
#[derive(Debug)]
pub(super) struct Touches {
    /// Everything was touched then, or counts as touched.
    all: Duration,
    /// By the first bytes of the digest: blobs that share them are touched together.
    last: BTreeMap<u64, Duration>,
    remembered_max: usize,
}

impl Touches {
    pub fn new(now: Duration) -> Touches {
        Touches { all: now, last: BTreeMap::new(), remembered_max: REMEMBERED_MAX }
    }

    pub fn touch(&mut self, digest: &Digest, now: Duration) {
        self.last.insert(short(digest), now);
        if self.last.len() > self.remembered_max {
            self.forget_half();
        }
    }

    /// For how long it has not been touched.
    pub fn idle(&self, digest: &Digest, now: Duration) -> Duration {
        let last = self.last.get(&short(digest)).copied().unwrap_or_default().max(self.all);
        now.saturating_sub(last)
    }

    fn forget_half(&mut self) {
        let mut times: Vec<Duration> = self.last.values().copied().collect();
        let half = times.len() / 2;
        self.all = *times.select_nth_unstable(half).1;
        self.last.retain(|_, last| *last > self.all);
    }
}

fn short(digest: &Digest) -> u64 {
    digest.as_bytes().first_chunk().copied().map(u64::from_be_bytes).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use atoll_core::Algorithm;

    use super::*;

    fn blob(number: u32) -> Digest {
        Digest::of(Algorithm::Sha256, &number.to_le_bytes())
    }

    #[test]
    fn the_start_touches_everything() {
        let second = Duration::from_secs(1);
        let mut touches = Touches::new(10 * second);
        assert_eq!(touches.idle(&blob(1), 15 * second), 5 * second);
        touches.touch(&blob(1), 14 * second);
        assert_eq!(touches.idle(&blob(1), 15 * second), second);
        assert_eq!(touches.idle(&blob(2), 15 * second), 5 * second);
    }

    #[test]
    fn what_is_forgotten_counts_as_touched_later_than_it_was() {
        let second = Duration::from_secs(1);
        let mut touches = Touches { remembered_max: 100, ..Touches::new(Duration::ZERO) };
        for number in 0..1_000_u32 {
            touches.touch(&blob(number), number * second);
            assert!(touches.last.len() <= 100);
        }
        for number in 0..1_000_u32 {
            let idle = touches.idle(&blob(number), 1_000 * second);
            assert!(idle <= (1_000 - number) * second, "{number}: {idle:?}");
        }
        assert!(touches.idle(&blob(0), 1_000 * second) >= 50 * second);
    }
}
