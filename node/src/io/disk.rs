//! The disk: files below one data folder, with the durability rules of POSIX spelled out.
//!
//! The calls block. Asynchronous code runs them through [`crate::io::rt::blocking`], one closure
//! for a whole sequence of operations; redb calls them as they are. Paths are relative to the data
//! folder and may not leave it.
//!
//! What is durable when (the simulated side enforces every line):
//! - bytes of a file: after [`DiskFile::sync`] returned `Ok`;
//! - the existence or absence of a name (create, rename, unlink, create_dir, remove_dir): after
//!   [`Disk::sync_dir`] of the folder that holds the name returned `Ok`;
//! - after a failed sync nothing is known about the unsynced bytes, and a second sync that succeeds
//!   proves nothing (fsyncgate): the file must be given up.

pub mod real;
pub mod redb_backend;
pub mod sim;

use std::{
    fmt::Debug,
    io,
    path::{Component, Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// A folder on a disk.
pub trait Disk: Debug + Send + Sync + 'static {
    /// Creates an empty file that must not exist, open for reading and writing.
    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;

    /// Opens a file that must exist, for reading only.
    fn open_read(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;

    /// Opens a file that must exist, for reading and writing.
    fn open_write(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;

    /// Length of a file in bytes; `NotFound` when there is none.
    fn file_len(&self, path: &Path) -> io::Result<u64>;

    /// Renames a file or folder, replacing a file that is there. Atomic for every observer.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file's name. Open handles keep reading it.
    fn unlink(&self, path: &Path) -> io::Result<()>;

    /// Creates a folder; its parent must exist. `AlreadyExists` when there is one.
    fn create_dir(&self, path: &Path) -> io::Result<()>;

    /// Removes an empty folder.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;

    /// The entries of a folder, sorted by name.
    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>>;

    /// Makes the names in a folder durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;

    /// Room on the device.
    fn space(&self) -> io::Result<Space>;

    /// Takes the time that the calls since the last taking would have cost on a slow disk. Always
    /// zero on a real one, whose calls take their time themselves.
    fn take_stall(&self) -> Duration {
        Duration::ZERO
    }
}

/// An open file.
pub trait DiskFile: Debug + Send + Sync + 'static {
    /// Reads up to `buffer.len()` bytes at `offset`; fewer only at the end of the file.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes all of `bytes` at `offset`, growing the file as needed (a gap reads as zeros).
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Makes the content and length durable.
    fn sync(&self) -> io::Result<()>;

    /// Asks the system to begin writing `len` bytes at `offset` to the device, and does not wait for
    /// it. A hint: it makes nothing durable, and a write that fails is told by the next sync.
    fn start_write_back(&self, offset: u64, len: u64) {
        let _ = (offset, len);
    }

    /// Length in bytes.
    fn len(&self) -> io::Result<u64>;

    /// Is the file empty?
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Cuts the file or extends it with zeros.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Reads exactly `buffer.len()` bytes, or fails with `UnexpectedEof`.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        match self.read_at(buffer, offset)? {
            read if read == buffer.len() => Ok(()),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

/// One entry of a folder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DirEntry {
    /// The name within the folder.
    pub name: String,
    /// Is it a folder?
    pub is_dir: bool,
}

/// Room on a device, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Size of the device.
    pub total: u64,
    /// What may still be written.
    pub available: u64,
}

/// The file whose lock says that a process owns the folder. No call reaches it.
const LOCK_NAME: &str = "LOCK";

/// The path of an entry: [`checked`], and neither the data folder itself nor its lock file.
pub(crate) fn checked_entry(path: &Path) -> io::Result<PathBuf> {
    let relative = checked(path)?;
    if relative.as_os_str().is_empty() || relative == Path::new(LOCK_NAME) {
        let message = format!("`{}` names no entry of the data folder", path.display());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    Ok(relative)
}

/// The path without `.` components; the empty path is the data folder itself.
///
/// # Errors
/// `InvalidInput` for what could leave the data folder: absolute paths and `..`.
pub(crate) fn checked(path: &Path) -> io::Result<PathBuf> {
    let mut relative = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => relative.push(name),
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                let message = format!("`{}` leaves the data folder", path.display());
                return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
            }
        }
    }
    Ok(relative)
}

/// Creates `path` and every missing parent, each made durable in its own parent.
pub fn create_dir_all_durable(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    let mut at = PathBuf::new();
    for component in path.components() {
        let parent = at.clone();
        at.push(component);
        match disk.create_dir(&at) {
            Ok(()) => disk.sync_dir(&parent)?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Not there is as good as done.
pub(crate) fn if_there(outcome: io::Result<()>) -> io::Result<()> {
    match outcome {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Removes a file's name, if there is one.
pub(crate) fn unlink_if_there(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    if_there(disk.unlink(path))
}

/// Replaces a small file in one step: whoever reads it, also after a power cut, sees the old content
/// or the new one. Durable when it returns.
pub fn replace_durable(disk: &dyn Disk, path: &Path, content: &[u8]) -> io::Result<()> {
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(".new");
    let fresh = PathBuf::from(fresh);
    unlink_if_there(disk, &fresh)?;
    let file = disk.create_new(&fresh)?;
    file.write_at(content, 0)?;
    file.sync()?;
    disk.rename(&fresh, path)?;
    disk.sync_dir(path.parent().unwrap_or(Path::new("")))
}
