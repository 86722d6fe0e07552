//! What a node tells about itself: log lines and metrics.
//!
//! Log lines say what happened, one event each, as values rather than prose. Metrics say how much
//! and how fast; recording one is an addition to an atomic number, and everything else (names,
//! labels, text) is left to the moment of the scrape. Neither ever holds a credential.

pub mod log;
pub mod metrics;
pub mod process;

pub use metrics::{HttpMetrics, Metrics};
