//! Getting the copies that this node should have and has not.
//!
//! Two kinds of pass, one way to do them:
//! - after the owners of anything changed, a *sync* scans the members of every open set and ends with
//!   the report that lets the cluster close them ([`atoll_core::repair::Sync`] decides what must be
//!   scanned and when that is enough);
//! - in quiet times an *anti-entropy* pass compares with the co-owners.
//!
//! Every node only ever pulls: who lacks a copy notices it and gets it. Nobody pushes to a node that
//! may be full, slow, or not an owner any more.
//!
//! A pass ends early when the view changes; what it has fetched stays.

mod fetch;
mod scan;

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use atoll_core::{
    repair::{self, Cell, Cells, Sync},
    view::{Epoch, NodeId, View},
};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use self::{
    fetch::Fetcher,
    scan::{Lacks, Scan},
};
use super::{
    holdings::{Copies, Holdings, Reports},
    status::{Phase, RepairStatus},
    throttle::Throttle,
};
use crate::{
    cluster::Cluster,
    io::{Clock, plant::Plant, rt::blocking},
};

/// First pause after a source did not answer; it doubles up to [`RETRY_PAUSE_MAX`].
const RETRY_PAUSE_MIN: Duration = Duration::from_millis(200);
/// Longest pause.
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(10);

/// What an operator may choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RepairSettings {
    /// Pause between two passes over the co-owners.
    pub interval: Duration,
    /// Copies that are fetched at a time.
    pub streams: usize,
}

impl Default for RepairSettings {
    fn default() -> Self {
        RepairSettings { interval: Duration::from_secs(60), streams: 4 }
    }
}

/// What the worker works with.
#[derive(Clone, Debug)]
pub struct Parts {
    /// The view and the ways to peers.
    pub cluster: Cluster,
    /// What this node holds.
    pub holdings: Arc<dyn Holdings>,
    /// How it gets more.
    pub copies: Arc<dyn Copies>,
    /// Where it says that it has caught up.
    pub reports: Arc<dyn Reports>,
    /// The byte budget.
    pub throttle: Arc<Throttle>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Where it tells how far it is.
    pub status: Arc<RepairStatus>,
}

/// The worker.
#[derive(Clone, Debug)]
pub struct Repair {
    parts: Parts,
    settings: RepairSettings,
    /// Somebody wants a pass now.
    wanted: Arc<Notify>,
}

/// How a pass ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Everything was looked at and fetched.
    Done,
    /// There is a newer view.
    Overtaken,
    /// A source did not answer, or a copy could not be had.
    Incomplete,
}

impl Repair {
    /// A worker.
    pub fn new(parts: Parts, settings: RepairSettings) -> Repair {
        Repair { parts, settings, wanted: Arc::default() }
    }

    /// Asks for a pass now.
    pub fn kick(&self) {
        self.wanted.notify_one();
    }

    /// Works until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut views = self.parts.cluster.views();
        let mut pause = RETRY_PAUSE_MIN;
        loop {
            let view = views.borrow_and_update().clone();
            let ended = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                ended = self.pass(&view) => ended,
            };
            let wait = match ended {
                End::Done => {
                    pause = RETRY_PAUSE_MIN;
                    self.settings.interval
                }
                End::Overtaken => Duration::ZERO,
                End::Incomplete => {
                    self.parts.status.update(|progress| progress.phase = Phase::Waiting);
                    let waited = pause;
                    pause = (pause * 2).min(RETRY_PAUSE_MAX);
                    waited
                }
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                changed = views.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    // What did not work may work now, and the whole cluster waits for it.
                    pause = RETRY_PAUSE_MIN;
                }
                () = self.wanted.notified() => pause = RETRY_PAUSE_MIN,
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// One pass as of `view`.
    async fn pass(&self, view: &Arc<View>) -> End {
        let me = self.parts.cluster.me();
        if !view.ring.contains(me) || !view.is_up(me) {
            // It owns nothing, or the others do not know yet that it is here.
            self.begin(view, 0);
            return End::Done;
        }
        let ended = if view.open.is_empty() && self.has_reported(view) {
            self.compare_with_co_owners(view).await
        } else {
            self.sync(view).await
        };
        if ended == End::Done {
            self.parts.status.passes.fetch_add(1, Relaxed);
            self.parts.status.missing.store(0, Relaxed);
            self.parts.status.update(|progress| progress.phase = Phase::Idle);
        }
        ended
    }

    fn has_reported(&self, view: &View) -> bool {
        let now = self.parts.clock.monotonic();
        self.parts.status.progress(now).synced_epoch >= view.since.0
    }

    async fn sync(&self, view: &Arc<View>) -> End {
        let (me, at) = (self.parts.cluster.me(), view.clone());
        let mut sync = blocking(move || Sync::new(&at, me)).await;
        if Plant::ReportUnsynced.is_planted() {
            self.report(sync.epoch());
            return End::Done;
        }
        let sources = sync.sources();
        self.begin(view, sources.len());
        let mut ended = End::Done;
        for (source, cells) in sources {
            match self.scan(view, source, cells).await {
                End::Done => sync.handle_scanned(source),
                End::Overtaken => return End::Overtaken,
                End::Incomplete => ended = End::Incomplete,
            }
        }
        // Sources are more than the rule needs: one that is out of reach holds nothing up.
        if sync.may_report() {
            self.report(sync.epoch());
            return End::Done;
        }
        if sync.is_complete() { End::Done } else { ended }
    }

    fn report(&self, epoch: Epoch) {
        self.parts.reports.synced(epoch);
        self.parts.status.update(|progress| progress.synced_epoch = epoch.0);
        info!(%epoch, "caught up: this node holds everything it owns");
    }

    async fn compare_with_co_owners(&self, view: &Arc<View>) -> End {
        let (me, at) = (self.parts.cluster.me(), view.clone());
        let co_owners: BTreeMap<NodeId, Vec<Cell>> =
            blocking(move || repair::co_owners(&at, me)).await;
        self.begin(view, co_owners.len());
        let mut ended = End::Done;
        for (node, cells) in co_owners {
            match self.scan(view, node, cells).await {
                End::Done => {}
                End::Overtaken => return End::Overtaken,
                End::Incomplete => ended = End::Incomplete,
            }
        }
        ended
    }

    fn begin(&self, view: &View, sources: usize) {
        let now = self.parts.clock.monotonic();
        self.parts.status.begin(view.epoch, sources as u64, now);
    }

    /// Looks at one node, and fetches what it has and this one should.
    async fn scan(&self, view: &Arc<View>, source: NodeId, cells: Vec<Cell>) -> End {
        let scan = Scan::new(&self.parts, view.clone(), source, Cells::of(view), cells);
        let Lacks { missing, damaged } = match scan.lacks().await {
            Ok(lacks) => lacks,
            Err(error) => {
                debug!(%source, error, "cannot compare copies with a node");
                return self.after(view, End::Incomplete);
            }
        };
        self.parts.status.update(|progress| progress.sources_done += 1);
        let fetcher = Fetcher { parts: &self.parts, view, streams: self.settings.streams };
        let mut is_done = true;
        if !missing.is_empty() {
            info!(%source, epoch = %view.epoch, copies = missing.len(), "copies are missing here");
            is_done &= fetcher.fetch(source, missing).await;
        }
        is_done &= fetcher.fetch_or_mark(damaged).await;
        self.after(view, if is_done { End::Done } else { End::Incomplete })
    }

    fn after(&self, view: &View, ended: End) -> End {
        let since = self.parts.cluster.view().since;
        if since > view.epoch { End::Overtaken } else { ended }
    }
}
