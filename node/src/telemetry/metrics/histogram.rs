//! A histogram that is recorded into with two additions and no lock.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counts values below each of a few fixed bounds. Values are whole: microseconds, bytes, pieces.
#[derive(Debug)]
pub struct Histogram {
    /// Upper bounds, ascending, each belonging to its own bucket.
    bounds: &'static [u64],
    /// One bucket for each bound, and one for what is above all of them.
    buckets: Box<[AtomicU64]>,
    sum: AtomicU64,
    /// How many units of a value are one of the exposition: 1e6 turns microseconds into seconds.
    divisor: f64,
}

/// A histogram as it is written.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// Upper bound and count of each bucket alone (not added up).
    pub buckets: Vec<(f64, u64)>,
    /// How many values there were.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
}

impl Histogram {
    /// A histogram without values over ascending `bounds`, written divided by `divisor`.
    pub fn new(bounds: &'static [u64], divisor: f64) -> Self {
        let buckets = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds, buckets, sum: AtomicU64::new(0), divisor }
    }

    /// Records one value.
    pub fn observe(&self, value: u64) {
        let bucket = self.bounds.partition_point(|bound| *bound < value);
        self.buckets[bucket].fetch_add(1, Relaxed);
        self.sum.fetch_add(value, Relaxed);
    }

    /// What was recorded. Values that arrive meanwhile may be in the buckets and not in the sum.
    pub fn snapshot(&self) -> Snapshot {
        let counts: Vec<u64> = self.buckets.iter().map(|bucket| bucket.load(Relaxed)).collect();
        let bounds = self.bounds.iter().map(|bound| *bound as f64 / self.divisor);
        Snapshot {
            count: counts.iter().sum(),
            sum: self.sum.load(Relaxed) as f64 / self.divisor,
            buckets: bounds.chain([f64::INFINITY]).zip(counts).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_its_own_bucket() {
        let histogram = Histogram::new(&[10, 100], 1.0);
        for value in [0, 10, 11, 100, 101, 5000] {
            histogram.observe(value);
        }
        let seen = histogram.snapshot();
        assert_eq!(seen.buckets, [(10.0, 2), (100.0, 2), (f64::INFINITY, 2)]);
        assert_eq!((seen.count, seen.sum), (6, 5222.0));
    }
}
