//! Metrics: counted where things happen, named and written when they are scraped.
//!
//! The request path holds plain atomics in arrays, indexed by route, method and status
//! ([`http::HttpMetrics`]): no map, no lock, no label text per request. Everything else is scraped
//! from the snapshots that the parts of the node give anyway: a [`Source`] writes them under the
//! names in [`family`]. (Families of `prometheus-client` take a lock and hash the labels for every
//! event, and its histogram takes a mutex; both are felt at 100,000 requests a second.)

pub mod family;
pub mod histogram;
pub mod http;
pub mod label;
pub mod scrape;

use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::{collector::Collector, encoding::text, registry::Registry};

pub use family::Family;
pub use histogram::Histogram;
pub use http::HttpMetrics;
pub use scrape::{Scrape, Source};

/// The content type of [`Metrics::text`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The metrics of one node. Cheap to clone; all clones are one.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    http: Arc<HttpMetrics>,
    registry: Arc<Mutex<Registry>>,
}

impl Metrics {
    /// Metrics with the sources every node has: the public listener, the build and the process.
    pub fn new() -> Self {
        let metrics = Self::default();
        let http = Arc::clone(&metrics.http);
        metrics.add_source(move |scrape: &mut Scrape<'_>| http.scrape(scrape));
        metrics.add_source(super::process::scrape);
        metrics
    }

    /// What the public listener counts.
    pub fn http(&self) -> &Arc<HttpMetrics> {
        &self.http
    }

    /// Adds a source that is asked at every scrape. It must not block for long.
    pub fn add_source(&self, source: impl Source) {
        let mut registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        registry.register_collector(Box::new(scrape::Collected(source)) as Box<dyn Collector>);
    }

    /// All metrics, in the OpenMetrics text format.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        text::encode(&mut text, &registry).expect("writing to a string does not fail");
        text
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::atomic::Ordering::Relaxed, time::Duration};

    use super::{
        label::{Cut, Method, Route},
        *,
    };

    #[track_caller]
    fn has(text: &str, line: &str) {
        assert!(text.lines().any(|found| found == line), "no line {line:?} in\n{text}");
    }

    #[test]
    fn requests_are_counted_by_route_method_and_status() {
        let metrics = Metrics::new();
        let http = metrics.http();
        http.request(Route::Blob, Method::Get, 200, Duration::from_micros(80));
        http.request(Route::Blob, Method::Get, 200, Duration::from_micros(300));
        http.request(Route::Unknown, Method::Other, 418, Duration::from_secs(3600));
        http.cut(Cut::MinRate);
        http.bytes_sent.fetch_add(1024, Relaxed);
        let open = http.connection();
        let text = metrics.text();

        has(&text, "# TYPE atoll_http_requests counter");
        has(&text, r#"atoll_http_requests_total{route="blob",method="GET",status="200"} 2"#);
        has(&text, r#"atoll_http_requests_total{route="unknown",method="other",status="other"} 1"#);
        has(&text, r#"atoll_http_request_seconds_bucket{le="0.0001",route="blob"} 1"#);
        has(&text, r#"atoll_http_request_seconds_bucket{le="+Inf",route="blob"} 2"#);
        has(&text, r#"atoll_http_request_seconds_count{route="blob"} 2"#);
        has(&text, r#"atoll_http_connections_cut_total{why="min_rate"} 1"#);
        has(&text, "atoll_http_connections 1");
        has(&text, "atoll_bytes_sent_total 1024");
        assert!(!text.contains(r#"status="500""#), "what never happened has no time series");

        drop(open);
        has(&metrics.text(), "atoll_http_connections 0");
    }

    #[test]
    fn a_source_is_asked_at_every_scrape() {
        let metrics = Metrics::new();
        let asked = std::sync::atomic::AtomicU64::new(0);
        metrics.add_source(move |scrape: &mut Scrape<'_>| {
            scrape.value(&family::UPLOAD_SESSIONS, asked.fetch_add(1, Relaxed));
            scrape.labelled(
                &family::RAFT_APPLIED_INDEX,
                [([("group", "0")], 17), ([("group", "1")], 4)],
            );
        });
        has(&metrics.text(), "atoll_upload_sessions 0");
        has(&metrics.text(), "atoll_upload_sessions 1");
        has(&metrics.text(), r#"atoll_raft_applied_index{group="1"} 4"#);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_process_is_told() {
        let text = Metrics::new().text();
        for name in ["process_open_fds ", "process_max_fds ", "process_resident_memory_bytes "] {
            let line = text.lines().find(|line| line.starts_with(name)).expect(name);
            let value: f64 = line[name.len()..].parse().expect("a number");
            assert!(value > 0.0, "{line}");
        }
    }
}
