//! Stopping: stop accepting, let running work end under a deadline, say which it was.
//!
//! The first signal asks for a stop: listeners close, readiness turns off, requests go on. The
//! second, or the deadline, ends what is left. [`Shutdown`] carries the request to every part,
//! [`Drain`] counts what still runs.

use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// The request to stop. Cheap to clone; all clones are one.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    requested: CancellationToken,
    now: CancellationToken,
}

impl Shutdown {
    /// A request that nobody has made.
    pub fn new() -> Self {
        Self::default()
    }

    /// A request that SIGTERM or SIGINT makes; a second one asks to stop at once. Must be called
    /// within the runtime.
    ///
    /// # Errors
    /// When the system refuses to hand over its signals.
    pub fn on_signals() -> std::io::Result<Self> {
        let shutdown = Self::new();
        let mut signals = Signals::listen()?;
        let handle = shutdown.clone();
        tokio::spawn(async move {
            let signal = signals.next().await;
            info!(signal, "stopping");
            handle.request();
            let signal = signals.next().await;
            warn!(signal, "stopping at once");
            handle.request_now();
        });
        Ok(shutdown)
    }

    /// Asks to stop.
    pub fn request(&self) {
        self.requested.cancel();
    }

    /// Asks to stop without waiting for anything.
    pub fn request_now(&self) {
        self.requested.cancel();
        self.now.cancel();
    }

    /// Has a stop been asked for?
    pub fn is_requested(&self) -> bool {
        self.requested.is_cancelled()
    }

    /// Ends when a stop is asked for. May be dropped at any time.
    pub async fn requested(&self) {
        self.requested.cancelled().await;
    }

    /// Ends when nothing is to be waited for any more. May be dropped at any time.
    pub async fn requested_now(&self) {
        self.now.cancelled().await;
    }
}

/// Counts work that a stop waits for: connections, mostly. Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub struct Drain {
    running: watch::Sender<usize>,
}

/// Work that a stop waits for, until it is dropped.
#[derive(Debug)]
pub struct Running(watch::Sender<usize>);

/// How a drain ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// Everything came to its end.
    Whole,
    /// This much was still running.
    CutOff {
        /// How much.
        left: usize,
    },
}

impl Default for Drain {
    fn default() -> Self {
        Self { running: watch::Sender::new(0) }
    }
}

impl Drain {
    /// Nothing runs yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts a piece of work until the answer is dropped.
    pub fn track(&self) -> Running {
        self.running.send_modify(|running| *running += 1);
        Running(self.running.clone())
    }

    /// How much runs.
    pub fn running(&self) -> usize {
        *self.running.borrow()
    }

    /// Waits until nothing runs, `deadline` has passed, or the stop is wanted at once, and logs
    /// which it was. What is left is the caller's to end.
    pub async fn wait(&self, deadline: Duration, shutdown: &Shutdown) -> Drained {
        let mut running = self.running.subscribe();
        let begun_with = self.running();
        tokio::select! {
            biased;
            // The sender lives in `self`, so the wait cannot fail.
            _ = running.wait_for(|running| *running == 0) => {}
            () = shutdown.requested_now() => {}
            () = tokio::time::sleep(deadline) => {}
        }
        match self.running() {
            0 => {
                info!(connections = begun_with, "drained");
                Drained::Whole
            }
            left => {
                warn!(connections = begun_with, left, ?deadline, "drain cut off");
                Drained::CutOff { left }
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.send_modify(|running| *running -= 1);
    }
}

#[cfg(not(madsim))]
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

#[cfg(not(madsim))]
impl Signals {
    fn listen() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            biased;
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// The simulator has one signal.
#[cfg(madsim)]
struct Signals;

#[cfg(madsim)]
impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) -> &'static str {
        let _ = tokio::signal::ctrl_c().await;
        "SIGINT"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(20);
    const LONG: Duration = Duration::from_secs(3600);

    #[tokio::test]
    async fn a_drain_ends_with_the_last_piece_of_work() {
        let (drain, shutdown) = (Drain::new(), Shutdown::new());
        assert_eq!(drain.wait(LONG, &shutdown).await, Drained::Whole, "nothing runs");

        let (one, two) = (drain.track(), drain.track());
        assert_eq!(drain.running(), 2);
        let waiting = tokio::spawn({
            let drain = drain.clone();
            async move { drain.wait(LONG, &shutdown).await }
        });
        drop(one);
        tokio::time::sleep(SHORT).await;
        assert!(!waiting.is_finished(), "one is left");
        drop(two);
        assert_eq!(waiting.await.expect("no panic"), Drained::Whole);
    }

    #[tokio::test]
    async fn a_drain_ends_at_its_deadline_and_says_what_is_left() {
        let (drain, shutdown) = (Drain::new(), Shutdown::new());
        let _running = drain.track();
        assert_eq!(drain.wait(SHORT, &shutdown).await, Drained::CutOff { left: 1 });
    }

    #[tokio::test]
    async fn the_second_request_ends_a_drain() {
        let (drain, shutdown) = (Drain::new(), Shutdown::new());
        let _running = drain.track();
        shutdown.request();
        assert!(shutdown.is_requested());
        shutdown.requested().await;
        shutdown.request_now();
        assert_eq!(drain.wait(LONG, &shutdown).await, Drained::CutOff { left: 1 });
    }
}
