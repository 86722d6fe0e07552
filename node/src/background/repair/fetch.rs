//! Fetching copies that are missing, the rarest first.

use std::{
    collections::BTreeMap,
    future::ready,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use atoll_core::{
    Digest,
    view::{NodeId, View},
};
use futures_util::{StreamExt, stream};
use tracing::{debug, info};

use super::Parts;
use crate::{
    background::{
        holdings::{Copy, Fetched},
        status::Phase,
    },
    io::Sometimes,
};

/// How often a long fetch says how far it is.
const TELL_INTERVAL: Duration = Duration::from_secs(10);

/// Digests in one question after who else has them.
const ASKED_AT_ONCE: usize = 2_000;

/// Fetches the copies that one scan found missing.
pub(super) struct Fetcher<'a> {
    pub(super) parts: &'a Parts,
    pub(super) view: &'a Arc<View>,
    pub(super) streams: usize,
}

impl Fetcher<'_> {
    /// Gets all of `missing`, from `source` first. Answers whether all of it is here, or gone for good.
    pub(super) async fn fetch(&self, source: NodeId, missing: Vec<Copy>) -> bool {
        let status = &self.parts.status;
        status.missing.store(missing.len() as u64, Relaxed);
        status.update(|progress| {
            progress.phase = Phase::Fetching;
            progress.copies += missing.len() as u64;
            progress.bytes += missing.iter().map(|copy| copy.size).sum::<u64>();
        });
        let missing = self.rarest_first(source, missing).await;
        let mut told_at = self.parts.clock.monotonic();
        let mut failed = 0_u64;
        let fetches = stream::iter(missing).map(|copy| self.one(source, copy));
        let mut fetches = std::pin::pin!(fetches.buffer_unordered(self.streams.max(1)));
        while let Some(here) = fetches.next().await {
            failed += u64::from(!here);
            let now = self.parts.clock.monotonic();
            if now.saturating_sub(told_at) >= TELL_INTERVAL {
                told_at = now;
                let progress = status.progress(now);
                info!(?progress, "fetching copies");
            }
        }
        failed == 0
    }

    /// Gets blobs of which the source has only a bad copy from anybody who has a good one; of the others
    /// this node remembers that they exist. If it did not know of them, it would say that they are nowhere,
    /// and close the configuration that knows better. Answers whether that is done.
    pub(super) async fn fetch_or_mark(&self, damaged: Vec<Digest>) -> bool {
        let each = stream::iter(damaged).map(|digest| self.one_or_mark(digest));
        each.buffer_unordered(self.streams.max(1)).fold(true, |all, one| ready(all && one)).await
    }

    async fn one_or_mark(&self, digest: Digest) -> bool {
        if let Fetched::Here(bytes) = self.parts.copies.fetch(digest, None).await {
            // How long it is was not known before.
            self.parts.throttle.take(bytes).await;
            self.came(bytes);
            return true;
        }
        let marked = self.parts.copies.mark_damaged(digest).await;
        marked.inspect_err(|error| debug!(%digest, error, "damage cannot be remembered")).is_ok()
    }

    /// Counts a copy that is here now; it was here before if no bytes travelled.
    fn came(&self, bytes: u64) {
        if bytes > 0 {
            Sometimes::CopiesFetched.reached();
            self.parts.status.copies_fetched.fetch_add(1, Relaxed);
            self.parts.status.bytes_fetched.fetch_add(bytes, Relaxed);
        }
    }

    async fn one(&self, source: NodeId, copy: Copy) -> bool {
        self.parts.throttle.take(copy.size).await;
        let status = &self.parts.status;
        let here = match self.parts.copies.fetch(copy.digest, Some(source)).await {
            Fetched::Here(bytes) => {
                self.came(bytes);
                true
            }
            Fetched::Gone => true,
            Fetched::Failed(error) => {
                status.fetches_failed.fetch_add(1, Relaxed);
                debug!(digest = %copy.digest, %source, error, "a copy cannot be fetched yet");
                false
            }
        };
        if here {
            status.update(|progress| {
                progress.copies_done += 1;
                progress.bytes_done += copy.size;
            });
        }
        here
    }

    /// Blobs that fewer of their owners have come first: they are the ones that the next failure
    /// would lose. Owners that do not answer count as having nothing.
    async fn rarest_first(&self, source: NodeId, mut missing: Vec<Copy>) -> Vec<Copy> {
        let mut held: BTreeMap<usize, usize> = BTreeMap::new();
        let mut asked: BTreeMap<NodeId, Vec<usize>> = BTreeMap::new();
        let me = self.parts.cluster.me();
        for (at, copy) in missing.iter().enumerate() {
            for owner in self.view.acting(&copy.digest) {
                if owner != me && owner != source {
                    asked.entry(owner).or_default().push(at);
                }
            }
        }
        for (owner, at) in asked {
            for at in at.chunks(ASKED_AT_ONCE) {
                let digests = at.iter().map(|at| missing[*at].digest).collect();
                let Ok((has, _)) = self.parts.copies.held_by(owner, digests).await else { break };
                for (at, _) in at.iter().zip(has).filter(|(_, has)| *has) {
                    *held.entry(*at).or_default() += 1;
                }
            }
        }
        let mut order: Vec<usize> = (0..missing.len()).collect();
        order.sort_by_key(|at| held.get(at).copied().unwrap_or_default());
        let sorted = order.into_iter().map(|at| missing[at]).collect();
        missing.clear();
        sorted
    }
}
