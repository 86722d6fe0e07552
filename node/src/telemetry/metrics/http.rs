//! What the public listener counts, on the path of every request.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use super::{
    family,
    histogram::Histogram,
    label::{Cut, Method, Route, STATUSES, status_index},
    scrape::{Scrape, Source},
};

/// Upper bounds of request times in microseconds: from a hit in memory to a layer on a slow line.
const REQUEST_MICROSECONDS: &[u64] = &[
    100,
    250,
    500,
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    30_000_000,
    60_000_000,
    300_000_000,
];

/// Counters of the public listener. Recording takes `&self`, allocates nothing, locks nothing.
#[derive(Debug)]
pub struct HttpMetrics {
    /// One counter for each route, method and status, in this order.
    requests: Box<[AtomicU64]>,
    /// Time to the end of the response, by route.
    seconds: Box<[Histogram]>,
    cuts: Box<[AtomicU64]>,
    /// Connections that are open.
    pub connections: AtomicU64,
    /// Connections since the start.
    pub connections_accepted: AtomicU64,
    /// Times the system refused to accept a connection.
    pub accept_errors: AtomicU64,
    /// Body bytes sent to clients.
    pub bytes_sent: AtomicU64,
    /// Body bytes received from clients.
    pub bytes_received: AtomicU64,
}

impl Default for HttpMetrics {
    fn default() -> Self {
        let zeros = |count| (0..count).map(|_| AtomicU64::new(0)).collect();
        let time = |_| Histogram::new(REQUEST_MICROSECONDS, 1e6);
        Self {
            requests: zeros(Route::ALL.len() * Method::ALL.len() * STATUSES.len()),
            seconds: Route::ALL.iter().map(time).collect(),
            cuts: zeros(Cut::ALL.len()),
            connections: AtomicU64::new(0),
            connections_accepted: AtomicU64::new(0),
            accept_errors: AtomicU64::new(0),
            bytes_sent: AtomicU64::new(0),
            bytes_received: AtomicU64::new(0),
        }
    }
}

impl HttpMetrics {
    /// Counts a request that was answered `status`, `elapsed` after its header arrived.
    pub fn request(&self, route: Route, method: Method, status: u16, elapsed: Duration) {
        let place = (route as usize * Method::ALL.len() + method as usize) * STATUSES.len();
        self.requests[place + status_index(status)].fetch_add(1, Relaxed);
        let microseconds = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
        self.seconds[route as usize].observe(microseconds);
    }

    /// How many requests were answered, and how long they took together, until their heads.
    pub fn answered(&self) -> (u64, Duration) {
        let all = self.seconds.iter().map(Histogram::snapshot);
        let (count, seconds) = all.fold((0, 0.0), |sum, one| (sum.0 + one.count, sum.1 + one.sum));
        (count, Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
    }

    /// Counts a connection that was cut.
    pub fn cut(&self, why: Cut) {
        self.cuts[why as usize].fetch_add(1, Relaxed);
    }

    /// Counts a connection as open until the guard is dropped.
    pub fn connection(self: &std::sync::Arc<Self>) -> OpenConnection {
        self.connections.fetch_add(1, Relaxed);
        self.connections_accepted.fetch_add(1, Relaxed);
        OpenConnection(std::sync::Arc::clone(self))
    }

    /// The time series that have ever been counted: most of the array never is.
    fn counted(&self) -> impl Iterator<Item = ([(&'static str, &'static str); 3], u64)> {
        self.requests.iter().enumerate().filter_map(|(place, count)| {
            let count = count.load(Relaxed);
            let (series, status) = (place / STATUSES.len(), place % STATUSES.len());
            let route = Route::ALL[series / Method::ALL.len()];
            let method = Method::ALL[series % Method::ALL.len()];
            let labels = [
                ("route", route.as_str()),
                ("method", method.as_str()),
                ("status", STATUSES[status].1),
            ];
            (count > 0).then_some((labels, count))
        })
    }
}

impl Source for HttpMetrics {
    fn scrape(&self, scrape: &mut Scrape<'_>) {
        let load = |counter: &AtomicU64| counter.load(Relaxed);
        scrape.labelled(&family::HTTP_REQUESTS, self.counted());
        let routes = Route::ALL.iter().zip(&self.seconds);
        scrape.histograms(
            &family::HTTP_REQUEST_SECONDS,
            routes.map(|(route, histogram)| ([("route", route.as_str())], histogram)),
        );
        scrape.value(&family::HTTP_CONNECTIONS, load(&self.connections));
        scrape.value(&family::HTTP_CONNECTIONS_ACCEPTED, load(&self.connections_accepted));
        scrape.value(&family::HTTP_ACCEPT_ERRORS, load(&self.accept_errors));
        scrape.labelled(
            &family::HTTP_CONNECTIONS_CUT,
            Cut::ALL.iter().zip(&self.cuts).map(|(why, cut)| ([("why", why.as_str())], load(cut))),
        );
        scrape.value(&family::BYTES_SENT, load(&self.bytes_sent));
        scrape.value(&family::BYTES_RECEIVED, load(&self.bytes_received));
    }
}

/// A connection that is counted as open.
#[derive(Debug)]
pub struct OpenConnection(std::sync::Arc<HttpMetrics>);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Relaxed);
    }
}
