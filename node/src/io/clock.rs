//! Time: one wall clock for records that people read, one monotonic clock for every decision.
//!
//! The simulated side stands on the simulator's time, which is one for all nodes, and gives every
//! node its own error on top: an offset and a drift of its clock, and jumps of its wall clock.
//! Timers (`tokio::time::sleep`) do not drift; code that decides compares `monotonic` readings.

#![allow(clippy::disallowed_methods, reason = "this is the door")]

use std::{
    fmt::Debug,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime},
};

/// Where a node takes the time from. In simulation each node has its own offset and drift.
pub trait Clock: Debug + Send + Sync + 'static {
    /// The time of day. It may jump in both directions: never decide by it.
    fn wall(&self) -> SystemTime;

    /// Time since some fixed moment before the node started. It never goes back.
    fn monotonic(&self) -> Duration;
}

/// The machine's clocks.
#[derive(Clone, Copy, Debug)]
pub struct RealClock {
    origin: Instant,
}

impl RealClock {
    /// A clock whose monotonic side starts now.
    pub fn new() -> RealClock {
        RealClock { origin: Instant::now() }
    }
}

impl Default for RealClock {
    fn default() -> Self {
        RealClock::new()
    }
}

impl Clock for RealClock {
    fn wall(&self) -> SystemTime {
        SystemTime::now()
    }

    fn monotonic(&self) -> Duration {
        self.origin.elapsed()
    }
}

/// A faulty clock over the simulator's time; without faults it is a good one.
///
/// It also serves plain unit tests, which move it by hand with [`SimClock::advance`].
#[derive(Debug)]
pub struct SimClock {
    state: Mutex<SimClockState>,
}

/// Largest drift that [`SimClock::set_drift`] takes, in parts per million: 10 %, far beyond any
/// quartz, and small enough that time always moves forward.
pub const DRIFT_PPM_MAX: i64 = 100_000;

/// Readings are a straight line from the last change: `base + elapsed × (1 + drift)`.
#[derive(Clone, Copy, Debug)]
struct SimClockState {
    since: Instant,
    monotonic: Duration,
    wall: SystemTime,
    drift_ppm: i64,
}

impl SimClockState {
    fn elapsed(&self) -> Duration {
        let nanos = self.since.elapsed().as_nanos() as i128;
        let drifted = nanos + nanos * i128::from(self.drift_ppm) / 1_000_000;
        Duration::from_nanos(drifted as u64)
    }

    /// Starts a new line at the present reading, so that no change makes time go back.
    fn rebase(&mut self) {
        let elapsed = self.elapsed();
        // The same instant must not be read twice: whatever passes in between belongs to no line.
        self.since = Instant::now();
        self.monotonic += elapsed;
        self.wall += elapsed;
    }
}

impl SimClock {
    /// A good clock.
    pub fn new() -> SimClock {
        let state = SimClockState {
            since: Instant::now(),
            monotonic: Duration::ZERO,
            wall: SystemTime::now(),
            drift_ppm: 0,
        };
        SimClock { state: Mutex::new(state) }
    }

    /// A clock whose time of day is wrong by `offset_millis`.
    pub fn with_offset(offset_millis: i64) -> SimClock {
        let clock = SimClock::new();
        clock.jump_wall(offset_millis);
        clock
    }

    /// Lets both clocks run fast (positive) or slow (negative) from now on, in parts per million,
    /// clamped to [`DRIFT_PPM_MAX`].
    pub fn set_drift(&self, ppm: i64) {
        let mut state = self.locked();
        state.rebase();
        state.drift_ppm = ppm.clamp(-DRIFT_PPM_MAX, DRIFT_PPM_MAX);
    }

    /// Sets the time of day forward or back at once, as an administrator or NTP does. The
    /// monotonic clock does not notice.
    pub fn jump_wall(&self, millis: i64) {
        let mut state = self.locked();
        let step = Duration::from_millis(millis.unsigned_abs());
        state.wall = if millis < 0 { state.wall - step } else { state.wall + step };
    }

    /// Moves both clocks forward at once, as a machine that was asleep sees it.
    pub fn advance(&self, step: Duration) {
        let mut state = self.locked();
        state.monotonic += step;
        state.wall += step;
    }

    fn locked(&self) -> MutexGuard<'_, SimClockState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for SimClock {
    fn default() -> Self {
        SimClock::new()
    }
}

impl Clock for SimClock {
    fn wall(&self) -> SystemTime {
        let state = self.locked();
        state.wall + state.elapsed()
    }

    fn monotonic(&self) -> Duration {
        let state = self.locked();
        state.monotonic + state.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// More than the tests below can take in real time, less than the steps they look for.
    const SLACK: Duration = Duration::from_secs(60);

    #[test]
    fn a_wall_jump_leaves_the_monotonic_clock_alone() {
        let clock = SimClock::new();
        let (wall, monotonic) = (clock.wall(), clock.monotonic());
        clock.jump_wall(-3_600_000);
        assert!(clock.wall() < wall - Duration::from_secs(3_500));
        assert!(clock.monotonic() >= monotonic);
        clock.jump_wall(7_200_000);
        assert!(clock.wall() > wall + Duration::from_secs(3_500));
        assert!(clock.monotonic() < monotonic + SLACK);
    }

    #[test]
    fn advancing_moves_both() {
        let clock = SimClock::with_offset(5_000);
        let (wall, monotonic) = (clock.wall(), clock.monotonic());
        clock.advance(Duration::from_secs(3_600));
        assert!(clock.monotonic() >= monotonic + Duration::from_secs(3_600));
        assert!(clock.wall() >= wall + Duration::from_secs(3_600));
    }

    #[test]
    fn changing_the_drift_never_turns_time_back() {
        let clock = SimClock::new();
        let mut last = clock.monotonic();
        for ppm in [i64::MAX, i64::MIN, 0, 5, -100_000, 100_000] {
            clock.set_drift(ppm);
            for _ in 0..100 {
                let now = clock.monotonic();
                assert!(now >= last);
                last = now;
            }
        }
    }
}
