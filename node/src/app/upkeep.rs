//! The background work of a node: started together, stopped together.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{
    background::{
        disowned::Disowned,
        gc::{Gc, GcSettings, Members, holder::Holder},
        own::Own,
        repair::{Parts, Repair, RepairSettings},
        scrub::Scrub,
        status::RepairStatus,
        throttle::{Latency, Throttle},
    },
    cluster::sync::SyncReports,
    config::Config,
    io::Io,
    metadata::Metadata,
    replicate::Replicator,
    store::BlobStore,
    telemetry::HttpMetrics,
};

/// Pause after a step of the inventory's catching up, so that a start leaves the disk to clients.
const CATCH_UP_PAUSE: Duration = Duration::from_millis(1);
/// Pause after one that failed.
const CATCH_UP_RETRY: Duration = Duration::from_secs(5);

/// What an operator may choose about background work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpkeepSettings {
    /// Comparing and fetching.
    pub repair: RepairSettings,
    /// Bytes per second for all of it.
    pub bytes_per_second: u64,
    /// How long requests may take before it gives way.
    pub latency_target: Duration,
    /// Every copy is read again in this time.
    pub scrub_interval: Duration,
    /// How long copies that others own are kept.
    pub disowned_grace: Duration,
    /// Collecting.
    pub gc: GcSettings,
}

impl From<&Config> for UpkeepSettings {
    fn from(config: &Config) -> Self {
        let repair = &config.repair;
        UpkeepSettings {
            repair: RepairSettings { interval: repair.interval, streams: repair.streams },
            bytes_per_second: repair.bytes_per_second.bytes(),
            latency_target: repair.latency_target,
            scrub_interval: repair.scrub_interval,
            disowned_grace: repair.disowned_grace,
            gc: GcSettings {
                enabled: config.gc.enabled,
                interval: config.gc.interval,
                min_age: config.gc.min_age,
                batch: config.gc.batch,
            },
        }
    }
}

/// The workers that can be asked to work now, and how far they are.
#[derive(Clone, Debug)]
pub struct Workers {
    /// How far repair, scrub and disowning are.
    pub status: Arc<RepairStatus>,
    /// Compares and fetches.
    pub repair: Repair,
    /// Collects.
    pub gc: Gc,
}

/// The background work of a node.
#[derive(Debug)]
pub struct Upkeep {
    /// Whom to ask.
    pub workers: Workers,
    tasks: Vec<JoinHandle<()>>,
}

impl Upkeep {
    /// Starts the workers; they end with `stop`.
    pub fn start(
        io: &Io,
        replicator: &Replicator,
        metadata: Metadata,
        reports: SyncReports,
        metrics: Arc<HttpMetrics>,
        settings: UpkeepSettings,
        stop: &CancellationToken,
    ) -> Upkeep {
        let status = Arc::new(RepairStatus::default());
        let own = Arc::new(Own::new(replicator.clone()));
        let throttle = Throttle::new(
            io.clock.clone(),
            settings.bytes_per_second,
            settings.latency_target,
            recent_latency(metrics),
        );
        let parts = Parts {
            cluster: replicator.cluster().clone(),
            holdings: own.clone(),
            copies: own,
            reports: Arc::new(reports),
            throttle: Arc::new(throttle),
            clock: io.clock.clone(),
            status: status.clone(),
        };
        let repair = Repair::new(parts.clone(), settings.repair);
        let scrub = Scrub::new(parts.clone(), io.clone(), settings.scrub_interval);
        let disowned = Disowned::new(parts, settings.disowned_grace);
        let store = replicator.tiers().store().clone();
        let holder = Holder::new(store.clone(), metadata.clone());
        let members = Members::new(replicator.cluster().clone(), holder);
        let gc = Gc::new(metadata, Arc::new(members), settings.gc);
        let tasks = vec![
            tokio::spawn(catch_up(store, stop.clone())),
            tokio::spawn(repair.clone().run(stop.clone())),
            tokio::spawn(scrub.run(stop.clone())),
            tokio::spawn(disowned.run(stop.clone())),
            tokio::spawn(gc.clone().run(stop.clone())),
        ];
        Upkeep { workers: Workers { status, repair, gc }, tasks }
    }

    /// Waits until every worker has ended.
    pub async fn end(self) {
        for task in self.tasks {
            let _ = task.await;
        }
    }
}

/// Brings the inventory up to the files, piece by piece.
async fn catch_up(store: BlobStore, stop: CancellationToken) {
    while !store.inventory_progress().is_complete() {
        let pause = match store.catch_up().await {
            Ok(_) => CATCH_UP_PAUSE,
            Err(error) => {
                tracing::warn!(%error, "the inventory cannot be compared with the files");
                CATCH_UP_RETRY
            }
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// The mean since it was last asked: none while nothing was answered.
fn recent_latency(metrics: Arc<HttpMetrics>) -> Latency {
    let last = Mutex::new((0, Duration::ZERO));
    Arc::new(move || {
        let (count, taken) = metrics.answered();
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        let answered = u32::try_from(count - last.0).unwrap_or(u32::MAX);
        let mean = taken.saturating_sub(last.1).checked_div(answered);
        *last = (count, taken);
        mean
    })
}
