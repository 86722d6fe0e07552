//! Content that is being written: in a file of its own, with room taken for all of it.

use std::{io, path::PathBuf, sync::Arc};

use atoll_core::Digest;
use bytes::Bytes;

use super::{Cache, Content, disk, disk::File, host};

/// Room in the cache, given back when it is dropped.
#[derive(Debug)]
pub struct Room {
    cache: Cache,
    bytes: u64,
}

impl Room {
    pub(super) fn new(cache: Cache, bytes: u64) -> Room {
        Room { cache, bytes }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        host::lock(&self.cache.inner.index).release(self.bytes);
    }
}

/// Content that is not complete yet. Dropped before [`Draft::publish`] it leaves nothing behind.
#[derive(Debug)]
pub struct Draft {
    room: Room,
    digest: Digest,
    /// Taken when it got its name.
    path: Option<PathBuf>,
    file: Arc<File>,
}

/// What was written has another digest or length.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// Other bytes.
    #[error("`{digest}` was fetched, and the bytes are not that")]
    Wrong {
        /// What was asked for.
        digest: Digest,
    },
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] io::Error),
}

impl Draft {
    pub(super) fn new(room: Room, digest: Digest, path: PathBuf, file: File) -> Draft {
        Draft { room, digest, path: Some(path), file: Arc::new(file) }
    }

    /// How long the whole content is, in bytes.
    pub fn size(&self) -> u64 {
        self.room.bytes
    }

    /// Writes a piece at its place; pieces may come in any order.
    ///
    /// # Errors
    /// The disk failed, or the piece lies behind the announced end.
    pub async fn write(&self, at: u64, bytes: Bytes) -> io::Result<()> {
        let end = at.checked_add(bytes.len() as u64);
        if end.is_none_or(|end| end > self.size()) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "more bytes than announced"));
        }
        let file = self.file.clone();
        host::blocking(move || disk::write_piece(&file, at, &bytes)).await
    }

    /// Compares all of it with the digest and gives it its name.
    ///
    /// # Errors
    /// It is not the content it was to be, or the disk failed. Nothing is left in both cases.
    pub async fn publish(mut self) -> Result<Content, PublishError> {
        let (digest, size) = (self.digest, self.size());
        let (cache, file) = (self.room.cache.clone(), self.file.clone());
        let inner = cache.inner.clone();
        let path = self.path.clone();
        let published = host::blocking(move || {
            let Some(path) = path.filter(|_| disk::is_right(&file, &digest, size).unwrap_or(false))
            else {
                return Ok(false);
            };
            inner.disk.publish(&path, &digest).map(|()| true)
        });
        if !published.await? {
            return Err(PublishError::Wrong { digest });
        }
        self.path = None;
        let file = self.file.clone();
        // The room first: content and room of one draft never count twice.
        drop(self);
        let evicted = host::lock(&cache.inner.index).insert(digest, size, true);
        let inner = cache.inner.clone();
        host::blocking(move || evicted.iter().try_for_each(|gone| inner.disk.remove(gone))).await?;
        Ok(Content::shared(cache, digest, size, file))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if let Some(path) = self.path.take() {
            // An unlink; what it cannot remove is removed at the next start.
            let _ = disk::remove_draft(&path);
        }
    }
}
