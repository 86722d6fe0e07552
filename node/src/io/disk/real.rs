//! The real disk: `std::fs` below one folder.
//!
//! One process owns a data folder. Two nodes writing one folder would destroy it in silence, so
//! opening takes an advisory lock on the file `LOCK` at its top, which the kernel releases when
//! the process ends, however it ends. That file belongs to this module and is not listed.
//!
//! What the node creates is for its own user: among it are private keys, and blobs that a client may
//! see only with leave. Folders and files get no rights for group and others; a data folder that
//! exists already keeps what its owner gave it.
//!
//! This is the only file of the node that names `std::fs`.

#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "this is the door")]

use std::{
    ffi::OsString,
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    os::{
        fd::AsRawFd,
        unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::fs::{FlockOperation, flock, fstatvfs};

use super::{DirEntry, Disk, DiskFile, LOCK_NAME, Space, checked, checked_entry};

/// Rights of new files: for the owner.
const FILE_MODE: u32 = 0o600;

/// Rights of new folders: likewise.
const FOLDER_MODE: u32 = 0o700;

/// A folder of the machine's file system, owned by this process.
#[derive(Debug)]
pub struct RealDisk {
    root: PathBuf,
    /// Holds the lock as long as the disk lives.
    lock: File,
}

/// Somebody else owns the data folder.
#[derive(Debug, thiserror::Error)]
#[error("data folder {} is in use by another process ({holder})", root.display())]
pub struct FolderInUse {
    /// The folder.
    pub root: PathBuf,
    /// What the lock file says about its holder.
    pub holder: String,
}

impl RealDisk {
    /// Opens `root`, creating it and its parents when missing, and takes its lock.
    ///
    /// # Errors
    /// [`FolderInUse`] inside an [`io::Error`] of kind `ResourceBusy` when another process owns
    /// the folder; whatever the operating system says otherwise.
    pub fn open(root: &Path) -> io::Result<RealDisk> {
        let created = DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(root);
        created.map_err(|error| named("create data folder", root, &error))?;
        let root = root.canonicalize().map_err(|error| named("open data folder", root, &error))?;
        let lock = lock_folder(&root)?;
        Ok(RealDisk { root, lock })
    }

    /// The folder, absolute.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn at(&self, path: &Path) -> io::Result<PathBuf> {
        Ok(self.root.join(checked(path)?))
    }

    fn at_entry(&self, path: &Path) -> io::Result<PathBuf> {
        Ok(self.root.join(checked_entry(path)?))
    }
}

/// Takes the lock without waiting and leaves the process id in it for whoever comes second.
fn lock_folder(root: &Path) -> io::Result<File> {
    let path = root.join(LOCK_NAME);
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(FILE_MODE)
        .open(&path)
        .map_err(|error| named("open lock file", &path, &error))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let holder = fs::read_to_string(&path).unwrap_or_default();
            let holder = match holder.trim() {
                "" => "its process id is not recorded".to_owned(),
                pid => format!("process {pid}"),
            };
            let busy = FolderInUse { root: root.to_owned(), holder };
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, busy));
        }
        Err(error) => return Err(named("lock", &path, &error.into())),
    }
    file.set_len(0)?;
    file.write_all_at(format!("{}\n", std::process::id()).as_bytes(), 0)?;
    Ok(file)
}

/// An error that names what was tried and where; the kind stays.
fn named(action: &str, path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{action} {}: {error}", path.display()))
}

impl Disk for RealDisk {
    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let path = self.at_entry(path)?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(FILE_MODE)
            .open(path)?;
        Ok(Arc::new(RealFile(file)))
    }

    fn open_read(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let file = File::open(self.at_entry(path)?)?;
        // Opening a folder for reading is no error for the operating system; here it is.
        if file.metadata()?.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        Ok(Arc::new(RealFile(file)))
    }

    fn open_write(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let file = OpenOptions::new().read(true).write(true).open(self.at_entry(path)?)?;
        Ok(Arc::new(RealFile(file)))
    }

    fn file_len(&self, path: &Path) -> io::Result<u64> {
        let metadata = fs::metadata(self.at_entry(path)?)?;
        if metadata.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        Ok(metadata.len())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(self.at_entry(from)?, self.at_entry(to)?)
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(self.at_entry(path)?)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        DirBuilder::new().mode(FOLDER_MODE).create(self.at_entry(path)?)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir(self.at_entry(path)?)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let folder = self.at(path)?;
        let mut entries = Vec::new();
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let name = entry.file_name().into_string().map_err(not_text)?;
            if folder == self.root && name == LOCK_NAME {
                continue;
            }
            entries.push(DirEntry { name, is_dir: entry.file_type()?.is_dir() });
        }
        entries.sort_unstable();
        Ok(entries)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let folder = File::open(self.at(path)?)?;
        if !folder.metadata()?.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        folder.sync_all()
    }

    fn space(&self) -> io::Result<Space> {
        let stat = fstatvfs(&self.lock)?;
        Ok(Space {
            total: stat.f_blocks.saturating_mul(stat.f_frsize),
            available: stat.f_bavail.saturating_mul(stat.f_frsize),
        })
    }
}

/// Atoll writes names in ASCII only, so such a name is a stranger's.
fn not_text(name: OsString) -> io::Error {
    let message = format!("file name {name:?} in the data folder is not UTF-8");
    io::Error::new(io::ErrorKind::InvalidData, message)
}

/// An open file of the machine's file system.
#[derive(Debug)]
struct RealFile(File);

impl DiskFile for RealFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.0.read_at(&mut buffer[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    /// `fdatasync`: it writes the data and all metadata needed to read it back, the length among
    /// them; what it leaves out are time stamps, which nothing here reads.
    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn start_write_back(&self, offset: u64, len: u64) {
        let (Ok(offset), Ok(len)) = (offset.try_into(), len.try_into()) else { return };
        // SAFETY: the descriptor is open as long as `self`, and no memory is passed. The answer is
        // of no use: only a later sync tells whether bytes reached the device.
        unsafe {
            libc::sync_file_range(self.0.as_raw_fd(), offset, len, libc::SYNC_FILE_RANGE_WRITE);
        }
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_owner_is_turned_away_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let first = RealDisk::open(folder.path()).unwrap();
        let error = RealDisk::open(folder.path()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ResourceBusy);
        let text = error.to_string();
        assert!(text.contains(&first.root().display().to_string()), "{text}");
        assert!(text.contains(&std::process::id().to_string()), "{text}");
        drop(first);
        RealDisk::open(folder.path()).unwrap();
    }

    #[test]
    fn the_lock_file_is_neither_listed_nor_reachable() {
        let folder = tempfile::tempdir().unwrap();
        let disk = RealDisk::open(folder.path()).unwrap();
        assert_eq!(disk.list(Path::new("")).unwrap(), []);
        for path in ["LOCK", "./LOCK", ""] {
            let error = disk.unlink(Path::new(path)).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{path}");
        }
    }

    #[test]
    fn what_is_created_is_for_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt;

        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("data");
        let disk = RealDisk::open(&root).unwrap();
        disk.create_new(Path::new("file")).unwrap();
        disk.create_dir(Path::new("folder")).unwrap();
        for path in [root.clone(), root.join("LOCK"), root.join("file"), root.join("folder")] {
            let mode = fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0, "{}: {mode:o}", path.display());
        }
    }
}
