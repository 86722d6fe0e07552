//! The request to stop, from the signals of the process to every part of the node.
//!
//! The first signal asks for a stop: readiness turns off, listeners close, what runs may end under
//! a deadline. The second asks not to wait for anything; what was acknowledged is durable anyway.

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

    /// Has a stop without waiting been asked for?
    pub fn is_requested_now(&self) -> bool {
        self.now.is_cancelled()
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

    #[tokio::test]
    async fn every_part_hears_the_request_and_the_second_one() {
        let shutdown = Shutdown::new();
        let heard = tokio::spawn({
            let shutdown = shutdown.clone();
            async move {
                shutdown.requested().await;
                let early = shutdown.is_requested_now();
                shutdown.requested_now().await;
                early
            }
        });
        assert!(!shutdown.is_requested());
        shutdown.request();
        assert!(shutdown.is_requested());
        tokio::task::yield_now().await;
        assert!(!heard.is_finished(), "one request leaves time to end");
        shutdown.request_now();
        assert!(!heard.await.expect("no panic"), "the first request is not the second");
    }

    #[tokio::test]
    async fn a_request_to_stop_at_once_is_a_request_to_stop() {
        let shutdown = Shutdown::new();
        shutdown.request_now();
        shutdown.requested().await;
    }
}
