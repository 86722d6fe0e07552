//! The files of an image outside a registry, whether they lie in a folder or in a tar.

use std::{
    io::{self, Read},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use atoll_core::Digest;

use super::{FormatError, tar_read::TarFiles};
use crate::{
    ContentError, VerifiedReader,
    local_files::{self, LocalFile},
};

/// A folder or a tar.
#[derive(Debug)]
pub struct Tree(Kind);

#[derive(Debug)]
enum Kind {
    Folder(PathBuf),
    Archive(TarFiles),
}

/// The content of one file. It is read from the start, to its end and not beyond.
#[derive(Debug)]
pub struct Piece {
    file: LocalFile,
    at: u64,
    end: u64,
}

impl Tree {
    /// Opens what is at `path`.
    ///
    /// # Errors
    /// There is neither a folder nor a tar that can be read.
    pub fn open(path: &Path) -> Result<Tree, FormatError> {
        if local_files::is_folder(path) {
            return Ok(Tree(Kind::Folder(path.to_path_buf())));
        }
        Ok(Tree(Kind::Archive(TarFiles::read(path)?)))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        match &self.0 {
            Kind::Folder(path) => path,
            Kind::Archive(files) => files.path(),
        }
    }

    /// Opens the file `name`, a path from the top; `None` when there is none. The name is one of ours
    /// or was checked with [`Tree::checked`].
    ///
    /// # Errors
    /// It cannot be read.
    pub fn find(&self, name: &str) -> Result<Option<Piece>, FormatError> {
        match &self.0 {
            Kind::Folder(folder) => {
                let path = folder.join(name);
                match local_files::open(&path) {
                    Ok((file, end)) => Ok(Some(Piece { file, at: 0, end })),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                    Err(error) => Err(FormatError::Io { action: "read", path, error }),
                }
            }
            Kind::Archive(files) => {
                let Some((offset, size)) = files.find(name)? else { return Ok(None) };
                let path = files.path();
                let at = |error| FormatError::Io { action: "read", path: path.into(), error };
                let (file, _) = local_files::open(path).map_err(at)?;
                Ok(Some(Piece { file, at: offset, end: offset + size }))
            }
        }
    }

    /// Opens a file that must be there. `expected` says what it would have to be.
    ///
    /// # Errors
    /// It is not there, or cannot be read.
    pub fn open_file(&self, name: &str, expected: &'static str) -> Result<Piece, FormatError> {
        let missing =
            || FormatError::Missing { path: self.path().into(), name: name.into(), expected };
        self.find(name)?.ok_or_else(missing)
    }

    /// The whole content of a file of at most `bytes_max` bytes that must be there.
    ///
    /// # Errors
    /// As for [`Tree::open_file`], or it is longer.
    pub fn document(
        &self,
        name: &str,
        bytes_max: u64,
        expected: &'static str,
    ) -> Result<Vec<u8>, FormatError> {
        let mut piece = self.open_file(name, expected)?;
        if piece.size() > bytes_max {
            let reason = format!("it has {} bytes, at most {bytes_max} are allowed", piece.size());
            return Err(self.strange(name, reason));
        }
        let mut content = Vec::new();
        piece.read_to_end(&mut content).map_err(|error| self.broken(error))?;
        Ok(content)
    }

    /// Opens a file that must have this digest and length; it is judged while it is read.
    ///
    /// # Errors
    /// It is not there, cannot be read, or has another length.
    pub fn verified(
        &self,
        name: &str,
        digest: Digest,
        size: u64,
    ) -> Result<VerifiedReader<Piece>, FormatError> {
        let piece = self.open_file(name, "the blob of that digest")?;
        if piece.size() != size {
            let reason = format!("it has {} bytes, {size} were announced", piece.size());
            return Err(self.strange(name, reason));
        }
        Ok(VerifiedReader::new(piece, digest, size))
    }

    /// A name that stood in a file of the archive; no way out of it.
    ///
    /// # Errors
    /// It is no plain path from the top.
    pub fn checked<'a>(&self, document: &str, name: &'a str) -> Result<&'a str, FormatError> {
        let plain = |part: &str| !matches!(part, "" | "." | "..") && !part.contains('\0');
        if name.split('/').all(plain) {
            return Ok(name);
        }
        let shown: String = name.chars().take(200).collect();
        Err(self.strange(document, format!("`{shown}` is no path inside it")))
    }

    /// An error about the meaning of a file.
    pub(super) fn strange(&self, name: &str, reason: impl ToString) -> FormatError {
        FormatError::Document {
            path: self.path().into(),
            name: name.to_owned(),
            reason: reason.to_string(),
        }
    }

    /// An error of reading: of the system, or of the content that is wrong.
    pub(super) fn unreadable(&self, name: &str, error: io::Error) -> FormatError {
        match error.downcast::<ContentError>() {
            Ok(error) => FormatError::Content {
                path: self.path().into(),
                name: name.to_owned(),
                error: Box::new(error),
            },
            Err(error) => self.broken(error),
        }
    }

    fn broken(&self, error: io::Error) -> FormatError {
        FormatError::Io { action: "read", path: self.path().into(), error }
    }
}

impl Piece {
    /// Bytes that are left to read.
    pub fn size(&self) -> u64 {
        self.end - self.at
    }

    /// The first bytes, at most as many as `buffer` takes; reading starts before them still.
    pub(super) fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = self.size().min(buffer.len() as u64) as usize;
        self.file.read_exact_at(&mut buffer[..wanted], self.at)?;
        Ok(wanted)
    }
}

impl Read for Piece {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = self.size().min(buffer.len() as u64) as usize;
        let read = self.file.read_at(&mut buffer[..wanted], self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}
