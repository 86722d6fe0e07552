//! The bars: how much faster than distribution, and how close to nginx, a cell must be.

use serde::Serialize;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// Memory that a thousand parallel pulls of a 64 MiB blob may take, bytes.
pub const PULLS_PEAK_BYTES_MAX: u64 = 400 * 1000 * 1000;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verb {
    /// Whole-blob reads.
    Get,
    /// POST, then PUT.
    Push,
}

/// Least throughput as a multiple of each other server's; `None` where nothing is asked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bar {
    /// Multiple of distribution's.
    pub distribution: f64,
    /// Multiple of nginx's.
    pub nginx: Option<f64>,
}

/// The bar for blobs of `size` bytes.
pub fn bar(verb: Verb, size: u64) -> Bar {
    let (distribution, nginx) = match verb {
        Verb::Get if size <= 64 * KIB => (15.0, Some(0.6)),
        Verb::Get if size <= MIB => (4.0, Some(0.7)),
        Verb::Get => (1.0, Some(1.0)),
        Verb::Push if size <= 64 * KIB => (3.0, None),
        Verb::Push => (2.0, None),
    };
    Bar { distribution, nginx }
}
