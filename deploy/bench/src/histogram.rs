//! Latencies of a run, in buckets whose width grows with the value.
//!
//! Each power of two is cut into 32 equal buckets, so a quantile is at most 3.2 % off whatever its
//! size, and recording is one shift and one add. A library histogram would add corrections for
//! coordinated omission; the closed loop used here reports what its own clients waited, no more.

use std::time::Duration;

/// log2 of the buckets in one power of two.
const SUB_BITS: u32 = 5;
const SUB: u64 = 1 << SUB_BITS;
/// Buckets that cover every `u64` nanosecond count.
const BUCKETS: usize = ((64 - SUB_BITS as usize) + 1) << SUB_BITS;

/// Counts of durations (nanosecond resolution, 3.2 % bucket width).
#[derive(Clone)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; BUCKETS], total: 0 }
    }
}

impl Histogram {
    /// Counts one duration.
    pub fn record(&mut self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.counts[bucket_of(nanos)] += 1;
        self.total += 1;
    }

    /// Adds every count of `other`.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
        self.total += other.total;
    }

    /// Durations counted.
    pub fn count(&self) -> u64 {
        self.total
    }

    /// The duration that a share `q` (0 to 1) of the counts does not exceed; `None` when empty.
    pub fn quantile(&self, q: f64) -> Option<Duration> {
        // A count below 2^53 is exact as f64; the ceiling is at least 1 for the smallest q.
        let rank = ((q * self.total as f64).ceil() as u64).clamp(1, self.total.max(1));
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return Some(Duration::from_nanos(upper_bound(bucket)));
            }
        }
        None
    }
}

/// Values below 32 have their own bucket; above, the top 6 bits choose it.
fn bucket_of(nanos: u64) -> usize {
    if nanos < SUB {
        return nanos as usize;
    }
    let octave = 63 - nanos.leading_zeros() - SUB_BITS;
    let within = (nanos >> octave) - SUB;
    (((u64::from(octave) + 1) << SUB_BITS) + within) as usize
}

/// The largest value that falls in `bucket`.
fn upper_bound(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < SUB {
        return bucket;
    }
    let octave = (bucket >> SUB_BITS) - 1;
    let within = bucket & (SUB - 1);
    let next = u128::from(SUB + within + 1) << octave;
    u64::try_from(next - 1).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bucket_ends_where_the_next_begins() {
        for bucket in 0..BUCKETS - 1 {
            let end = upper_bound(bucket);
            assert_eq!(bucket_of(end), bucket);
            assert_eq!(bucket_of(end + 1), bucket + 1);
        }
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn quantiles_are_within_a_bucket_of_the_truth() {
        let mut histogram = Histogram::default();
        for micros in 1..=1000 {
            histogram.record(Duration::from_micros(micros));
        }
        for (q, truth) in [(0.5, 500.0), (0.99, 990.0), (1.0, 1000.0)] {
            let found = histogram.quantile(q).expect("not empty").as_nanos() as f64 / 1000.0;
            assert!((found - truth).abs() / truth < 0.033, "q{q}: {found} for {truth}");
        }
    }

    #[test]
    fn merging_adds_and_empty_has_no_quantile() {
        let mut left = Histogram::default();
        assert_eq!(left.quantile(0.5), None);
        let mut right = Histogram::default();
        right.record(Duration::from_millis(1));
        left.merge(&right);
        left.merge(&right);
        assert_eq!(left.count(), 2);
    }
}
