//! Replays a trace of pulls through the library, and tells how it went as JSON.
//!
//! ```text
//! replay --seed 127.0.0.1:5000 --repo mass/pull --trace FILE --policy preferred
//! ```
//!
//! A line of the trace is a digest and a size in bytes, in the order of the requests. What the nodes'
//! memory was worth is in their metrics (`atoll_cache_hits_total`, `atoll_cache_misses_total`).

#![allow(clippy::disallowed_methods, reason = "a measurement needs a real clock and a file")]

use std::{
    error::Error,
    path::PathBuf,
    sync::atomic::{AtomicU64, Ordering},
    time::Instant,
};

use atoll_client::{Client, Digest, Limits, ReadPolicy, RepoName, Seed};
use clap::{Parser, ValueEnum};
use futures_util::{StreamExt as _, stream};
use serde_json::json;

#[derive(Parser)]
struct Arguments {
    /// Where the client begins; may be given several times.
    #[arg(long = "seed", required = true)]
    seeds: Vec<Seed>,
    #[arg(long)]
    repo: RepoName,
    #[arg(long)]
    trace: PathBuf,
    #[arg(long, default_value_t = 16)]
    concurrency: usize,
    #[arg(long, value_enum, default_value = "preferred")]
    policy: Policy,
    /// Pieces of one large blob at a time; 1 takes it from one replica after the other.
    #[arg(long, default_value_t = 4)]
    ranges: usize,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Policy {
    Preferred,
    Random,
    RoundRobin,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let limits = Limits { ranges_in_flight: arguments.ranges, ..Limits::default() };
    let client = Client::builder(arguments.seeds.clone())
        .limits(limits)
        .read_policy(match arguments.policy {
            Policy::Preferred => ReadPolicy::Preferred,
            Policy::Random => ReadPolicy::RandomReplica,
            Policy::RoundRobin => ReadPolicy::RoundRobin,
        })
        .build()?;
    let trace = std::fs::read_to_string(&arguments.trace)?;
    let asked = trace.lines().map(parse).collect::<Result<Vec<_>, _>>()?;
    let (failures, bytes) = (AtomicU64::new(0), AtomicU64::new(0));
    let started = Instant::now();
    let pull = async |(digest, size): &(Digest, u64)| {
        match client.blob(&arguments.repo, digest, Some(*size)).await {
            Ok(blob) => bytes.fetch_add(blob.len(), Ordering::Relaxed),
            Err(error) => {
                eprintln!("{digest}: {error}");
                failures.fetch_add(1, Ordering::Relaxed)
            }
        };
    };
    stream::iter(&asked).for_each_concurrent(arguments.concurrency, pull).await;
    let report = json!({
        "pulls": asked.len(),
        "failures": failures.into_inner(),
        "bytes": bytes.into_inner(),
        "seconds": started.elapsed().as_secs_f64(),
        "stats": client.stats(),
    });
    println!("{report}");
    Ok(())
}

fn parse(line: &str) -> Result<(Digest, u64), Box<dyn Error>> {
    let (digest, size) = line.split_once(' ').ok_or_else(|| format!("not a request: {line}"))?;
    Ok((digest.parse()?, size.parse()?))
}
