//! redb on the disk seam: one database is one file.
//!
//! redb brings its own copy-on-write pages and checksums; all it asks of a disk is in
//! [`StorageBackend`]. Its optional byte-range locks are left unsupported: the data folder has one
//! owner ([`super::real::RealDisk`] holds the lock), so a second writer cannot exist.

use std::{io, path::Path, sync::Arc};

use redb::StorageBackend;

use super::{Disk, DiskFile};

#[cfg(test)]
mod tests;

/// redb's mark at the start of a file; it writes it last when it creates a database.
const MAGIC: [u8; 9] = *b"redb\x1a\x0a\xa9\x0d\x0a";

/// Room that redb's header takes at the start of a file, in bytes: one page of the smallest size.
const HEADER_BYTES: u64 = 4096;

/// One redb database file.
#[derive(Debug)]
pub struct DiskBackend {
    file: Arc<dyn DiskFile>,
}

impl DiskBackend {
    /// Opens the file at `path`, or creates it; its name is durable when this returns.
    ///
    /// # Errors
    /// Those of the disk; `NotFound` when the folder of `path` is missing.
    pub fn open(disk: &Arc<dyn Disk>, path: &Path) -> io::Result<Self> {
        let file = match disk.open_write(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => disk.create_new(path)?,
            other => other?,
        };
        // Also when the file was there: whoever created it may have died before its name was durable.
        disk.sync_dir(path.parent().unwrap_or(Path::new("")))?;
        empty_if_unfinished(file.as_ref())?;
        Ok(DiskBackend { file })
    }
}

/// Empties a file whose creation a crash cut short, so that redb creates it anew; redb itself
/// calls such a file no database, for ever.
///
/// Until the mark is durable nothing but the header page was written. So a file without a mark and
/// with nothing behind the header never held a commit; one with anything there is damaged, and
/// stays as it is for redb to refuse.
fn empty_if_unfinished(file: &dyn DiskFile) -> io::Result<()> {
    let mut mark = [0; MAGIC.len()];
    let read = file.read_at(&mut mark, 0)?;
    if read == 0 || mark == MAGIC || !is_zero_from(file, HEADER_BYTES)? {
        return Ok(());
    }
    file.set_len(0)?;
    file.sync()
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
        self.file.sync()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write_at(data, offset)
    }
}
