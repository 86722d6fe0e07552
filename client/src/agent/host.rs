//! The agent's doors to the machine: sockets, time, blocking work.
//!
//! The agent is never simulated; it is a shell around the library, which is. So these doors lead
//! straight out, and they are all here and in `cache/disk.rs` and `install/files.rs`.
#![allow(clippy::disallowed_methods, reason = "the agent is never simulated")]

use std::{io, net::SocketAddr, sync::Mutex, time::Duration};

use tokio::net::{TcpListener, TcpStream};
pub use tokio::time::Instant;

/// Now.
pub fn now() -> Instant {
    Instant::now()
}

/// Seconds since 1970, for documents.
pub fn unix_seconds() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// Listens.
pub async fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Connects to `host:port` within `limit`.
pub async fn dial(address: &str, limit: Duration) -> io::Result<TcpStream> {
    let stream = tokio::time::timeout(limit, TcpStream::connect(address))
        .await
        .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "no connection in time"))??;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Runs work that blocks on the threads made for it.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|ended| Err(io::Error::other(ended)))
}

/// Takes a lock. State behind it is changed in single steps, so one that panicked left it whole.
pub fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
