//! The seams: the only doors to time, randomness, disk and network.
//!
//! Each has a real side and a simulated side, and both pass one conformance suite. Nothing above
//! this module names the operating system; `clippy.toml` lists the calls that would go around it.

pub mod clock;
pub mod disk;
pub mod entropy;
pub mod net;
pub mod rt;

use std::sync::Arc;

pub use clock::Clock;
pub use disk::Disk;
pub use entropy::Entropy;

/// The seams of one node, handed down from the top.
#[derive(Clone, Debug)]
pub struct Io {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// The data folder.
    pub disk: Arc<dyn Disk>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
}
