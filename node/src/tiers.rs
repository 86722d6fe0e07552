//! The memory tier over the store: verified bytes, ready to send.
//!
//! Two bounded caches, because small and large blobs are read differently:
//! - **objects**: whole blobs up to `object_bytes_max` (1 MiB, paper B's cache rule), filled on push
//!   and on pull. A second GET reads no disk.
//! - **windows**: pieces of larger blobs, [`WINDOW_BYTES`] each, so that many readers of one layer
//!   share one read. They live in an [`Arena`], whose slots also bound what slow readers can pin;
//!   when all slots are taken a reader falls back to small pieces of its own.
//!
//! Both load through single flight: of many readers that miss together, one reads the disk.
//! Content never changes under its digest, so nothing is ever invalidated, only evicted.

pub mod arena;
mod objects;
mod stream;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use atoll_core::Digest;
use bytes::Bytes;
use moka::{future::Cache, policy::EvictionPolicy};

use crate::store::{BlobStore, ReadError};
use arena::{Arena, Arenas};
use objects::ObjectArenas;
pub use stream::{BlobStream, OpenedBlob};

/// Size of a piece of a large blob. A megabyte keeps the cost of a cache look-up and of a system
/// call per piece far below that of moving the bytes.
pub const WINDOW_BYTES: usize = 1 << 20;

/// Size of the pieces a reader takes for itself when the arena is full or when it wants little.
pub const PIECE_BYTES: usize = 64 << 10;

const _: () = assert!(WINDOW_BYTES.is_multiple_of(PIECE_BYTES));

/// Bounds of the memory tier.
#[derive(Clone, Debug)]
pub struct TierSettings {
    /// Bytes of whole small blobs kept.
    pub object_cache_bytes: u64,
    /// Largest blob kept whole.
    pub object_bytes_max: u64,
    /// Bytes of pieces of large blobs kept, in-flight ones included.
    pub window_cache_bytes: u64,
}

impl Default for TierSettings {
    fn default() -> Self {
        TierSettings {
            object_cache_bytes: 256 << 20,
            object_bytes_max: 1 << 20,
            window_cache_bytes: 128 << 20,
        }
    }
}

/// The memory tier. Clones share it.
#[derive(Clone, Debug)]
pub struct Tiers {
    store: BlobStore,
    objects: Cache<Digest, Bytes>,
    object_arenas: ObjectArenas,
    windows: Cache<(Digest, u64), Bytes>,
    arena: Option<Arena>,
    object_bytes_max: u64,
    counters: Arc<Counters>,
}

#[derive(Debug, Default)]
struct Counters {
    object_hits: AtomicU64,
    object_misses: AtomicU64,
    window_hits: AtomicU64,
    window_misses: AtomicU64,
    unshared_reads: AtomicU64,
}

/// What the memory tier did so far, and what it holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TierStats {
    /// Small blobs served from memory.
    pub object_hits: u64,
    /// Small blobs read from disk.
    pub object_misses: u64,
    /// Pieces of large blobs served from memory.
    pub window_hits: u64,
    /// Pieces of large blobs read from disk.
    pub window_misses: u64,
    /// Pieces read past the cache, because it was full or little was asked for.
    pub unshared_reads: u64,
    /// Bytes of small blobs held.
    pub object_bytes: u64,
    /// Small blobs held.
    pub objects: u64,
    /// Bytes of pieces held.
    pub window_bytes: u64,
    /// Pieces held.
    pub windows: u64,
}

impl Tiers {
    /// Builds the tier over `store`.
    pub fn new(store: BlobStore, settings: &TierSettings) -> Tiers {
        let weigh = |bytes: &Bytes| u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let objects = Cache::builder()
            .name("objects")
            .eviction_policy(EvictionPolicy::tiny_lfu())
            .weigher(move |_: &Digest, bytes: &Bytes| weigh(bytes))
            .max_capacity(settings.object_cache_bytes)
            .build();
        let windows = Cache::builder()
            .name("windows")
            // A large layer is read front to back: what came last is what the next reader, close
            // behind, wants.
            .eviction_policy(EvictionPolicy::lru())
            .weigher(move |_: &(Digest, u64), bytes: &Bytes| weigh(bytes))
            .max_capacity(settings.window_cache_bytes / 4 * 3)
            .build();
        Tiers {
            store,
            objects,
            object_arenas: ObjectArenas::new(settings),
            windows,
            arena: arena_for(settings.window_cache_bytes),
            object_bytes_max: settings.object_bytes_max,
            counters: Arc::default(),
        }
    }

    /// Where bytes of the caches lie that can be sent without copying them.
    pub fn arenas(&self) -> Arenas {
        Arenas::new(self.arena.iter().cloned().chain(self.object_arenas.arenas()))
    }

    /// The store beneath.
    pub fn store(&self) -> &BlobStore {
        &self.store
    }

    /// Keeps a blob that was just pushed, when it is small. `bytes` are verified by the caller.
    pub async fn insert(&self, digest: &Digest, bytes: Bytes) {
        if self.keeps(bytes.len() as u64) {
            self.objects.insert(*digest, self.object_arenas.keep(bytes)).await;
        }
    }

    /// The whole of a small blob: from memory, else from disk, verified. `None` when the store has
    /// no such blob. `size` is what the metadata says; it decides where the blob is looked for.
    ///
    /// # Errors
    /// The disk failed, or every copy on it is damaged.
    pub async fn read_small(
        &self,
        digest: &Digest,
        size: u64,
    ) -> Result<Option<Bytes>, Arc<ReadError>> {
        if let Some(bytes) = self.objects.get(digest).await {
            self.counters.object_hits.fetch_add(1, Relaxed);
            return Ok(Some(bytes));
        }
        self.counters.object_misses.fetch_add(1, Relaxed);
        if !self.keeps(size) {
            return self.store.read_whole(digest, size).await.map_err(Arc::new);
        }
        let load = async {
            let read = self.store.read_whole(digest, size).await;
            let bytes = read.map_err(|error| Some(Arc::new(error)))?.ok_or(None)?;
            Ok(self.object_arenas.keep(bytes))
        };
        match self.objects.try_get_with(*digest, load).await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(absent_or_failed) => match Arc::unwrap_or_clone(absent_or_failed) {
                None => Ok(None),
                Some(error) => Err(error),
            },
        }
    }

    /// The whole of a small blob that this node's store lacks: from memory, else from `load`, which
    /// brings verified bytes. Of many callers that miss together one loads.
    ///
    /// # Errors
    /// Those of `load`.
    pub async fn read_small_from<E>(
        &self,
        digest: &Digest,
        load: impl Future<Output = Result<Bytes, E>>,
    ) -> Result<Bytes, Arc<E>>
    where
        E: Send + Sync + 'static,
    {
        let load = async { Ok(self.object_arenas.keep(load.await?)) };
        self.objects.try_get_with(*digest, load).await
    }

    /// Is the blob in memory, whole?
    pub fn holds(&self, digest: &Digest) -> bool {
        self.objects.contains_key(digest)
    }

    /// Would a blob of this size be kept whole?
    pub fn keeps(&self, size: u64) -> bool {
        size <= self.object_bytes_max
    }

    /// What the tier did so far, and what it holds.
    pub fn stats(&self) -> TierStats {
        TierStats {
            object_hits: self.counters.object_hits.load(Relaxed),
            object_misses: self.counters.object_misses.load(Relaxed),
            window_hits: self.counters.window_hits.load(Relaxed),
            window_misses: self.counters.window_misses.load(Relaxed),
            unshared_reads: self.counters.unshared_reads.load(Relaxed),
            object_bytes: self.objects.weighted_size(),
            objects: self.objects.entry_count(),
            window_bytes: self.windows.weighted_size(),
            windows: self.windows.entry_count(),
        }
    }
}

/// The arena for pieces of large blobs.
fn arena_for(bytes: u64) -> Option<Arena> {
    let slots = usize::try_from(bytes).unwrap_or(usize::MAX) / WINDOW_BYTES;
    try_arena(WINDOW_BYTES, slots)
}

/// An arena, where the system has memory files. The simulator has none: bytes are plain memory
/// there.
fn try_arena(slot_bytes: usize, slots: usize) -> Option<Arena> {
    if cfg!(madsim) || slots == 0 {
        return None;
    }
    match Arena::new(slot_bytes, slots) {
        Ok(arena) => Some(arena),
        Err(error) => {
            tracing::warn!(%error, slot_bytes, slots, "no memory file; bytes are copied to sockets");
            None
        }
    }
}
