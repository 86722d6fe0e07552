//! The agent's doors to the machine: sockets, time, blocking work.
//!
//! The agent is never simulated; it is a shell around the library, which is. So these doors lead
//! straight out, and they are all here and in `cache/disk.rs` and `install/files.rs`.
#![allow(clippy::disallowed_methods, reason = "the agent is never simulated")]

use std::{io, net::SocketAddr, path::Path, sync::Mutex, time::Duration};

use tokio::net::{TcpListener, TcpStream, UnixStream};
pub use tokio::time::Instant;

/// Now.
pub fn now() -> Instant {
    Instant::now()
}

/// Seconds since 1970.
pub fn unix_seconds() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// Where callers come in.
pub type Listener = TcpListener;
/// One caller, or one node.
pub type Stream = TcpStream;

/// Listens.
pub async fn listen(address: SocketAddr) -> io::Result<Listener> {
    TcpListener::bind(address).await
}

/// Connects to `host:port` within `limit`.
pub async fn dial(address: &str, limit: Duration) -> io::Result<Stream> {
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

/// Connects to a socket of this machine.
pub async fn dial_local(path: &Path) -> io::Result<UnixStream> {
    UnixStream::connect(path).await
}

/// Reads a file; `None` when there is none.
pub fn read_file(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Can files be made in this folder, or in the nearest one above it that exists?
pub fn is_writable(folder: &Path) -> io::Result<()> {
    let exists = folder.ancestors().find(|folder| folder.is_dir()).unwrap_or(folder);
    let probe = exists.join(".atoll-agent-doctor");
    std::fs::write(&probe, b"")?;
    std::fs::remove_file(&probe)
}
