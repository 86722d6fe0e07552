//! An archive that becomes a file: whole, or not at all.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
};

use super::FormatError;
use crate::local_files::Staged;

/// Who may read what is written: as any other file of the user.
const FILE_MODE: u32 = 0o644;

/// A file that is being written. Dropped, it leaves nothing behind.
#[derive(Debug)]
pub struct ArchiveFile {
    staged: Staged,
    path: PathBuf,
}

impl ArchiveFile {
    /// Begins the file that will be `path`.
    ///
    /// # Errors
    /// No file can be made in that folder.
    pub fn create(path: &Path) -> Result<ArchiveFile, FormatError> {
        let staged = Staged::beside(path, FILE_MODE).map_err(|error| failed(path, error))?;
        Ok(ArchiveFile { staged, path: path.to_path_buf() })
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// The disk failed.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), FormatError> {
        self.staged.write_all(bytes).map_err(|error| failed(&self.path, error))
    }

    /// Gives the file its name, in place of what had it.
    ///
    /// # Errors
    /// The disk failed; nothing has changed then.
    pub fn publish(self) -> Result<(), FormatError> {
        let ArchiveFile { staged, path } = self;
        staged.publish().map_err(|error| failed(&path, error))
    }
}

fn failed(path: &Path, error: std::io::Error) -> FormatError {
    FormatError::Io { action: "write", path: path.to_path_buf(), error }
}
