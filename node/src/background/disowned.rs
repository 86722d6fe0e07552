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
//!
//! Owners compare their copies with each other only. A node that was away while the ring moved on may
//! come back with the one good copy of a blob that it does not own any more; so whoever notices copies
//! that others own asks those until all have answered, and owes them what none of them has.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::Ordering::Relaxed,
    time::Duration,
};

use atoll_core::{
    Digest,
    view::{NodeId, View},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use super::{holdings::Copy, repair::Parts};
use crate::{
    io::{Sometimes, plant::Plant},
    replicate::DIGESTS_MAX,
};

/// Disowned copies remembered at a time; the others are noticed when these are gone.
const NOTICED_MAX: usize = 65_536;

/// The worker.
#[derive(Debug)]
pub struct Disowned {
    parts: Parts,
    grace: Duration,
    noticed: BTreeMap<Digest, Noticed>,
}

/// What is known of a copy that others own.
#[derive(Clone, Copy, Debug)]
struct Noticed {
    since: Duration,
    /// An owner has it, or all of them are owed it.
    is_offered: bool,
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
                let noticed = self.noticed.get(&copy.digest).copied();
                let noticed = noticed.unwrap_or(Noticed { since: now, is_offered: false });
                if still.len() < NOTICED_MAX {
                    still.insert(copy.digest, noticed);
                }
                if now.saturating_sub(noticed.since) >= self.grace || at_once {
                    due.push(copy);
                }
            }
            if !page.more || after.is_none() {
                break;
            }
        }
        self.noticed = still;
        self.offer(&view).await;
        self.remove(&view, due).await;
    }

    /// Owes to their owners the copies that none of them has.
    async fn offer(&mut self, view: &View) {
        if Plant::NeverOffered.is_planted() {
            return;
        }
        let mut of_owner: BTreeMap<NodeId, Vec<Digest>> = BTreeMap::new();
        for (digest, _) in self.noticed.iter().filter(|(_, noticed)| !noticed.is_offered) {
            for owner in view.placement(digest) {
                of_owner.entry(owner).or_default().push(*digest);
            }
        }
        let (mut present, mut unsure) = (BTreeSet::new(), BTreeSet::new());
        let (mut asked, mut lacking) = (BTreeSet::new(), Vec::new());
        for (owner, digests) in of_owner {
            for digests in digests.chunks(DIGESTS_MAX) {
                asked.extend(digests);
                match self.parts.copies.held_by(owner, digests.to_vec()).await {
                    Ok((held, _)) => {
                        for (digest, is_held) in digests.iter().zip(held) {
                            match is_held {
                                true => _ = present.insert(*digest),
                                false => lacking.push((owner, *digest)),
                            }
                        }
                    }
                    Err(error) => {
                        debug!(%owner, error, "an owner does not say what it lacks");
                        unsure.extend(digests);
                    }
                }
            }
        }
        // Where one owner has it, the others get it from there.
        lacking.retain(|(_, digest)| !present.contains(digest));
        for (owner, digest) in &lacking {
            if let Err(error) = self.parts.copies.owe(*owner, *digest).await {
                debug!(%owner, %digest, error, "a copy cannot be owed");
                unsure.insert(*digest);
            }
        }
        if !lacking.is_empty() {
            info!(owed = lacking.len(), "no owner has copies that are here: they get them");
        }
        for digest in asked {
            let is_settled = present.contains(&digest) || !unsure.contains(&digest);
            if let Some(noticed) = self.noticed.get_mut(&digest) {
                noticed.is_offered = is_settled;
            }
        }
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
