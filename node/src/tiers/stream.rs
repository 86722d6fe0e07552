//! Reading a stretch of a large blob piece by piece, each verified before it is handed on.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use atoll_core::Digest;
use bytes::{Bytes, BytesMut};

use super::{PIECE_BYTES, Tiers, WINDOW_BYTES};
use crate::store::{BLOCK_BYTES, BlobReader, ReadError};

const _: () = assert!((PIECE_BYTES as u64).is_multiple_of(BLOCK_BYTES));

/// A blob in the store, open for reading. Clones share it.
#[derive(Clone, Debug)]
pub struct OpenedBlob {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    tiers: Tiers,
    digest: Digest,
    reader: BlobReader,
}

impl Tiers {
    /// Opens a blob of any size; `None` when the store has no such blob.
    ///
    /// # Errors
    /// The disk failed, or the copy on it is damaged.
    pub async fn open(&self, digest: &Digest) -> Result<Option<OpenedBlob>, ReadError> {
        let Some(reader) = self.store.open_blob(digest).await? else { return Ok(None) };
        let inner = Inner { tiers: self.clone(), digest: *digest, reader };
        Ok(Some(OpenedBlob { inner: Arc::new(inner) }))
    }
}

impl OpenedBlob {
    /// Length of the blob in bytes.
    pub fn size(&self) -> u64 {
        self.inner.reader.size()
    }

    /// Reads `[start, end)`. `end` may not be beyond the blob.
    pub fn stream(&self, start: u64, end: u64) -> BlobStream {
        debug_assert!(start <= end && end <= self.size());
        BlobStream { blob: self.clone(), at: start, end }
    }

    /// The window with number `index`, from memory or disk; `None` when no slot is free for it.
    async fn window(&self, index: u64) -> Result<Option<Bytes>, Arc<ReadError>> {
        let tiers = &self.inner.tiers;
        let key = (self.inner.digest, index);
        if let Some(bytes) = tiers.windows.get(&key).await {
            tiers.counters.window_hits.fetch_add(1, Relaxed);
            return Ok(Some(bytes));
        }
        let load = async {
            let start = index * WINDOW_BYTES as u64;
            let len = (self.size() - start).min(WINDOW_BYTES as u64) as usize;
            let first_block = start / BLOCK_BYTES;
            tiers.counters.window_misses.fetch_add(1, Relaxed);
            let failed = |error| Some(Arc::new(error));
            match &tiers.arena {
                Some(arena) => {
                    let slot = arena.take(len).ok_or(None)?;
                    let slot =
                        self.inner.reader.read_blocks(first_block, slot).await.map_err(failed)?;
                    Ok(slot.freeze())
                }
                None => {
                    let buffer = BytesMut::zeroed(len);
                    let read = self.inner.reader.read_blocks(first_block, buffer).await;
                    Ok(read.map_err(failed)?.freeze())
                }
            }
        };
        match tiers.windows.try_get_with(key, load).await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(full_or_failed) => match Arc::unwrap_or_clone(full_or_failed) {
                None => Ok(None),
                Some(error) => Err(error),
            },
        }
    }

    /// The blocks that hold `[start, end)`, at most [`PIECE_BYTES`] of them, past the cache.
    async fn piece(&self, start: u64, end: u64) -> Result<Bytes, Arc<ReadError>> {
        self.inner.tiers.counters.unshared_reads.fetch_add(1, Relaxed);
        let first_block = start / BLOCK_BYTES;
        let from = first_block * BLOCK_BYTES;
        let to = end.next_multiple_of(BLOCK_BYTES).min(from + PIECE_BYTES as u64).min(self.size());
        let buffer = BytesMut::zeroed((to - from) as usize);
        let read = self.inner.reader.read_blocks(first_block, buffer).await.map_err(Arc::new)?;
        let bytes = read.freeze();
        let wanted = end.min(to) - from;
        Ok(bytes.slice((start - from) as usize..wanted as usize))
    }
}

/// A stretch of a blob being read.
#[derive(Debug)]
pub struct BlobStream {
    blob: OpenedBlob,
    at: u64,
    end: u64,
}

impl BlobStream {
    /// Bytes still to come.
    pub fn remaining(&self) -> u64 {
        self.end - self.at
    }

    /// The next verified bytes, never empty; `None` at the end.
    ///
    /// # Errors
    /// The disk failed, or the next block is damaged: nothing of it is handed out.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Arc<ReadError>> {
        if self.at == self.end {
            return Ok(None);
        }
        let index = self.at / WINDOW_BYTES as u64;
        let window_start = index * WINDOW_BYTES as u64;
        let window_end = (window_start + WINDOW_BYTES as u64).min(self.blob.size());
        let stop = self.end.min(window_end);
        // A small range of a large layer (a lazy-pulling snapshotter) reads its own blocks only.
        let wants_most = (stop - self.at) * 2 >= window_end - window_start;
        let window = if wants_most { self.blob.window(index).await? } else { None };
        let bytes = match window {
            Some(bytes) => {
                bytes.slice((self.at - window_start) as usize..(stop - window_start) as usize)
            }
            None => self.blob.piece(self.at, stop).await?,
        };
        self.at += bytes.len() as u64;
        Ok(Some(bytes))
    }
}
