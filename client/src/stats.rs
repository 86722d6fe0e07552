//! What a client has done so far, in numbers.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use serde::Serialize;

use crate::endpoint::Endpoint;

/// Nodes that are counted by name; a thousand is the largest cluster, redirects add a few.
const NODES_MAX: usize = 4096;

/// A snapshot of a client's counters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// Requests sent, by the address they went to.
    pub requests_by_node: BTreeMap<String, u64>,
    /// Requests that went to the next node because one failed or could not answer.
    pub fail_overs: u64,
    /// Second requests because the first was slow.
    pub hedges: u64,
    /// Of these, how many answered first.
    pub hedges_won: u64,
    /// Bodies that broke and were taken up at the same byte elsewhere.
    pub resumes: u64,
    /// Contents that did not match their digest, and were thrown away.
    pub mismatches: u64,
    /// Pauses because nobody could answer.
    pub retries: u64,
    /// Views adopted.
    pub views: u64,
    /// Bytes of blobs and manifests received.
    pub bytes_received: u64,
    /// Bytes of blobs and manifests pushed.
    pub bytes_sent: u64,
}

impl Stats {
    /// All requests.
    pub fn requests(&self) -> u64 {
        self.requests_by_node.values().sum()
    }
}

/// The counters themselves.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    requests: Mutex<BTreeMap<Endpoint, u64>>,
    pub(crate) fail_overs: Counter,
    pub(crate) hedges: Counter,
    pub(crate) hedges_won: Counter,
    pub(crate) resumes: Counter,
    pub(crate) mismatches: Counter,
    pub(crate) retries: Counter,
    pub(crate) views: Counter,
    pub(crate) bytes_received: Counter,
    pub(crate) bytes_sent: Counter,
}

#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Counters {
    pub(crate) fn request(&self, endpoint: &Endpoint) {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = requests.get_mut(endpoint) {
            *count += 1;
        } else if requests.len() < NODES_MAX {
            requests.insert(endpoint.clone(), 1);
        }
    }

    pub(crate) fn snapshot(&self) -> Stats {
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        let by_node = requests.iter().map(|(node, count)| (node.to_string(), *count)).collect();
        Stats {
            requests_by_node: by_node,
            fail_overs: self.fail_overs.get(),
            hedges: self.hedges.get(),
            hedges_won: self.hedges_won.get(),
            resumes: self.resumes.get(),
            mismatches: self.mismatches.get(),
            retries: self.retries.get(),
            views: self.views.get(),
            bytes_received: self.bytes_received.get(),
            bytes_sent: self.bytes_sent.get(),
        }
    }
}
