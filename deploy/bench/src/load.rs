//! One cell of the table: one operation, so many connections, for so long, against one server.
//!
//! A closed loop: every connection sends its next request when the last answer is complete. Each
//! thread has its own single-threaded runtime and its share of the connections, and shares nothing
//! with the other until the end. The window opens when every connection stands and (for reads) has
//! been busy for a moment. An answer that is not exactly right voids the cell.

use crate::{
    content::{Template, format_digest},
    histogram::Histogram,
    http1::Connection,
    procfs,
};
use anyhow::Context;
use sha2::{Digest, Sha256};
use std::{
    cell::RefCell,
    net::SocketAddr,
    rc::Rc,
    sync::{Barrier, OnceLock},
    time::{Duration, Instant},
};
use tokio::task::LocalSet;

/// Reads are already under way for this long when the window opens.
const WARM_UP: Duration = Duration::from_millis(300);
/// Every so-manieth answer of a connection is hashed in full inside the window. Before and after
/// the window one always is.
const HASHED_EVERY: u64 = 64;
/// Pushes that are under way when the window closes may take this long to be answered.
const PUSH_TAIL_MAX: Duration = Duration::from_secs(120);
/// Pushed bodies that are read back and hashed after the window.
const PUSHES_READ_BACK: usize = 4;

/// What each connection does over and over.
#[derive(Clone)]
pub enum Operation {
    /// GET of one path.
    Get(Object),
    /// POST, then PUT of a fresh body with its digest.
    Push {
        /// Repository pushed to.
        repository: String,
        /// What the bodies are made from.
        template: Template,
    },
}

/// Something a server holds.
#[derive(Clone)]
pub struct Object {
    /// Absolute path.
    pub path: String,
    /// Length, bytes.
    pub size: u64,
    /// `sha256:<hex>` of its bytes.
    pub digest: String,
}

/// How hard and how long.
#[derive(Clone, Copy)]
pub struct Setting {
    /// Connections open at once.
    pub connections: usize,
    /// Generator threads (at most one per connection is used).
    pub threads: usize,
    /// Length of the window.
    pub window: Duration,
}

/// What came of a cell.
pub struct Outcome {
    /// Seconds that the counts below cover.
    pub seconds: f64,
    /// Operations completed.
    pub operations: u64,
    /// Body bytes moved.
    pub bytes: u64,
    /// Time of each completed operation.
    pub latency: Histogram,
    /// Processor seconds the server's process tree used.
    pub cpu_seconds: f64,
    /// High-water mark of its resident memory, bytes.
    pub peak_bytes: u64,
}

#[derive(Clone, Copy)]
struct Window {
    start: Instant,
    end: Instant,
}

impl Window {
    fn contains(&self, instant: Instant) -> bool {
        (self.start..self.end).contains(&instant)
    }
}

/// What one thread saw.
#[derive(Default)]
struct Tally {
    bytes: u64,
    latency: Histogram,
    last_done: Option<Instant>,
    pushed: Vec<Object>,
    error: Option<anyhow::Error>,
}

/// Runs one cell against the server at `address` whose process tree starts at `pid`.
///
/// # Errors
/// A connection that fails, an answer that is not exactly right, a server that ends.
pub fn run(
    address: SocketAddr,
    pid: u32,
    operation: &Operation,
    setting: Setting,
) -> anyhow::Result<Outcome> {
    if let Operation::Get(object) = operation {
        verify(address, std::slice::from_ref(object)).context("before the window")?;
    }
    let threads = setting.threads.clamp(1, setting.connections);
    let barrier = Barrier::new(threads + 1);
    let window = OnceLock::new();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|index| {
                // The connections are dealt out as evenly as they go.
                let share = (setting.connections + threads - 1 - index) / threads;
                let (barrier, window) = (&barrier, &window);
                scope.spawn(move || drive(address, operation, index, share, barrier, window))
            })
            .collect();
        barrier.wait();
        procfs::reset_peak(pid);
        let warm_up = match operation {
            Operation::Get(_) => WARM_UP,
            Operation::Push { .. } => Duration::ZERO,
        };
        let start = Instant::now() + warm_up;
        let span = *window.get_or_init(|| Window { start, end: start + setting.window });
        barrier.wait();
        sleep_until(span.start);
        let before = procfs::usage(pid)?;
        if matches!(operation, Operation::Get(_)) {
            sleep_until(span.end);
        }
        let mut after = procfs::usage(pid)?;
        let tallies: Vec<Tally> = workers
            .into_iter()
            .map(|worker| worker.join().map_err(|_| anyhow::anyhow!("a load thread panicked")))
            .collect::<Result<_, _>>()?;
        if matches!(operation, Operation::Push { .. }) {
            after = procfs::usage(pid)?;
        }
        let tally = merge(tallies)?;
        let seconds = match operation {
            Operation::Get(object) => {
                verify(address, std::slice::from_ref(object)).context("after the window")?;
                setting.window.as_secs_f64()
            }
            Operation::Push { .. } => {
                verify(address, &tally.pushed).context("read back what was pushed")?;
                let done = tally.last_done.context("no push was completed")?;
                done.duration_since(span.start).as_secs_f64()
            }
        };
        Ok(Outcome {
            seconds,
            operations: tally.latency.count(),
            bytes: tally.bytes,
            latency: tally.latency,
            cpu_seconds: after.cpu_seconds - before.cpu_seconds,
            peak_bytes: after.peak_bytes,
        })
    })
}

fn sleep_until(instant: Instant) {
    std::thread::sleep(instant.saturating_duration_since(Instant::now()));
}

fn merge(tallies: Vec<Tally>) -> anyhow::Result<Tally> {
    let mut sum = Tally::default();
    for mut tally in tallies {
        if let Some(error) = tally.error.take() {
            return Err(error);
        }
        sum.bytes += tally.bytes;
        sum.latency.merge(&tally.latency);
        sum.last_done = sum.last_done.max(tally.last_done);
        sum.pushed.append(&mut tally.pushed);
    }
    sum.pushed.truncate(PUSHES_READ_BACK);
    Ok(sum)
}

/// One thread: connects its share, waits for the others, works until the window closes.
fn drive(
    address: SocketAddr,
    operation: &Operation,
    thread: usize,
    share: usize,
    barrier: &Barrier,
    window: &OnceLock<Window>,
) -> Tally {
    let opened = runtime().and_then(|runtime| {
        let connections = runtime.block_on(open_all(address, share))?;
        Ok((runtime, connections))
    });
    // The others wait at the barrier also for a thread that failed.
    barrier.wait();
    barrier.wait();
    let failed = |error| Tally { error: Some(error), ..Tally::default() };
    let (runtime, connections) = match opened {
        Ok(opened) => opened,
        Err(error) => return failed(error),
    };
    let Some(window) = window.get().copied() else {
        return failed(anyhow::anyhow!("no window was set"));
    };
    let tally = Rc::new(RefCell::new(Tally::default()));
    let set = LocalSet::new();
    for (index, connection) in connections.into_iter().enumerate() {
        let worker = (thread as u64) << 32 | index as u64;
        let work = work(connection, operation.clone(), window, worker, tally.clone());
        set.spawn_local(async move {
            if let Err((tally, error)) = work.await {
                tally.borrow_mut().error.get_or_insert(error);
            }
        });
    }
    runtime.block_on(set);
    Rc::into_inner(tally).map_or_else(
        || failed(anyhow::anyhow!("a connection outlived its cell")),
        RefCell::into_inner,
    )
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("start a runtime")
}

async fn open_all(address: SocketAddr, count: usize) -> anyhow::Result<Vec<Connection>> {
    let mut connections = Vec::with_capacity(count);
    for _ in 0..count {
        connections.push(Connection::open(address).await.context("connect")?);
    }
    Ok(connections)
}

type SharedTally = Rc<RefCell<Tally>>;

async fn work(
    connection: Connection,
    operation: Operation,
    window: Window,
    worker: u64,
    tally: SharedTally,
) -> Result<(), (SharedTally, anyhow::Error)> {
    let done = match operation {
        Operation::Get(object) => {
            let end = tokio::time::Instant::from_std(window.end);
            let gets = get_until(connection, &object, window, &tally);
            // What is under way at the end is dropped; its bytes so far are counted.
            tokio::time::timeout_at(end, gets).await.unwrap_or(Ok(()))
        }
        Operation::Push { repository, template } => {
            let pushes = push_until(connection, &repository, &template, window, worker, &tally);
            let end = tokio::time::Instant::from_std(window.end + PUSH_TAIL_MAX);
            match tokio::time::timeout_at(end, pushes).await {
                Ok(done) => done,
                Err(_) => Err(anyhow::anyhow!("a push had no answer after {PUSH_TAIL_MAX:?}")),
            }
        }
    };
    done.map_err(|error| (tally, error))
}

async fn get_until(
    mut connection: Connection,
    object: &Object,
    window: Window,
    tally: &RefCell<Tally>,
) -> anyhow::Result<()> {
    let request = get_request(&object.path);
    for sequence in 1.. {
        let began = Instant::now();
        if began >= window.end {
            break;
        }
        let mut hasher = (sequence % HASHED_EVERY == 0).then(Sha256::new);
        connection.send(&[request.as_bytes()]).await?;
        let head = connection
            .receive(|piece| {
                if let Some(hasher) = &mut hasher {
                    hasher.update(piece);
                }
                if window.contains(Instant::now()) {
                    tally.borrow_mut().bytes += piece.len() as u64;
                }
            })
            .await?;
        check_get(head.status, head.content_length, hasher, object)?;
        let now = Instant::now();
        if window.contains(now) {
            tally.borrow_mut().latency.record(now - began);
        }
    }
    Ok(())
}

async fn push_until(
    mut connection: Connection,
    repository: &str,
    template: &Template,
    window: Window,
    worker: u64,
    tally: &RefCell<Tally>,
) -> anyhow::Result<()> {
    let mut last = None;
    for sequence in 0.. {
        let began = Instant::now();
        if began >= window.end {
            break;
        }
        let object = push(&mut connection, repository, template, (worker, sequence)).await?;
        let now = Instant::now();
        let mut tally = tally.borrow_mut();
        tally.bytes += template.size();
        tally.latency.record(now - began);
        tally.last_done = Some(now);
        last = Some(object);
    }
    tally.borrow_mut().pushed.extend(last);
    Ok(())
}

/// Pushes the body numbered `number` of `template`: POST, then PUT with its digest.
///
/// # Errors
/// Any answer but 202 and 201, a missing Location, a broken connection.
pub async fn push(
    connection: &mut Connection,
    repository: &str,
    template: &Template,
    number: (u64, u64),
) -> anyhow::Result<Object> {
    let post = format!(
        "POST /v2/{repository}/blobs/uploads/ HTTP/1.1\r\nHost: bench\r\nContent-Length: 0\r\n\r\n"
    );
    connection.send(&[post.as_bytes()]).await?;
    let opened = connection.receive(|_| {}).await?;
    anyhow::ensure!(opened.status == 202, "POST was answered {}", opened.status);
    let location = opened.location.context("202 without a Location")?;
    let fresh = template.fresh(number.0, number.1);
    let target = path_of(&location);
    let separator = if target.contains('?') { '&' } else { '?' };
    let put = format!(
        "PUT {target}{separator}digest={} HTTP/1.1\r\nHost: bench\r\nContent-Length: {}\r\n\
         Content-Type: application/octet-stream\r\n\r\n",
        fresh.digest,
        template.size()
    );
    connection.send(&[put.as_bytes(), template.block(), &fresh.suffix]).await?;
    let closed = connection.receive(|_| {}).await?;
    anyhow::ensure!(closed.status == 201, "PUT was answered {}", closed.status);
    let path = format!("/v2/{repository}/blobs/{}", fresh.digest);
    Ok(Object { path, size: template.size(), digest: fresh.digest })
}

/// The path and query of a Location that may be absolute.
fn path_of(location: &str) -> &str {
    let after_scheme = location.split_once("://").map_or(location, |(_, rest)| rest);
    after_scheme.find('/').map_or("/", |at| &after_scheme[at..])
}

/// The bytes of a GET.
pub fn get_request(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n")
}

fn check_get(
    status: u16,
    length: u64,
    hasher: Option<Sha256>,
    object: &Object,
) -> anyhow::Result<()> {
    anyhow::ensure!(status == 200, "GET was answered {status}");
    let size = object.size;
    anyhow::ensure!(length == size, "GET has Content-Length {length}, not {size}");
    if let Some(hasher) = hasher {
        let found = format_digest(hasher);
        anyhow::ensure!(found == object.digest, "GET of {} gave {found}", object.digest);
    }
    Ok(())
}

/// GETs every object once over one connection and compares its digest.
///
/// # Errors
/// The first object whose answer is not exactly right.
pub fn verify(address: SocketAddr, objects: &[Object]) -> anyhow::Result<()> {
    runtime()?.block_on(async {
        let mut connection = Connection::open(address).await?;
        for object in objects {
            let mut hasher = Sha256::new();
            connection.send(&[get_request(&object.path).as_bytes()]).await?;
            let head = connection.receive(|piece| hasher.update(piece)).await?;
            check_get(head.status, head.content_length, Some(hasher), object)?;
        }
        Ok(())
    })
}

/// Pushes the first body of `template` to a server, outside any window.
///
/// # Errors
/// As [`push`].
pub fn push_one(
    address: SocketAddr,
    repository: &str,
    template: &Template,
) -> anyhow::Result<Object> {
    runtime()?.block_on(async {
        let mut connection = Connection::open(address).await?;
        push(&mut connection, repository, template, (u64::MAX, 0)).await
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_are_followed_absolute_or_relative() {
        assert_eq!(path_of("http://127.0.0.1:5000/v2/a?b=c"), "/v2/a?b=c");
        assert_eq!(path_of("/v2/a/blobs/uploads/u"), "/v2/a/blobs/uploads/u");
        assert_eq!(path_of("http://host"), "/");
    }

    #[test]
    fn a_wrong_answer_never_counts() {
        let digest = format_digest(Sha256::new_with_prefix(b"right"));
        let object = Object { path: "/".into(), size: 5, digest };
        assert!(check_get(200, 5, Some(Sha256::new_with_prefix(b"right")), &object).is_ok());
        assert!(check_get(200, 5, Some(Sha256::new_with_prefix(b"wrong")), &object).is_err());
        assert!(check_get(200, 4, None, &object).is_err());
        assert!(check_get(206, 5, None, &object).is_err());
    }
}
