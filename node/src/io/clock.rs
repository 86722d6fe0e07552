//! Time: one wall clock for records that people read, one monotonic clock for every decision.

use std::{
    fmt::Debug,
    time::{Duration, SystemTime},
};

/// Where a node takes the time from. In simulation each node has its own offset and drift.
pub trait Clock: Debug + Send + Sync + 'static {
    /// The time of day. It may jump in both directions: never decide by it.
    fn wall(&self) -> SystemTime;

    /// Time since some fixed moment before the node started. It never goes back.
    fn monotonic(&self) -> Duration;
}
