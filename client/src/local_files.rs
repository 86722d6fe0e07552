//! Files on the machine of the person who calls: read with a bound, written whole or not at all.
//!
//! What is written goes to a file beside its target first, is synced, and takes the name with one
//! rename: whoever looks sees the old content or the new one. The simulator has no such machine;
//! this is the library's only door to its disk.
#![allow(clippy::disallowed_methods, reason = "files of a person's machine, never simulated")]

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Seek as _, Write},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

/// An open file, for those who may not name the module that it comes from.
pub type LocalFile = File;

/// Tells the temporary files of one process apart.
static STAGED: AtomicU64 = AtomicU64::new(0);

/// How many names are tried for a temporary file. Only leftovers of a process with the same number
/// are in the way.
const NAMES_TRIED_MAX: u32 = 1000;

/// The content of a file of at most `bytes_max` bytes; `None` when there is no such file.
///
/// # Errors
/// It is longer, or cannot be read.
pub fn read(path: &Path, bytes_max: u64) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut content = Vec::new();
    file.take(bytes_max + 1).read_to_end(&mut content)?;
    if content.len() as u64 > bytes_max {
        let text = format!("it has more than {bytes_max} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    Ok(Some(content))
}

/// Opens a regular file; answers its length too.
///
/// # Errors
/// There is none, or it is no regular file: a pipe of that name could keep a reader for ever.
pub fn open(path: &Path) -> io::Result<(File, u64)> {
    let is_file = fs::metadata(path)?.is_file();
    if !is_file {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
    }
    let file = File::open(path)?;
    let size = file.metadata()?.len();
    Ok((file, size))
}

/// The length of a regular file; `None` when there is none.
pub fn size(path: &Path) -> Option<u64> {
    fs::metadata(path).ok().filter(fs::Metadata::is_file).map(|about| about.len())
}

/// Whether there is a folder of this name.
pub fn is_folder(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|about| about.is_dir())
}

/// Whether nothing is in a folder.
///
/// # Errors
/// It cannot be read.
pub fn is_empty_folder(path: &Path) -> io::Result<bool> {
    Ok(fs::read_dir(path)?.next().is_none())
}

/// Waits for this process's turn with a file; the turn ends when the answer is dropped.
///
/// # Errors
/// The file cannot be opened, or its disk knows no locks.
pub fn lock(path: &Path) -> io::Result<LocalFile> {
    let file = File::open(path)?;
    rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive)?;
    Ok(file)
}

/// Makes a folder and those above it.
///
/// # Errors
/// One of them cannot be made.
pub fn make_folder(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)
}

/// A file that is on no disk, for what another program is to read or write and nobody is to find.
///
/// # Errors
/// The kernel gives none.
pub fn in_memory(content: &[u8]) -> io::Result<File> {
    let flags = rustix::fs::MemfdFlags::CLOEXEC;
    let mut file = File::from(rustix::fs::memfd_create("atoll", flags)?);
    file.write_all(content)?;
    file.rewind()?;
    Ok(file)
}

/// A file that has no name yet that anybody looks for. Dropped, it leaves nothing behind.
#[derive(Debug)]
pub struct Staged {
    file: File,
    temporary: PathBuf,
    target: PathBuf,
}

impl Staged {
    /// Begins the file that will be `target`, with the access `mode`. Where `target` is a symbolic
    /// link, the file that it leads to is replaced, and the link stays.
    ///
    /// # Errors
    /// No file can be made in that folder.
    pub fn beside(target: &Path, mode: u32) -> io::Result<Staged> {
        let target = fs::canonicalize(target).unwrap_or_else(|_| target.to_path_buf());
        let name = target.file_name().unwrap_or_default().to_string_lossy().into_owned();
        for _ in 0..NAMES_TRIED_MAX {
            let number = STAGED.fetch_add(1, Ordering::Relaxed);
            let hidden = format!(".{name}.{}-{number}.part", std::process::id());
            let temporary = target.with_file_name(hidden);
            let mut options = OpenOptions::new();
            match options.write(true).create_new(true).mode(mode).open(&temporary) {
                Ok(file) => return Ok(Staged { file, temporary, target }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::new(io::ErrorKind::AlreadyExists, "too many temporary files are left there"))
    }

    /// Syncs the content and gives the file its name, in place of what had it.
    ///
    /// # Errors
    /// The disk failed; nothing has changed then.
    pub fn publish(self) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.temporary, &self.target)?;
        let folder = self.target.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }
}

impl Write for Staged {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // After a rename there is nothing of this name any more.
        let _ = fs::remove_file(&self.temporary);
    }
}

/// Writes a whole file as [`Staged`] does.
///
/// # Errors
/// As there.
pub fn write(target: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let mut staged = Staged::beside(target, mode)?;
    staged.write_all(content)?;
    staged.publish()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_file_appears_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("config.json");
        let mut staged = Staged::beside(&target, 0o600).unwrap();
        staged.write_all(b"half").unwrap();
        drop(staged);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);

        write(&target, b"whole", 0o600).unwrap();
        assert_eq!(read(&target, 5).unwrap().unwrap(), b"whole");
        assert_eq!(fs::metadata(&target).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(read(&target, 4).is_err());
        assert_eq!(read(&folder.path().join("other"), 4).unwrap(), None);
        assert!(open(folder.path()).is_err());
    }

    #[test]
    fn a_symbolic_link_stays_one() {
        let folder = tempfile::tempdir().unwrap();
        let (real, link) = (folder.path().join("real"), folder.path().join("link"));
        write(&real, b"old", 0o600).unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        write(&link, b"new", 0o600).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(read(&real, 9).unwrap().unwrap(), b"new");
    }
}
