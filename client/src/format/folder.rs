//! Writing an OCI layout into a folder.
//!
//! ```text
//! oci-layout               makes the folder a layout; written first
//! blobs/<alg>/<hex>        each takes its name when all of it is there and right
//! index.json               the images; written last, when all that it names is there
//! ```
//!
//! An interrupted pull leaves blobs behind that no image names yet; the next one finds them.

use std::{
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
};

use atoll_core::{Digest, manifest::MANIFEST_BYTES_MAX};

use super::{
    Descriptor, FormatError, INDEX_FILE, Index, LAYOUT_FILE, LAYOUT_TEXT, Layout, Tree, blob_path,
};
use crate::{
    VerifiedReader, Verifier,
    local_files::{self, Staged},
};

/// Who may read what is written: as any other file of the user.
const FILE_MODE: u32 = 0o644;
/// How much of a blob is read at a time when it is judged.
const READ_BYTES: usize = 1 << 20;

/// A layout that is written.
#[derive(Clone, Debug)]
pub struct LayoutFolder {
    root: PathBuf,
}

impl LayoutFolder {
    /// Makes a layout of the folder `root`, or goes on with the one that is there.
    ///
    /// # Errors
    /// There is something else, or the folder cannot be made.
    pub fn create(root: &Path) -> Result<LayoutFolder, FormatError> {
        let folder = LayoutFolder { root: root.to_path_buf() };
        let at = |error| FormatError::Io { action: "write", path: root.to_path_buf(), error };
        let is_there = |name| local_files::size(&root.join(name)).is_some();
        if !is_there(LAYOUT_FILE) {
            local_files::make_folder(root).map_err(at)?;
            if !local_files::is_empty_folder(root).map_err(at)? {
                return Err(FormatError::NoLayout { path: root.to_path_buf() });
            }
            folder.write(LAYOUT_FILE, LAYOUT_TEXT.as_bytes())?;
        }
        if !is_there(INDEX_FILE) {
            folder.write(INDEX_FILE, &json(&Index::default()))?;
        }
        Layout::open(Tree::open(root)?)?;
        Ok(folder)
    }

    /// Whether a blob is there, with the right content: it is read. Reading a disk is cheaper than a
    /// network, and a blob that somebody damaged is written anew.
    pub fn holds(&self, digest: &Digest, size: u64) -> bool {
        let Ok((file, found)) = local_files::open(&self.root.join(blob_path(digest))) else {
            return false;
        };
        if found != size {
            return false;
        }
        let mut reader = VerifiedReader::new(file, *digest, size);
        let mut buffer = vec![0; READ_BYTES];
        loop {
            match reader.read(&mut buffer) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(_) => return false,
            }
        }
    }

    /// Begins a blob.
    ///
    /// # Errors
    /// No file can be made.
    pub fn begin(&self, digest: &Digest, size: u64) -> Result<BlobFile, FormatError> {
        let path = self.root.join(blob_path(digest));
        let staged = path
            .parent()
            .map_or(Ok(()), local_files::make_folder)
            .and_then(|()| Staged::beside(&path, FILE_MODE));
        match staged {
            Ok(staged) => Ok(BlobFile { staged, path, verifier: Verifier::new(*digest, size) }),
            Err(error) => Err(FormatError::Io { action: "write", path, error }),
        }
    }

    /// Puts a small blob in.
    ///
    /// # Errors
    /// As for [`BlobFile`].
    pub fn put(&self, digest: &Digest, bytes: &[u8]) -> Result<(), FormatError> {
        let mut blob = self.begin(digest, bytes.len() as u64)?;
        blob.write(bytes)?;
        blob.finish()
    }

    /// Names an image. All that it leads to is there.
    ///
    /// # Errors
    /// `index.json` cannot be read or written.
    pub fn name(&self, image: Descriptor) -> Result<(), FormatError> {
        let at = |error| FormatError::Io { action: "write", path: self.root.clone(), error };
        // Two who name an image at the same time take turns, or one of the names would be lost.
        let _turn = local_files::lock(&self.root.join(LAYOUT_FILE)).map_err(at)?;
        let mut index = Layout::open(Tree::open(&self.root)?)?.index().clone();
        index.put(image);
        let text = json(&index);
        if text.len() > MANIFEST_BYTES_MAX {
            let reason = format!("it would have {} bytes", text.len());
            return Err(FormatError::Document {
                path: self.root.clone(),
                name: INDEX_FILE.to_owned(),
                reason,
            });
        }
        self.write(INDEX_FILE, &text)
    }

    fn write(&self, name: &str, content: &[u8]) -> Result<(), FormatError> {
        let path = self.root.join(name);
        local_files::write(&path, content, FILE_MODE).map_err(|error| FormatError::Io {
            action: "write",
            path,
            error,
        })
    }
}

fn json(index: &Index) -> Vec<u8> {
    serde_json::to_vec(index).expect("an index is made of texts and numbers")
}

/// A blob that is being written. Dropped, it leaves nothing behind.
#[derive(Debug)]
pub struct BlobFile {
    staged: Staged,
    path: PathBuf,
    verifier: Verifier,
}

impl BlobFile {
    /// Takes the next bytes.
    ///
    /// # Errors
    /// They are too many or wrong, or the disk failed.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), FormatError> {
        self.verifier.check(bytes).map_err(|error| wrong(&self.path, error))?;
        self.staged.write_all(bytes).map_err(|error| FormatError::Io {
            action: "write",
            path: self.path.clone(),
            error,
        })
    }

    /// Gives the blob its name.
    ///
    /// # Errors
    /// It is incomplete, or the disk failed.
    pub fn finish(self) -> Result<(), FormatError> {
        let BlobFile { staged, path, verifier } = self;
        verifier.finish().map_err(|error| wrong(&path, error))?;
        staged.publish().map_err(|error| FormatError::Io { action: "write", path, error })
    }
}

fn wrong(path: &Path, error: crate::ContentError) -> FormatError {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    FormatError::Content { path: path.to_path_buf(), name, error: Box::new(error) }
}
