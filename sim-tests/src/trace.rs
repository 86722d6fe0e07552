//! The trace of a run: what was done, when, with what outcome, and what the disks did meanwhile.
//!
//! One seed must give one trace, byte for byte; `sim meta` compares them. So nothing may get in here
//! that does not follow from the seed.

use std::{
    cell::RefCell,
    fmt::Display,
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use atoll_core::{Digest, digest::Algorithm};
use atoll_node::io::disk::sim::SimDisk;
use tokio::time::Instant;

static START: OnceLock<Instant> = OnceLock::new();
static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

thread_local! {
    /// The disks whose operations are told with every line: those of the nodes under test.
    static DISKS: RefCell<Vec<SimDisk>> = const { RefCell::new(Vec::new()) };
}

/// Starts the clock.
pub fn start() {
    START.get_or_init(Instant::now);
}

/// Whether lines tell of the disks: only `sim run --trace` does, for hashing their logs takes long.
static TELLS_DISKS: AtomicBool = AtomicBool::new(false);

/// Lets every line tell of the disks.
pub fn tell_disks() {
    TELLS_DISKS.store(true, Relaxed);
}

/// Names the disk to watch.
pub fn watch(disk: &SimDisk) {
    DISKS.with(|watched| *watched.borrow_mut() = vec![disk.clone()]);
}

/// Names one more disk to watch.
pub fn watch_also(disk: &SimDisk) {
    DISKS.with(|watched| watched.borrow_mut().push(disk.clone()));
}

/// Simulated milliseconds since the start.
pub fn elapsed_millis() -> u64 {
    START.get().map_or(0, |start| start.elapsed().as_millis() as u64)
}

/// Simulated seconds since the start.
pub fn stamp() -> String {
    let elapsed = START.get().map_or(0, |start| start.elapsed().as_micros());
    format!("[{:>4}.{:06}]", elapsed / 1_000_000, elapsed % 1_000_000)
}

/// Adds a line.
pub fn note(who: &str, what: impl Display) {
    let disk: String = match TELLS_DISKS.load(Relaxed) {
        true => DISKS.with(|watched| watched.borrow().iter().map(digest_of).collect()),
        false => String::new(),
    };
    let line = format!("{} {who} {what}{disk}", stamp());
    eprintln!("{line}");
    LINES.lock().unwrap_or_else(PoisonError::into_inner).push(line);
}

/// The number of changes and reads so far, and a digest of the last changes.
fn digest_of(disk: &SimDisk) -> String {
    let log = Digest::of(Algorithm::Sha256, disk.log().join("\n").as_bytes()).hex();
    format!(" | disk {} {} {}", disk.operation_count(), disk.read_count(), &log[..12])
}

/// All lines so far.
pub fn lines() -> Vec<String> {
    LINES.lock().unwrap_or_else(PoisonError::into_inner).clone()
}
