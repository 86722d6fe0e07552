//! A cluster of nodes that speak just enough of the API, and fail on demand.

#![allow(dead_code, unused_imports, reason = "each test file uses its part")]
#![allow(clippy::disallowed_methods, reason = "a test on loopback is no simulation")]

pub mod node;
pub mod world;

use std::time::Duration;

use atoll_client::{Algorithm, Client, ClientBuilder, Digest, Limits, RepoName, Seed};
use bytes::Bytes;

pub use node::{Fake, Fault};
pub use world::World;

/// The repository of every test.
pub fn repo() -> RepoName {
    "team/app".parse().expect("a name")
}

/// Content that differs for each `seed`.
pub fn content(seed: u64, len: usize) -> Bytes {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = std::iter::from_fn(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        Some((state >> 32) as u8)
    });
    next.take(len).collect::<Vec<u8>>().into()
}

pub fn digest(content: &[u8]) -> Digest {
    Digest::of(Algorithm::Sha256, content)
}

/// Short waits, small pieces.
pub fn limits() -> Limits {
    Limits {
        memory_per_blob: 64 << 10,
        range_bytes: 64 << 10,
        connect_timeout: Duration::from_millis(300),
        first_byte_timeout: Duration::from_secs(2),
        stall_timeout: Duration::from_millis(400),
        acknowledge_timeout: Duration::from_secs(2),
        patience: Duration::from_secs(5),
        backoff_min: Duration::from_millis(10),
        backoff_max: Duration::from_millis(100),
        suspect_for: Duration::from_secs(2),
        ..Limits::default()
    }
}

pub fn builder(seeds: &[&Fake]) -> ClientBuilder {
    let seeds = seeds.iter().map(|fake| Seed::Node(fake.address.clone())).collect();
    Client::builder(seeds).limits(limits()).random_seed(7)
}

/// A client that starts from the first node.
pub fn client(nodes: &[Fake]) -> Client {
    builder(&[&nodes[0]]).build().expect("a client")
}
