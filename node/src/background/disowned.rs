//! Copies that others own now.
//!
//! A copy goes only when all of this is true:
//! 1. this node neither acts for the digest nor is placed to hold it, and nothing is open: the view
//!    that took it away is finalised;
//! 2. every owner says, under this view, that it holds a durable copy;
//! 3. ten minutes have passed since this was first seen;
//! 4. nobody reads it here.
//!
//! The second alone makes it safe. The third only spares work when a node comes and goes.

use std::{collections::BTreeMap, sync::atomic::Ordering::Relaxed, time::Duration};

use atoll_core::{
    Digest,
    view::{NodeId, View},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use super::{holdings::Copy, repair::Parts};
use crate::io::{Sometimes, plant::Plant};

/// Disowned copies remembered at a time; the others are noticed when these are gone.
const NOTICED_MAX: usize = 65_536;

/// The worker.
#[derive(Debug)]
pub struct Disowned {
    parts: Parts,
    grace: Duration,
    /// Since when each is known to be disowned.
    noticed: BTreeMap<Digest, Duration>,
}

impl Disowned {
    /// A worker that leaves copies alone for `grace`.
    pub fn new(parts: Parts, grace: Duration) -> Disowned {
        Disowned { parts, grace, noticed: BTreeMap::new() }
    }

    /// Works until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        let pause = (self.grace / 4).clamp(Duration::from_millis(100), Duration::from_secs(60));
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = self.round() => {}
            }
        }
    }

    /// Looks through all copies once, and removes those whose time has come.
    async fn round(&mut self) {
        let view = self.parts.cluster.view();
        let at_once = Plant::DisownedTooEarly.is_planted();
        if !view.open.is_empty() && !at_once {
            return;
        }
        let mut due = Vec::new();
        let mut still = BTreeMap::new();
        let mut after = None;
        loop {
            let page = self.parts.holdings.page([0; 32], [0xff; 32], after).await;
            let Ok(page) = page else { return };
            after = page.copies.last().map(|copy| copy.digest);
            for copy in page.copies {
                if is_owner(&view, &copy.digest, self.parts.cluster.me()) {
                    continue;
                }
                let now = self.parts.clock.monotonic();
                let since = self.noticed.get(&copy.digest).copied().unwrap_or(now);
                if still.len() < NOTICED_MAX {
                    still.insert(copy.digest, since);
                }
                if now.saturating_sub(since) >= self.grace || at_once {
                    due.push(copy);
                }
            }
            if !page.more || after.is_none() {
                break;
            }
        }
        self.noticed = still;
        self.remove(&view, due).await;
    }

    async fn remove(&mut self, view: &View, due: Vec<Copy>) {
        let (mut copies, mut bytes) = (0_u64, 0_u64);
        for copy in due {
            let owners = view.placement(&copy.digest);
            // The view may have made this node an owner meanwhile.
            if self.parts.cluster.view().since > view.epoch {
                break;
            }
            match self.parts.copies.give_up(copy.digest, owners, view.since).await {
                Ok(Some(freed)) => {
                    self.noticed.remove(&copy.digest);
                    copies += 1;
                    bytes += freed;
                }
                Ok(None) => debug!(digest = %copy.digest, "an owner is not ready, or relies on it"),
                Err(error) => debug!(digest = %copy.digest, error, "a disowned copy stays for now"),
            }
        }
        if copies > 0 {
            Sometimes::DisownedRemoved.reached();
            self.parts.status.disowned_removed.fetch_add(copies, Relaxed);
            self.parts.status.disowned_bytes.fetch_add(bytes, Relaxed);
            info!(copies, bytes, "copies that others own now are removed");
        }
    }
}

fn is_owner(view: &View, digest: &Digest, me: NodeId) -> bool {
    view.placement(digest).contains(&me) || view.acting(digest).contains(&me)
}
