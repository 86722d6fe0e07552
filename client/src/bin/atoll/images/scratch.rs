//! A file for an image on its way through this machine; it goes with the command.
#![allow(clippy::disallowed_methods, reason = "the command line is never simulated")]

use std::{
    fs::{File, OpenOptions, remove_file},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use super::failure::Failure;

/// A file that nobody else reads.
pub struct Scratch {
    file: File,
    path: PathBuf,
}

impl Scratch {
    /// Makes one in the folder for such files.
    pub fn create() -> Result<Scratch, Failure> {
        let folder = std::env::temp_dir();
        for number in 0_u32.. {
            let path = folder.join(format!("atoll-{}-{number}.tar", std::process::id()));
            let mut options = OpenOptions::new();
            match options.read(true).write(true).create_new(true).mode(0o600).open(&path) {
                Ok(file) => return Ok(Scratch { file, path }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(failed(&path, &error)),
            }
        }
        Err(Failure::failed("every name for a temporary file is taken"))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds bytes.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.file.write_all(bytes).map_err(|error| failed(&self.path, &error))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // It stays in a folder that is swept anyway.
        let _ = remove_file(&self.path);
    }
}

fn failed(path: &Path, error: &io::Error) -> Failure {
    Failure::failed(format!(
        "cannot write `{}`: {error}; another folder for such files is given with TMPDIR",
        path.display()
    ))
}
