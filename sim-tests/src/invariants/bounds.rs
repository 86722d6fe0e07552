//! At rest a node owes nothing, holds no more than it was told to, and has nothing that stopped.
//!
//! Read from its own metrics, which so are compared with what is true.

use std::{collections::BTreeMap, ops::RangeInclusive, time::Duration};

use http::Method;
use tokio::time::Instant;

use crate::{
    client::{Client, whole},
    cluster::Machine,
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
            let Some(wrong) = out_of_bounds(&metrics) else {
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

fn out_of_bounds(metrics: &BTreeMap<String, f64>) -> Option<String> {
    AT_REST.iter().find_map(|(name, bounds)| match metrics.get(*name) {
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
    let text = String::from_utf8_lossy(&reply.body).into_owned();
    let mut values = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let Some((name, value)) = line.rsplit_once(' ') else { continue };
        let name = name.split('{').next().unwrap_or_default().to_owned();
        *values.entry(name).or_default() += value.parse().unwrap_or(0.0);
    }
    Ok(values)
}
