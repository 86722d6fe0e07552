//! Many pulls through the library, and what became of them as JSON.
//!
//! `prepare` pushes blobs; `pull` pulls them again and again, small and large ones in the wanted
//! proportion, and reports failures, latencies by second, and where the requests went:
//!
//! ```text
//! mass_pull prepare --seed 127.0.0.1:5000 --blobs 1000 --blob-bytes 20000 --large-blobs 10 --large-bytes 20000000
//! mass_pull pull --seed 127.0.0.1:5000 … --pulls 1000000 --large-pulls 10000 --concurrency 64 --policy preferred
//! ```
//!
//! Both must be given the same numbers of blobs and bytes: content follows from them. Small blobs
//! are drawn with the skew of a trace (Zipf, `--skew`), so that memory tiers have something to keep.

#![allow(clippy::disallowed_methods, reason = "a measurement needs a real clock")]

use std::{
    collections::BTreeMap,
    error::Error,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use atoll_client::{Algorithm, Client, Digest, Limits, ReadPolicy, RepoName, Seed};
use bytes::Bytes;
use clap::{Parser, ValueEnum};
use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};

#[derive(Parser)]
struct Arguments {
    /// `prepare` or `pull`.
    #[arg(value_enum)]
    command: Command,
    /// Where the client begins; may be given several times.
    #[arg(long = "seed", required = true)]
    seeds: Vec<Seed>,
    #[arg(long, default_value = "mass/pull")]
    repo: RepoName,
    /// Different small blobs.
    #[arg(long, default_value_t = 1000)]
    blobs: u64,
    #[arg(long, default_value_t = 20_000)]
    blob_bytes: u64,
    /// Different large blobs.
    #[arg(long, default_value_t = 10)]
    large_blobs: u64,
    #[arg(long, default_value_t = 20_000_000)]
    large_bytes: u64,
    /// Pulls of small blobs.
    #[arg(long, default_value_t = 10_000)]
    pulls: u64,
    /// Pulls of large blobs, spread evenly among the small ones.
    #[arg(long, default_value_t = 0)]
    large_pulls: u64,
    #[arg(long, default_value_t = 32)]
    concurrency: usize,
    #[arg(long, value_enum, default_value = "preferred")]
    policy: Policy,
    /// Exponent of the Zipf distribution; 0 draws evenly.
    #[arg(long, default_value_t = 0.9)]
    skew: f64,
    /// Pieces of one large blob at a time.
    #[arg(long, default_value_t = 4)]
    ranges: usize,
    /// Replicas that they come from.
    #[arg(long, default_value_t = 3)]
    replicas: usize,
    /// Seconds without progress after which a pull fails.
    #[arg(long, default_value_t = 60)]
    patience: u64,
    #[arg(long, default_value_t = 1)]
    random_seed: u64,
}

#[derive(Clone, Copy, ValueEnum)]
enum Command {
    Prepare,
    Pull,
}

#[derive(Clone, Copy, ValueEnum)]
enum Policy {
    Preferred,
    Random,
    RoundRobin,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let limits = Limits {
        patience: Duration::from_secs(arguments.patience),
        ranges_in_flight: arguments.ranges,
        replicas_per_blob: arguments.replicas,
        ..Limits::default()
    };
    let client = Client::builder(arguments.seeds.clone())
        .limits(limits)
        .random_seed(arguments.random_seed)
        .read_policy(match arguments.policy {
            Policy::Preferred => ReadPolicy::Preferred,
            Policy::Random => ReadPolicy::RandomReplica,
            Policy::RoundRobin => ReadPolicy::RoundRobin,
        })
        .build()?;
    match arguments.command {
        Command::Prepare => prepare(&client, &arguments).await,
        Command::Pull => {
            let report = pull(&client, &arguments).await;
            println!("{}", serde_json::to_string_pretty(&report)?);
            Ok(())
        }
    }
}

/// One of the blobs: which, and of what kind.
#[derive(Clone, Copy)]
enum Pick {
    Small(u64),
    Large(u64),
}

/// Content that follows from the number; `large` ones begin in another sequence.
fn content(pick: Pick, arguments: &Arguments) -> Bytes {
    let (mut state, len) = match pick {
        Pick::Small(number) => (number * 2 + 1, arguments.blob_bytes),
        Pick::Large(number) => ((number * 2 + 1) << 32, arguments.large_bytes),
    };
    let words = len.div_ceil(8);
    let mut bytes: Vec<u8> = (0..words).flat_map(|_| next(&mut state).to_le_bytes()).collect();
    bytes.truncate(len as usize);
    bytes.into()
}

/// SplitMix64.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn all(arguments: &Arguments) -> impl Iterator<Item = Pick> {
    (0..arguments.blobs).map(Pick::Small).chain((0..arguments.large_blobs).map(Pick::Large))
}

async fn prepare(client: &Client, arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let pushes = stream::iter(all(arguments)).map(|pick| async move {
        let content = content(pick, arguments);
        let digest = Digest::of(Algorithm::Sha256, &content);
        client.push_blob(&arguments.repo, &digest, content.len() as u64, content).await
    });
    let mut pushes = pushes.buffer_unordered(arguments.concurrency.min(16));
    let mut pushed = 0_u64;
    while let Some(one) = pushes.next().await {
        one?;
        pushed += 1;
    }
    println!("{}", json!({"pushed": pushed, "stats": client.stats()}));
    Ok(())
}

/// What has happened, by second.
#[derive(Default)]
struct Second {
    micros: Vec<u32>,
    failures: u64,
}

#[derive(Default)]
struct Tally {
    small: Mutex<BTreeMap<u64, Second>>,
    large: Mutex<BTreeMap<u64, Second>>,
    bytes: AtomicU64,
    errors: Mutex<Vec<String>>,
}

/// Errors that are told in full.
const ERRORS_MAX: usize = 20;

async fn pull(client: &Client, arguments: &Arguments) -> Value {
    let digests: Vec<Digest> = all(arguments)
        .map(|pick| Digest::of(Algorithm::Sha256, &content(pick, arguments)))
        .collect();
    let zipf = Zipf::new(arguments.blobs, arguments.skew);
    let total = arguments.pulls + arguments.large_pulls;
    let mut state = arguments.random_seed;
    let picks = (0..total).map(move |number| {
        // Large ones at even distances.
        let before = number * arguments.large_pulls / total.max(1);
        let after = (number + 1) * arguments.large_pulls / total.max(1);
        let draw = next(&mut state);
        if after > before {
            Pick::Large(draw % arguments.large_blobs.max(1))
        } else {
            Pick::Small(zipf.draw(draw))
        }
    });
    let tally = Arc::new(Tally::default());
    let started = Instant::now();
    let pulls = stream::iter(picks).map(|pick| {
        let (digests, tally) = (&digests, tally.clone());
        async move { pull_one(client, arguments, digests, pick, &tally, started).await }
    });
    pulls.buffer_unordered(arguments.concurrency).for_each(|()| async {}).await;
    report(client, arguments, &tally, started.elapsed())
}

async fn pull_one(
    client: &Client,
    arguments: &Arguments,
    digests: &[Digest],
    pick: Pick,
    tally: &Tally,
    started: Instant,
) {
    let (at, size, seconds) = match pick {
        Pick::Small(number) => (number, arguments.blob_bytes, &tally.small),
        Pick::Large(number) => (arguments.blobs + number, arguments.large_bytes, &tally.large),
    };
    let begun = Instant::now();
    let pulled = client.blob(&arguments.repo, &digests[at as usize], Some(size)).await;
    let micros = u32::try_from(begun.elapsed().as_micros()).unwrap_or(u32::MAX);
    let mut seconds = seconds.lock().unwrap_or_else(PoisonError::into_inner);
    let second = seconds.entry(started.elapsed().as_secs()).or_default();
    match pulled {
        Ok(blob) => {
            second.micros.push(micros);
            tally.bytes.fetch_add(blob.len(), Ordering::Relaxed);
        }
        Err(error) => {
            second.failures += 1;
            let mut errors = tally.errors.lock().unwrap_or_else(PoisonError::into_inner);
            if errors.len() < ERRORS_MAX {
                errors.push(error.to_string());
            }
        }
    }
}

fn report(client: &Client, arguments: &Arguments, tally: &Tally, took: Duration) -> Value {
    let errors = tally.errors.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let stats = client.stats();
    let bytes = tally.bytes.load(Ordering::Relaxed);
    json!({
        "policy": match arguments.policy {
            Policy::Preferred => "preferred",
            Policy::Random => "random",
            Policy::RoundRobin => "round-robin",
        },
        "concurrency": arguments.concurrency,
        "seconds": took.as_secs_f64(),
        "bytes": bytes,
        "mib_per_second": bytes as f64 / took.as_secs_f64() / f64::from(1 << 20),
        "small": windows(&tally.small),
        "large": windows(&tally.large),
        "errors": errors,
        "stats": stats,
    })
}

fn windows(seconds: &Mutex<BTreeMap<u64, Second>>) -> Value {
    let seconds = seconds.lock().unwrap_or_else(PoisonError::into_inner);
    let mut everything: Vec<u32> = Vec::new();
    let mut failures = 0;
    let mut by_second = Vec::new();
    for (second, one) in seconds.iter() {
        let mut sorted = one.micros.clone();
        sorted.sort_unstable();
        by_second.push(json!({
            "second": second,
            "pulls": sorted.len(),
            "failures": one.failures,
            "p50_micros": percentile(&sorted, 50),
            "p99_micros": percentile(&sorted, 99),
            "max_micros": sorted.last(),
        }));
        failures += one.failures;
        everything.extend(sorted);
    }
    everything.sort_unstable();
    json!({
        "pulls": everything.len(),
        "failures": failures,
        "p50_micros": percentile(&everything, 50),
        "p99_micros": percentile(&everything, 99),
        "max_micros": everything.last(),
        "by_second": by_second,
    })
}

fn percentile(sorted: &[u32], percent: usize) -> Option<u32> {
    sorted.get((sorted.len() * percent / 100).min(sorted.len().saturating_sub(1))).copied()
}

/// Draws numbers below `count`, the smaller the likelier.
struct Zipf {
    cumulative: Vec<f64>,
}

impl Zipf {
    fn new(count: u64, skew: f64) -> Zipf {
        let mut sum = 0.0;
        let weigh = |rank: u64| {
            sum += 1.0 / (rank as f64).powf(skew);
            sum
        };
        Zipf { cumulative: (1..=count.max(1)).map(weigh).collect() }
    }

    fn draw(&self, random: u64) -> u64 {
        let total = self.cumulative.last().copied().unwrap_or(1.0);
        let at = random as f64 / u64::MAX as f64 * total;
        let found = self.cumulative.partition_point(|sum| *sum < at);
        found.min(self.cumulative.len() - 1) as u64
    }
}
