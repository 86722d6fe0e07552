//! Threads for connections: each runs its own reactor and keeps what it is given.
//!
//! A work-stealing runtime moves a request between threads at will, and wakes a second thread for
//! every event that reaches the first. For requests that take ten microseconds that costs more than
//! the work, so a connection lives on one thread from its first byte to its last. Blocking work and
//! everything that is not a connection stays elsewhere.
//!
//! In simulation there is one thread and no choice.

#[cfg(not(madsim))]
pub use real::Workers;
#[cfg(madsim)]
pub use sim::Workers;

use std::{future::Future, pin::Pin};

/// What a worker runs: made on its own thread, so that its sockets join that thread's reactor.
type Job = Box<dyn FnOnce() -> Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

fn job<F, Fut>(make: F) -> Job
where
    F: FnOnce() -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    Box::new(move || Box::pin(make()))
}

#[cfg(not(madsim))]
mod real {
    use std::{
        io,
        sync::atomic::{AtomicUsize, Ordering::Relaxed},
    };

    use tokio::sync::mpsc;

    use super::{Future, Job, job};

    /// A set of threads. They end when this is dropped, and what still runs on them with it.
    #[derive(Debug)]
    pub struct Workers {
        threads: Vec<mpsc::UnboundedSender<Job>>,
        next: AtomicUsize,
    }

    impl Workers {
        /// Starts `count` threads, at least one.
        ///
        /// # Errors
        /// The system gives no more threads or file descriptors.
        pub fn start(count: usize) -> io::Result<Workers> {
            let threads = (0..count.max(1)).map(start_thread).collect::<io::Result<_>>()?;
            Ok(Workers { threads, next: AtomicUsize::new(0) })
        }

        /// Runs what `make` makes, on the thread whose turn it is.
        pub fn spawn<F, Fut>(&self, make: F)
        where
            F: FnOnce() -> Fut + Send + 'static,
            Fut: Future<Output = ()> + Send + 'static,
        {
            let turn = self.next.fetch_add(1, Relaxed) % self.threads.len();
            // A thread that is gone panicked, which it said; its turn is lost with it.
            let _ = self.threads[turn].send(job(make));
        }
    }

    #[allow(clippy::disallowed_methods, reason = "threads of the real side")]
    fn start_thread(index: usize) -> io::Result<mpsc::UnboundedSender<Job>> {
        // Bounded by the number of connections, which the listener bounds.
        let (send, mut receive) = mpsc::unbounded_channel::<Job>();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let run = move || {
            runtime.block_on(async move {
                while let Some(job) = receive.recv().await {
                    tokio::spawn(job());
                }
            });
            runtime.shutdown_background();
        };
        std::thread::Builder::new().name(format!("connections-{index}")).spawn(run)?;
        Ok(send)
    }
}

#[cfg(madsim)]
mod sim {
    use std::io;

    use super::{Future, job};

    /// The simulation's only thread.
    #[derive(Debug)]
    pub struct Workers;

    impl Workers {
        /// Starts nothing.
        ///
        /// # Errors
        /// None.
        pub fn start(_count: usize) -> io::Result<Workers> {
            Ok(Workers)
        }

        /// Runs what `make` makes.
        pub fn spawn<F, Fut>(&self, make: F)
        where
            F: FnOnce() -> Fut + Send + 'static,
            Fut: Future<Output = ()> + Send + 'static,
        {
            tokio::spawn(job(make)());
        }
    }
}
