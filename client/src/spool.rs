//! Where content waits until it is verified: a file without a name, or memory.
//!
//! The simulator takes [`MemorySpool`]; so does whoever has no disk to write to.

use std::{
    fmt,
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

/// Makes files that nobody else sees.
pub trait Spool: fmt::Debug + Send + Sync {
    /// A new, empty one.
    ///
    /// # Errors
    /// Those of the operating system.
    fn create(&self) -> io::Result<Arc<dyn SpoolFile>>;
}

/// Content on its way. The calls may block: they are made away from the reactor.
pub trait SpoolFile: fmt::Debug + Send + Sync {
    /// Writes all of `bytes` at `offset`.
    ///
    /// # Errors
    /// Those of the operating system.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Reads some bytes at `offset`; 0 at the end.
    ///
    /// # Errors
    /// Those of the operating system.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;
}

/// Files in a folder, unlinked as soon as they are open.
#[derive(Clone, Debug)]
pub struct DirSpool(pub PathBuf);

impl Spool for DirSpool {
    #[allow(clippy::disallowed_methods, reason = "this is the client's door to files")]
    fn create(&self) -> io::Result<Arc<dyn SpoolFile>> {
        use std::{
            fs::OpenOptions,
            sync::atomic::{AtomicU64, Ordering},
        };
        static NEXT: AtomicU64 = AtomicU64::new(0);
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let name = format!(".atoll-{}-{number}", std::process::id());
            let path = self.0.join(name);
            let opened = OpenOptions::new().read(true).write(true).create_new(true).open(&path);
            match opened {
                Ok(file) => {
                    std::fs::remove_file(&path)?;
                    return Ok(Arc::new(DiskFile(file)));
                }
                // Left behind by a process with our number that died between the two calls.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }
}

#[derive(Debug)]
pub(crate) struct DiskFile(File);

impl DiskFile {
    /// A file to read, and its length.
    #[allow(clippy::disallowed_methods, reason = "this is the client's door to files")]
    pub(crate) fn open(path: &Path) -> io::Result<(DiskFile, u64)> {
        let file = File::open(path)?;
        let len = file.metadata()?.len();
        Ok((DiskFile(file), len))
    }
}

impl SpoolFile for DiskFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.0.read_at(buffer, offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => return read,
            }
        }
    }
}

/// Memory.
#[derive(Clone, Copy, Debug, Default)]
pub struct MemorySpool;

impl Spool for MemorySpool {
    fn create(&self) -> io::Result<Arc<dyn SpoolFile>> {
        Ok(Arc::new(MemoryFile::default()))
    }
}

#[derive(Default)]
struct MemoryFile(Mutex<Vec<u8>>);

impl fmt::Debug for MemoryFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemoryFile")
    }
}

impl SpoolFile for MemoryFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut content = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let too_long = || io::Error::from(io::ErrorKind::OutOfMemory);
        let start = usize::try_from(offset).map_err(|_| too_long())?;
        let end = start.checked_add(bytes.len()).ok_or_else(too_long)?;
        if content.len() < end {
            content.resize(end, 0);
        }
        content[start..end].copy_from_slice(bytes);
        Ok(())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let content = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(content.len());
        let read = buffer.len().min(content.len() - start);
        buffer[..read].copy_from_slice(&content[start..start + read]);
        Ok(read)
    }
}

/// Runs blocking work away from the reactor; inline in the simulator, which has one thread.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    #[cfg(madsim)]
    return Ok(work());
    #[cfg(not(madsim))]
    {
        #[allow(clippy::disallowed_methods, reason = "this is the client's door")]
        let done = tokio::task::spawn_blocking(work).await;
        done.map_err(io::Error::other)
    }
}
