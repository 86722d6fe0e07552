//! redb on the disk seam: one database is one file.
//!
//! redb brings its own copy-on-write pages and checksums; all it asks of a disk is in
//! [`StorageBackend`]. Its optional byte-range locks are left unsupported: the data folder has one
//! owner ([`super::real::RealDisk`] holds the lock), so a second writer cannot exist.

use std::{io, path::Path, sync::Arc};

use redb::StorageBackend;

use super::{Disk, DiskFile};

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
        Ok(DiskBackend { file })
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
