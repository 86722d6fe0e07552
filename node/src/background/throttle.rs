//! A byte budget for background work, made smaller while clients wait.
//!
//! A bucket that fills at so many bytes a second and holds one second of them. A piece of work takes
//! its bytes when it begins, and may take the bucket into debt: a blob larger than a second's budget
//! must go through too, and what follows then waits longer.
//!
//! When requests of clients take longer than the target, the rate is halved each second, down to a
//! sixteenth; when they do not, it doubles back. Never to nothing: missing copies are a risk that
//! grows with time.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use crate::io::Clock;

/// The smallest part of the budget, as a power of two: 1/16.
const SLOWEST: u32 = 4;

/// How often the rate may change.
const ADJUST_INTERVAL: Duration = Duration::from_secs(1);

/// Answers how long requests of clients take at present.
pub type Latency = Arc<dyn Fn() -> Option<Duration> + Send + Sync>;

/// The budget. Workers share one.
pub struct Throttle {
    clock: Arc<dyn Clock>,
    bytes_per_second: u64,
    latency_target: Duration,
    latency: Latency,
    bucket: Mutex<Bucket>,
    waited_micros: AtomicU64,
}

impl std::fmt::Debug for Throttle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Throttle")
            .field("bytes_per_second", &self.bytes_per_second)
            .field("latency_target", &self.latency_target)
            .finish_non_exhaustive()
    }
}

/// The arithmetic, without a clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Bucket {
    /// Bytes that may be used; below zero is debt.
    level: i128,
    filled_at: Duration,
    /// The rate is the budget divided by two to the power of this.
    slowed: u32,
    adjusted_at: Duration,
}

impl Bucket {
    /// Takes `bytes` and answers how long to wait before using them.
    fn take(&mut self, bytes: u64, budget: u64, now: Duration) -> Duration {
        let rate = i128::from((budget >> self.slowed).max(1));
        let gained = rate
            * i128::try_from(now.saturating_sub(self.filled_at).as_micros()).unwrap_or(0)
            / 1_000_000;
        if gained > 0 {
            self.level = (self.level + gained).min(rate);
            self.filled_at = now;
        }
        let debt = -self.level;
        self.level -= i128::from(bytes);
        if debt <= 0 {
            return Duration::ZERO;
        }
        Duration::from_micros(u64::try_from(debt * 1_000_000 / rate).unwrap_or(u64::MAX))
    }

    fn adjust(&mut self, too_slow: bool, now: Duration) {
        if now.saturating_sub(self.adjusted_at) < ADJUST_INTERVAL {
            return;
        }
        self.adjusted_at = now;
        self.slowed =
            if too_slow { (self.slowed + 1).min(SLOWEST) } else { self.slowed.saturating_sub(1) };
    }
}

impl Throttle {
    /// A budget of `bytes_per_second`, reduced while `latency` is above `latency_target`.
    pub fn new(
        clock: Arc<dyn Clock>,
        bytes_per_second: u64,
        latency_target: Duration,
        latency: Latency,
    ) -> Throttle {
        let bucket = Bucket { filled_at: clock.monotonic(), ..Bucket::default() };
        Throttle {
            clock,
            bytes_per_second,
            latency_target,
            latency,
            bucket: Mutex::new(bucket),
            waited_micros: AtomicU64::new(0),
        }
    }

    /// Waits until `bytes` may be used.
    pub async fn take(&self, bytes: u64) {
        let now = self.clock.monotonic();
        let too_slow = (self.latency)().is_some_and(|latency| latency > self.latency_target);
        let wait = {
            let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
            bucket.adjust(too_slow, now);
            bucket.take(bytes, self.bytes_per_second, now)
        };
        if wait > Duration::ZERO {
            let micros = u64::try_from(wait.as_micros()).unwrap_or(u64::MAX);
            self.waited_micros.fetch_add(micros, Relaxed);
            tokio::time::sleep(wait).await;
        }
    }

    /// How long work has waited for the budget so far.
    pub fn waited(&self) -> Duration {
        Duration::from_micros(self.waited_micros.load(Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    proptest! {
        /// Whatever is asked and when: over the whole time no more goes through than the budget, one
        /// bucket and the last piece.
        #[test]
        fn the_budget_holds(
            budget in 1_u64..1_000_000,
            pieces in proptest::collection::vec((0_u64..2_000_000, 0_u64..3_000_000), 1..50),
        ) {
            let (mut bucket, mut now) = (Bucket::default(), Duration::ZERO);
            let (mut used, mut last) = (0_u128, 0);
            for (bytes, pause) in pieces {
                now += Duration::from_micros(pause);
                now += bucket.take(bytes, budget, now);
                used += u128::from(bytes);
                last = bytes;
            }
            let allowed = u128::from(budget) * (now.as_micros() + 1_000_000) / 1_000_000;
            prop_assert!(used <= allowed + u128::from(last) + 50);
        }
    }

    #[test]
    fn slow_clients_halve_the_rate_down_to_a_sixteenth_and_it_comes_back() {
        let mut bucket = Bucket::default();
        for second in 1..10 {
            bucket.adjust(true, SECOND * second);
        }
        assert_eq!(bucket.slowed, SLOWEST);
        bucket.adjust(false, SECOND * 9 + SECOND / 2);
        assert_eq!(bucket.slowed, SLOWEST, "once a second");
        for second in 10..20 {
            bucket.adjust(false, SECOND * second);
        }
        assert_eq!(bucket.slowed, 0);
    }
}
