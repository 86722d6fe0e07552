//! A node never holds more than it was told to; at rest it owes nothing, and has nothing that stopped.
//!
//! Read from its own metrics, which so are compared with what is true. What no gauge shows (buffers of
//! connections, queues between tasks) shows in the memory of the whole run: all nodes, their disks and
//! everything that users remember are in one process.

use std::{collections::BTreeMap, ops::RangeInclusive, time::Duration};

use http::Method;
use tokio::time::Instant;

use crate::{
    client::{Client, whole},
    cluster::{Machine, fleet::Fleet},
    history::Book,
};

/// Gauges, and between what they are at rest.
const AT_REST: [(&str, RangeInclusive<f64>); 8] = [
    // The object cache and the windows, as configured for simulations.
    ("atoll_cache_bytes", 0.0..=8_400_000.0),
    // One for each user who ever came from the clients' machine, and for each oracle.
    ("atoll_http_connections", 0.0..=40.0),
    ("atoll_metadata_stopped", 0.0..=0.0),
    ("atoll_cluster_lease_valid", 1.0..=1.0),
    ("atoll_hints", 0.0..=0.0),
    ("atoll_outbox", 0.0..=0.0),
    ("atoll_sync_bytes_left", 0.0..=0.0),
    ("atoll_cluster_open_configurations", 0.0..=0.0),
];

/// Gauges, and between what they are at any time.
const ALWAYS: [(&str, RangeInclusive<f64>); 3] = [
    ("atoll_cache_bytes", 0.0..=8_400_000.0),
    // Users keep theirs, and open another when one does not answer.
    ("atoll_http_connections", 0.0..=200.0),
    // Those that were given up are reaped after an hour only.
    ("atoll_upload_sessions", 0.0..=1_000.0),
];

/// Most memory of a run, in KiB: three times what the largest of those that were measured took.
const PEAK_KIB_MAX: u64 = 1 << 20;

/// How often gauges are looked at while users are at work.
const GLANCE: Duration = Duration::from_secs(10);

/// Counters whose sums a campaign tells: how often the rare paths were taken.
const COUNTED: [&str; 12] = [
    "atoll_stand_ins_total",
    "atoll_stale_views_total",
    "atoll_remote_reads_total",
    "atoll_hedges_total",
    "atoll_failovers_total",
    "atoll_resumes_total",
    "atoll_read_repairs_total",
    "atoll_debts_paid_total",
    "atoll_fences_total",
    "atoll_gc_blobs_total",
    "atoll_gc_spared_total",
    "atoll_disowned_copies_deleted_total",
];

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often nodes are asked.
const LOOK: Duration = Duration::from_millis(500);

/// Waits until the metrics of every machine are within the bounds.
///
/// # Errors
/// What is out of bounds still.
pub async fn wait(machines: &[Machine], within: Duration, book: &Book) -> Result<(), String> {
    let begun = Instant::now();
    for machine in machines {
        loop {
            let metrics = metrics(machine).await?;
            let Some(wrong) = outside(&AT_REST, &metrics) else {
                count(&metrics, book);
                break;
            };
            if begun.elapsed() > within {
                return Err(format!("{} at rest: {wrong}", machine.name()));
            }
            tokio::time::sleep(LOOK).await;
        }
    }
    Ok(())
}

/// Watches for ever. A node that does not answer now is looked at later.
pub async fn watch(fleet: Fleet, book: Book) {
    loop {
        tokio::time::sleep(GLANCE).await;
        for machine in fleet.machines() {
            let Ok(metrics) = metrics(&machine).await else { continue };
            // One that is starting does not have all of them yet.
            if !ALWAYS.iter().all(|(name, _)| metrics.contains_key(*name)) {
                continue;
            }
            if let Some(wrong) = outside(&ALWAYS, &metrics) {
                book.lock().violation(format!("{} at work: {wrong}", machine.name()));
            }
        }
    }
}

/// The most memory that this process, the whole simulation, has ever taken.
///
/// # Errors
/// It was more than it may be.
pub fn expect_little_memory() -> Result<(), String> {
    #[allow(clippy::disallowed_methods, reason = "this asks about the simulator, not as a node")]
    let status = std::fs::read_to_string("/proc/self/status").map_err(|error| error.to_string())?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split(' ').rev().nth(1));
    let peak: u64 = peak.and_then(|kib| kib.parse().ok()).ok_or("no VmHWM in the status")?;
    match peak <= PEAK_KIB_MAX {
        true => Ok(()),
        false => Err(format!("the run took {peak} KiB of memory, more than {PEAK_KIB_MAX}")),
    }
}

fn outside(all: &[(&str, RangeInclusive<f64>)], metrics: &BTreeMap<String, f64>) -> Option<String> {
    all.iter().find_map(|(name, bounds)| match metrics.get(*name) {
        Some(value) if bounds.contains(value) => None,
        Some(value) => Some(format!("{name} is {value}")),
        None => Some(format!("{name} is missing")),
    })
}

fn count(metrics: &BTreeMap<String, f64>, book: &Book) {
    let mut book = book.lock();
    for name in COUNTED {
        let count = metrics.get(name).copied().unwrap_or(0.0) as u64;
        let short = name.trim_start_matches("atoll_").trim_end_matches("_total");
        *book.counts.entry(short.to_owned()).or_default() += count;
    }
}

/// The values by name, those of all labels together.
async fn metrics(machine: &Machine) -> Result<BTreeMap<String, f64>, String> {
    let mut client = Client::new(machine.admin, PATIENCE);
    let reply = client.send(Method::GET, "/metrics", &[], whole(Default::default())).await;
    let reply = reply.map_err(|error| format!("{}: no metrics: {}", machine.name(), error.0))?;
    if !reply.status.is_success() {
        return Err(format!("{}: no metrics: {}", machine.name(), reply.status));
    }
    let text = String::from_utf8_lossy(&reply.body).into_owned();
    let mut values = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let Some((name, value)) = line.rsplit_once(' ') else { continue };
        let name = name.split('{').next().unwrap_or_default().to_owned();
        *values.entry(name).or_default() += value.parse().unwrap_or(0.0);
    }
    Ok(values)
}
