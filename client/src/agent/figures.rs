//! What the agent did since it started, for people (`/agent/status`) and for Prometheus.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::atomic::{AtomicU64, Ordering},
};

use serde::Serialize;

use super::{cache::CacheFigures, upstream::NodeFigures};

/// One number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds to it.
    pub fn add(&self, by: u64) {
        self.0.fetch_add(by, Ordering::Relaxed);
    }

    fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The counters.
#[derive(Debug, Default)]
pub struct Counters {
    /// Requests of callers.
    pub requests: Counter,
    /// Refused by the guard, or meant for another registry.
    pub refused: Counter,
    /// Content served from the cache.
    pub hits: Counter,
    /// Content that was fetched first.
    pub misses: Counter,
    /// Content that another caller was fetching just then.
    pub joined: Counter,
    /// Content that was relayed and not kept: a range, or too large for the cache.
    pub relayed: Counter,
    /// Bytes of content handed out through the cache.
    pub content_bytes: Counter,
}

/// All of it at one moment.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// The version of the agent.
    pub version: &'static str,
    /// Where it listens.
    pub listen: String,
    /// The names of its registry.
    pub registries: Vec<String>,
    /// Seconds since it started.
    pub uptime_seconds: u64,
    /// Requests of callers.
    pub requests: u64,
    /// Refused among them.
    pub refused: u64,
    /// Content served from the cache.
    pub hits: u64,
    /// Content that was fetched first.
    pub misses: u64,
    /// Content that another caller was fetching.
    pub joined: u64,
    /// Content that was relayed.
    pub relayed: u64,
    /// Bytes of content handed out through the cache.
    pub content_bytes: u64,
    /// The cache.
    pub cache: CacheFigures,
    /// What was asked of each node.
    pub nodes: BTreeMap<String, NodeFigures>,
}

impl Counters {
    /// Fills the counters in.
    pub fn read_into(&self, status: &mut Status) {
        status.requests = self.requests.read();
        status.refused = self.refused.read();
        status.hits = self.hits.read();
        status.misses = self.misses.read();
        status.joined = self.joined.read();
        status.relayed = self.relayed.read();
        status.content_bytes = self.content_bytes.read();
    }
}

impl Status {
    /// The text that Prometheus scrapes.
    pub fn metrics(&self) -> String {
        let mut text = String::new();
        let mut family = |name: &str, kind: &str, help: &str, value: u64| {
            let _ = write!(
                text,
                "# HELP atoll_agent_{name} {help}\n# TYPE atoll_agent_{name} {kind}\natoll_agent_{name} {value}\n"
            );
        };
        family("requests_total", "counter", "Requests of callers.", self.requests);
        family("refused_total", "counter", "Requests the agent refused.", self.refused);
        family("cache_hits_total", "counter", "Content served from the cache.", self.hits);
        family("cache_misses_total", "counter", "Content fetched first.", self.misses);
        family(
            "cache_joined_total",
            "counter",
            "Content another caller was fetching.",
            self.joined,
        );
        family("relayed_total", "counter", "Content relayed and not kept.", self.relayed);
        family(
            "content_bytes_total",
            "counter",
            "Content handed out, in bytes.",
            self.content_bytes,
        );
        family("cache_evicted_total", "counter", "Content that made room.", self.cache.evicted);
        family("cache_damaged_total", "counter", "Content thrown away.", self.cache.damaged);
        family("cache_bytes", "gauge", "Content in the cache, in bytes.", self.cache.bytes);
        family(
            "cache_bytes_max",
            "gauge",
            "The bound of the cache, in bytes.",
            self.cache.bytes_max,
        );
        family("cache_entries", "gauge", "Contents in the cache.", self.cache.entries as u64);
        type Column = (&'static str, &'static str, fn(&NodeFigures) -> u64);
        let columns: [Column; 3] = [
            ("node_requests_total", "Requests sent to a node.", |of| of.requests),
            ("node_blob_gets_total", "Content of blobs asked of a node.", |of| of.blob_gets),
            ("node_failures_total", "Requests a node did not answer.", |of| of.failures),
        ];
        for (name, help, read) in columns {
            let _ = write!(
                text,
                "# HELP atoll_agent_{name} {help}\n# TYPE atoll_agent_{name} counter\n"
            );
            for (node, figures) in &self.nodes {
                let _ = writeln!(text, "atoll_agent_{name}{{node=\"{node}\"}} {}", read(figures));
            }
        }
        text
    }
}
