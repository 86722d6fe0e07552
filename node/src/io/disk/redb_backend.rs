//! redb on the disk seam: one database is one file.
//!
//! redb brings its own copy-on-write pages and checksums; all it asks of a disk is in
//! [`StorageBackend`]. Its optional byte-range locks are left unsupported: the data folder has one
//! owner ([`super::real::RealDisk`] holds the lock), so a second writer cannot exist.
//!
//! After a sync that failed, the kernel calls the pages clean: they never reach the disk, and yet
//! whoever opens the file reads them, until the machine is started again. redb itself stops at once;
//! but a process that is started then would build on what the disk does not hold. So a file whose sync
//! failed is marked, and written anew before it is opened ([`UNSYNCED`]).

use std::{
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Weak},
};

use redb::StorageBackend;

use super::{Disk, DiskFile, if_there, unlink_if_there};

#[cfg(test)]
mod tests;

/// redb's mark at the start of a file; it writes it last when it creates a database.
const MAGIC: [u8; 9] = *b"redb\x1a\x0a\xa9\x0d\x0a";

/// Room that redb's header takes at the start of a file, in bytes: one page of the smallest size.
const HEADER_BYTES: u64 = 4096;

/// Ends the name of the empty file that stands beside a database whose sync failed. It is not synced
/// itself: it matters for as long as the pages that it speaks of are in memory.
const UNSYNCED: &str = ".unsynced";

/// Ends the name of a database that is being written anew.
const ANEW: &str = ".anew";

/// Bytes that are copied at a time.
const COPY_BYTES: usize = 1 << 20;

/// One redb database file.
#[derive(Debug)]
pub struct DiskBackend {
    /// Not kept: who only reads on, after the node has ended, does not hold its data folder.
    disk: Weak<dyn Disk>,
    file: Arc<dyn DiskFile>,
    /// What it is called, or will be.
    name: PathBuf,
}

impl DiskBackend {
    /// Opens the file at `path`, or creates it; its name is durable when this returns.
    ///
    /// # Errors
    /// Those of the disk; `NotFound` when the folder of `path` is missing.
    pub fn open(disk: &Arc<dyn Disk>, path: &Path) -> io::Result<Self> {
        Self::open_to_become(disk, path, path)
    }

    /// As [`Self::open`]; while it is open, the file will be renamed to `name`, in the same folder.
    ///
    /// # Errors
    /// Those of [`Self::open`].
    pub fn open_to_become(disk: &Arc<dyn Disk>, path: &Path, name: &Path) -> io::Result<Self> {
        write_anew_if_marked(disk.as_ref(), path).inspect_err(|error| {
            tracing::warn!(
                path = %path.display(), %error,
                "a sync of this file had failed, and it cannot be written anew"
            );
        })?;
        let file = match disk.open_write(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => disk.create_new(path)?,
            other => other?,
        };
        // Also when the file was there: whoever created it may have died before its name was durable.
        sync_name(disk.as_ref(), name)?;
        let backend = DiskBackend { disk: Arc::downgrade(disk), file, name: name.to_owned() };
        backend.empty_if_unfinished()?;
        Ok(backend)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync().inspect_err(|_| {
            if let Some(disk) = self.disk.upgrade() {
                mark_unsynced(disk.as_ref(), &self.name);
            }
        })
    }

    /// Empties a file whose creation a crash cut short, so that redb creates it anew; redb itself
    /// calls such a file no database, for ever.
    ///
    /// Until the mark is durable nothing but the header page was written. So a file without a mark and
    /// with nothing behind the header never held a commit; one with anything there is damaged, and
    /// stays as it is for redb to refuse.
    fn empty_if_unfinished(&self) -> io::Result<()> {
        let mut mark = [0; MAGIC.len()];
        let read = self.file.read_at(&mut mark, 0)?;
        if read == 0 || mark == MAGIC || !is_zero_from(self.file.as_ref(), HEADER_BYTES)? {
            return Ok(());
        }
        self.file.set_len(0)?;
        self.sync()
    }
}

/// Makes the name of the database at `path` durable.
///
/// # Errors
/// Those of the disk; then the database is written anew before it is opened again.
pub fn sync_name(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new(""));
    disk.sync_dir(folder).inspect_err(|_| mark_unsynced(disk, path))
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(ending);
    name.into()
}

fn mark_unsynced(disk: &dyn Disk, path: &Path) {
    match disk.create_new(&beside(path, UNSYNCED)) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => tracing::warn!(
            path = %path.display(), %error,
            "a sync failed, and nothing can be noted down: start the machine again before the node"
        ),
    }
}

/// Copies a database whose sync failed, as it is read now, to a file that replaces it durably.
fn write_anew_if_marked(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    let mark = beside(path, UNSYNCED);
    match disk.file_len(&mark) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    let anew = beside(path, ANEW);
    unlink_if_there(disk, &anew)?;
    // The database itself may never have been created.
    if_there(copy(disk, path, &anew))?;
    if_there(disk.rename(&anew, path))?;
    sync_name(disk, path)?;
    tracing::info!(path = %path.display(), "a sync of this file had failed; it is written anew");
    disk.unlink(&mark)
}

fn copy(disk: &dyn Disk, from: &Path, to: &Path) -> io::Result<()> {
    let (from, mut buffer, mut offset) = (disk.open_read(from)?, vec![0; COPY_BYTES], 0);
    let to = disk.create_new(to)?;
    loop {
        let read = from.read_at(&mut buffer, offset)?;
        if read == 0 {
            return to.sync();
        }
        to.write_at(&buffer[..read], offset)?;
        offset += read as u64;
    }
}

/// Does the file hold nothing but zeros from `offset` on?
fn is_zero_from(file: &dyn DiskFile, mut offset: u64) -> io::Result<bool> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = file.read_at(&mut buffer, offset)?;
        if read == 0 {
            return Ok(true);
        }
        if buffer[..read].iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
        offset += read as u64;
    }
}

impl StorageBackend for DiskBackend {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(out, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.sync()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write_at(data, offset)
    }
}
