//! The folder of the cache.
//!
//! ```text
//! LOCK                  held by the agent that uses the folder
//! blobs/<alg>/<hex>     content, by its digest; complete, for it came here by a rename
//! drafts/<n>            content that is being written; removed at every start
//! ```
//!
//! Nothing is synced: what a power cut took or tore is fetched again. A file that a crash left with
//! other bytes is found by its digest before it is used (see `cache`).
#![allow(clippy::disallowed_methods, reason = "the agent is never simulated")]

pub use std::fs::File;
use std::{
    fs::{self, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::SystemTime,
};

use atoll_core::{Algorithm, Digest};

/// Bytes that are read or hashed at once.
pub const PIECE_BYTES: usize = 256 << 10;

/// One folder, taken by this process.
#[derive(Debug)]
pub struct Disk {
    root: PathBuf,
    /// Its lock ends with it.
    _lock: File,
}

/// Content found at the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Found {
    /// When it was last published or verified.
    pub since: SystemTime,
    /// What the name says it is.
    pub digest: Digest,
    /// Its length in bytes.
    pub bytes: u64,
}

impl Disk {
    /// Takes the folder, makes it when it is missing, and throws unfinished drafts away.
    pub fn open(root: &Path) -> io::Result<Disk> {
        let private = |path: &Path| {
            // Layers of private repositories lie here: for this user only.
            fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
        };
        private(root)?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(root.join("LOCK"))?;
        lock.try_lock().map_err(|error| match error {
            fs::TryLockError::WouldBlock => {
                io::Error::new(io::ErrorKind::ResourceBusy, "another agent uses this folder")
            }
            fs::TryLockError::Error(error) => error,
        })?;
        match fs::remove_dir_all(root.join("drafts")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => private(&root.join("drafts"))?,
        }
        for algorithm in Algorithm::ALL {
            private(&root.join("blobs").join(algorithm.name()))?;
        }
        Ok(Disk { root: root.to_owned(), _lock: lock })
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.root.join("blobs").join(digest.algorithm().name()).join(digest.hex())
    }

    /// All content, oldest first. What is not named by a digest is not ours and stays unnoticed.
    pub fn scan(&self) -> io::Result<Vec<Found>> {
        let mut found = Vec::new();
        for algorithm in Algorithm::ALL {
            for entry in fs::read_dir(self.root.join("blobs").join(algorithm.name()))? {
                let entry = entry?;
                let name = format!("{algorithm}:{}", entry.file_name().to_string_lossy());
                let (Ok(digest), Ok(facts)) = (name.parse(), entry.metadata()) else { continue };
                if facts.is_file() {
                    let since = facts.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                    found.push(Found { since, digest, bytes: facts.len() });
                }
            }
        }
        found.sort_unstable();
        Ok(found)
    }

    /// A new draft with its number.
    pub fn draft(&self, number: u64) -> io::Result<(PathBuf, File)> {
        let path = self.root.join("drafts").join(number.to_string());
        let mut options = OpenOptions::new();
        let file = options.create_new(true).read(true).write(true).mode(0o600).open(&path)?;
        Ok((path, file))
    }

    /// Makes a draft the content of its digest.
    pub fn publish(&self, draft: &Path, digest: &Digest) -> io::Result<()> {
        fs::rename(draft, self.path(digest))
    }

    /// Opens content; answers its true length.
    pub fn read(&self, digest: &Digest) -> io::Result<(File, u64)> {
        let file = File::open(self.path(digest))?;
        let bytes = file.metadata()?.len();
        Ok((file, bytes))
    }

    /// Notes that content was used, for the order of the next start.
    pub fn note_use(&self, file: &File) {
        // Only the order in which content leaves depends on it.
        let _ = file.set_modified(SystemTime::now());
    }

    /// Removes content; gone is gone.
    pub fn remove(&self, digest: &Digest) -> io::Result<()> {
        gone_is_gone(fs::remove_file(self.path(digest)))
    }
}

/// Removes a draft.
pub fn remove_draft(path: &Path) -> io::Result<()> {
    gone_is_gone(fs::remove_file(path))
}

fn gone_is_gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Is the content of `file` exactly `size` bytes with the digest `expected`?
pub fn is_right(file: &File, expected: &Digest, size: u64) -> io::Result<bool> {
    if file.metadata()?.len() != size {
        return Ok(false);
    }
    let mut hasher = expected.algorithm().hasher();
    let mut piece = vec![0; PIECE_BYTES];
    let mut at = 0;
    while at < size {
        let read = file.read_at(&mut piece, at)?;
        if read == 0 {
            return Ok(false);
        }
        hasher.update(&piece[..read]);
        at += read as u64;
    }
    Ok(hasher.finish() == *expected)
}

/// Reads `length` bytes from `at`; fewer only where the file ends.
pub fn read_piece(file: &File, at: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut piece = vec![0; length];
    let mut filled = 0;
    while filled < length {
        match file.read_at(&mut piece[filled..], at + filled as u64)? {
            0 => break,
            read => filled += read,
        }
    }
    piece.truncate(filled);
    Ok(piece)
}

/// Writes all of `bytes` at `at`.
pub fn write_piece(file: &File, at: u64, bytes: &[u8]) -> io::Result<()> {
    file.write_all_at(bytes, at)
}
