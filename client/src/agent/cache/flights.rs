//! One fetch for all callers that miss the same content together.
//!
//! A fetch runs to its end even when the caller that began it has gone: the next one finds it done.
//! How many run at once is bounded; the others wait for their turn.

use std::{
    collections::BTreeMap,
    future::Future,
    sync::{Arc, Mutex},
};

use atoll_core::Digest;
use tokio::sync::{Semaphore, watch};

use super::{Content, host};
use crate::agent::{fetch::Missed, refusal::Refusal};

/// Fetches at once. Each holds a file and a few connections; a pull asks for three layers at a time.
const FLIGHTS_MAX: usize = 64;

/// How a fetch ended.
pub type Landed = Result<Content, Missed>;

type Waiting = watch::Receiver<Option<Landed>>;

/// The fetches under way.
#[derive(Clone, Debug)]
pub struct Flights {
    waiting: Arc<Mutex<BTreeMap<Digest, Waiting>>>,
    room: Arc<Semaphore>,
}

impl Default for Flights {
    fn default() -> Self {
        Flights { waiting: Arc::default(), room: Arc::new(Semaphore::new(FLIGHTS_MAX)) }
    }
}

/// Removes a flight from the table, also when its task was aborted.
struct Departure {
    flights: Flights,
    digest: Digest,
}

impl Drop for Departure {
    fn drop(&mut self) {
        host::lock(&self.flights.waiting).remove(&self.digest);
    }
}

impl Flights {
    /// Waits for the fetch of `digest` that is under way, or begins `fetch`. Answers also whether it
    /// was begun here.
    pub async fn join<F>(&self, digest: Digest, fetch: impl FnOnce() -> F) -> (bool, Landed)
    where
        F: Future<Output = Landed> + Send + 'static,
    {
        let (mut waiting, begun) = self.board(digest, fetch);
        let landed = waiting.wait_for(Option::is_some).await.ok().and_then(|landed| landed.clone());
        let gone = || Err(Missed::Refused(Refusal::unavailable("the fetch was ended; ask again")));
        (begun, landed.unwrap_or_else(gone))
    }

    fn board<F>(&self, digest: Digest, fetch: impl FnOnce() -> F) -> (Waiting, bool)
    where
        F: Future<Output = Landed> + Send + 'static,
    {
        let mut table = host::lock(&self.waiting);
        if let Some(waiting) = table.get(&digest) {
            return (waiting.clone(), false);
        }
        let (sender, waiting) = watch::channel(None);
        table.insert(digest, waiting.clone());
        drop(table);
        let (departure, fetch) = (Departure { flights: self.clone(), digest }, fetch());
        let room = self.room.clone();
        tokio::spawn(async move {
            // The semaphore is never closed.
            let _turn = room.acquire_owned().await;
            let landed = fetch.await;
            // Off the table before it is told: whoever comes now finds the content in the cache.
            drop(departure);
            sender.send_replace(Some(landed));
        });
        (waiting, true)
    }
}
