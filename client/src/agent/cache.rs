//! Content by digest on the disk of this machine, bounded in bytes.
//!
//! Three rules. Content is compared with its digest before it gets its name, and again at its first
//! use after a start: a crash may have left anything. Content that is not what its name says is
//! deleted and fetched again, never served. Of callers that miss together one fetches.
//!
//! The cache does not know who may read what: `authority` is asked before.

mod content;
mod disk;
mod draft;
mod flights;
mod index;

use std::{
    io,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use atoll_core::Digest;
use tracing::{info, warn};

pub use self::{
    content::Content,
    draft::{Draft, PublishError},
    flights::Flights,
};
use self::{disk::Disk, index::Index};
use super::host;

/// A bounded cache; cheap to clone.
#[derive(Clone, Debug)]
pub struct Cache {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    disk: Disk,
    index: Mutex<Index>,
    drafts: AtomicU64,
    evicted: AtomicU64,
    damaged: AtomicU64,
}

/// What the cache holds and what became of the rest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct CacheFigures {
    /// Contents.
    pub entries: usize,
    /// Their bytes.
    pub bytes: u64,
    /// The bound in bytes.
    pub bytes_max: u64,
    /// Contents that had to make room, since the start.
    pub evicted: u64,
    /// Contents that were not what their name said, since the start.
    pub damaged: u64,
}

impl Cache {
    /// Takes the folder at `root` for at most `bytes_max` bytes of content. What is there from
    /// before is kept as far as it fits, the most recently used.
    ///
    /// # Errors
    /// The folder cannot be made, written or locked.
    pub async fn open(root: &Path, bytes_max: u64) -> io::Result<Cache> {
        let root = root.to_owned();
        let (disk, index) = host::blocking(move || {
            let disk = Disk::open(&root)?;
            let mut index = Index::new(bytes_max);
            for found in disk.scan()? {
                for gone in index.insert(found.digest, found.bytes, false) {
                    disk.remove(&gone)?;
                }
            }
            let (bytes, entries) = index.held();
            info!(root = %root.display(), entries, bytes, bytes_max, "cache opened");
            Ok((disk, index))
        })
        .await?;
        let (index, zero) = (Mutex::new(index), AtomicU64::default);
        let inner = Inner { disk, index, drafts: zero(), evicted: zero(), damaged: zero() };
        Ok(Cache { inner: Arc::new(inner) })
    }

    /// The content, if it is here and right.
    pub async fn get(&self, digest: &Digest) -> Option<Content> {
        let (bytes, verified) = host::lock(&self.inner.index).touch(digest)?;
        let (inner, digest) = (self.inner.clone(), *digest);
        let read = host::blocking(move || {
            let (file, found) = inner.disk.read(&digest)?;
            if verified && found == bytes {
                return Ok(Some(file));
            }
            let right = disk::is_right(&file, &digest, bytes)?;
            if right {
                inner.disk.note_use(&file);
            }
            Ok(right.then_some(file))
        });
        match read.await {
            Ok(Some(file)) => {
                host::lock(&self.inner.index).set_verified(&digest);
                Some(Content::new(self.clone(), digest, bytes, file))
            }
            Ok(None) => {
                self.discard(digest).await;
                None
            }
            Err(error) => {
                warn!(%digest, %error, "cannot read cached content");
                self.discard(digest).await;
                None
            }
        }
    }

    /// Begins to write content of `size` bytes; `None` when there is no room for so much.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub async fn draft(&self, digest: Digest, size: u64) -> io::Result<Option<Draft>> {
        let Some(evicted) = host::lock(&self.inner.index).reserve(size) else { return Ok(None) };
        self.inner.evicted.fetch_add(evicted.len() as u64, Ordering::Relaxed);
        let room = draft::Room::new(self.clone(), size);
        let inner = self.inner.clone();
        let number = inner.drafts.fetch_add(1, Ordering::Relaxed);
        let (path, file) = host::blocking(move || {
            evicted.iter().try_for_each(|gone| inner.disk.remove(gone))?;
            inner.disk.draft(number)
        })
        .await?;
        Ok(Some(Draft::new(room, digest, path, file)))
    }

    /// Throws away content that is not what its name says.
    pub async fn discard(&self, digest: Digest) {
        if !host::lock(&self.inner.index).remove(&digest) {
            return;
        }
        self.inner.damaged.fetch_add(1, Ordering::Relaxed);
        warn!(%digest, "cached content was damaged; it is deleted and will be fetched again");
        let inner = self.inner.clone();
        if let Err(error) = host::blocking(move || inner.disk.remove(&digest)).await {
            warn!(%digest, %error, "cannot delete damaged content");
        }
    }

    /// What the cache holds.
    pub fn figures(&self) -> CacheFigures {
        let index = host::lock(&self.inner.index);
        let (bytes, entries) = index.held();
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (evicted, damaged) = (read(&self.inner.evicted), read(&self.inner.damaged));
        CacheFigures { entries, bytes, bytes_max: index.bytes_max(), evicted, damaged }
    }
}

#[cfg(test)]
mod tests;
