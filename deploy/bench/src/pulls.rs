//! Many slow pulls at once: what a server keeps in memory per pull.
//!
//! Every connection asks, and nobody reads on until every one has the head of its answer; then all
//! read at a bounded rate. So all of them really are in flight together. What a server buffers per
//! connection, or reads ahead of a slow reader, shows as resident memory.

use crate::{
    http1::Connection,
    load::{Object, get_request},
    procfs,
};
use anyhow::Context;
use serde::Serialize;
use std::{
    cell::Cell,
    net::SocketAddr,
    rc::Rc,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};
use tokio::{sync::Barrier, task::LocalSet};

/// How often resident memory is looked at.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(50);
/// A reader takes its share this often; shorter would only cost the generator.
const READ_INTERVAL: Duration = Duration::from_millis(50);
/// Bytes of an answer taken before everybody reads on.
const FIRST_READ_BYTES: usize = 1024;

/// What came of the slow pulls.
#[derive(Serialize)]
pub struct Pulls {
    /// Pulls in flight together.
    pub pulls: usize,
    /// Length of the blob, bytes.
    pub size: u64,
    /// Seconds from the first request to the last byte.
    pub seconds: f64,
    /// High-water mark of the process tree's resident memory, bytes.
    pub peak_bytes: u64,
    /// Largest sample of its resident memory during the pulls, bytes.
    pub sampled_peak_bytes: u64,
    /// Resident memory before the first pull, bytes.
    pub before_bytes: u64,
}

/// Pulls `object` `pulls` times at once, each at `bytes_per_second`.
///
/// # Errors
/// A connection that fails, an answer that is not right, a server that ends.
pub fn run(
    address: SocketAddr,
    pid: u32,
    object: &Object,
    pulls: usize,
    bytes_per_second: u64,
) -> anyhow::Result<Pulls> {
    let before_bytes = procfs::resident_bytes(pid);
    procfs::reset_peak(pid);
    let running = AtomicBool::new(true);
    let began = Instant::now();
    let (done, sampled_peak_bytes) = std::thread::scope(|scope| {
        let sampler = scope.spawn(|| sample_peak(pid, &running));
        let done = pull_all(address, object, pulls, bytes_per_second);
        running.store(false, Ordering::Relaxed);
        (done, sampler.join().unwrap_or(0))
    });
    done?;
    let seconds = began.elapsed().as_secs_f64();
    let peak_bytes = procfs::usage(pid)?.peak_bytes;
    Ok(Pulls { pulls, size: object.size, seconds, peak_bytes, sampled_peak_bytes, before_bytes })
}

fn sample_peak(pid: u32, running: &AtomicBool) -> u64 {
    let mut peak = 0;
    while running.load(Ordering::Relaxed) {
        peak = peak.max(procfs::resident_bytes(pid));
        std::thread::sleep(SAMPLE_INTERVAL);
    }
    peak
}

fn pull_all(
    address: SocketAddr,
    object: &Object,
    pulls: usize,
    bytes_per_second: u64,
) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let failed = Rc::new(Cell::new(None));
    let set = LocalSet::new();
    let barrier = Rc::new(Barrier::new(pulls));
    for number in 0..pulls {
        let (object, failed, barrier) = (object.clone(), failed.clone(), barrier.clone());
        set.spawn_local(async move {
            let pull = pull_slowly(address, &object, bytes_per_second, &barrier).await;
            if let Err(error) = pull {
                failed.set(Some(error.context(format!("pull {number}"))));
            }
        });
    }
    // A pull that fails before the barrier would leave the others waiting for ever.
    let seconds_needed = object.size.div_ceil(bytes_per_second.max(1));
    let limit = Duration::from_secs(60 + 4 * seconds_needed);
    let finished = runtime.block_on(async { tokio::time::timeout(limit, set).await });
    if let Some(error) = failed.take() {
        return Err(error);
    }
    finished.with_context(|| format!("not every pull was done after {limit:?}"))
}

async fn pull_slowly(
    address: SocketAddr,
    object: &Object,
    bytes_per_second: u64,
    barrier: &Barrier,
) -> anyhow::Result<()> {
    let mut connection = Connection::open(address).await?;
    connection.send(&[get_request(&object.path).as_bytes()]).await?;
    let (head, mut missing) = connection.receive_head(FIRST_READ_BYTES).await?;
    anyhow::ensure!(head.status == 200, "GET was answered {}", head.status);
    anyhow::ensure!(head.content_length == object.size, "wrong Content-Length");
    barrier.wait().await;
    let mut ticks = tokio::time::interval(READ_INTERVAL);
    let share = (bytes_per_second as f64 * READ_INTERVAL.as_secs_f64()) as u64;
    while missing > 0 {
        ticks.tick().await;
        let mut due = share.min(missing);
        while due > 0 {
            let limit = usize::try_from(due).unwrap_or(usize::MAX);
            let got = connection.receive_some(missing, limit, &mut |_| {}).await?;
            missing -= got;
            due = due.saturating_sub(got);
        }
    }
    Ok(())
}
