//! Where whole small blobs are kept: in an arena when copying them to a socket would cost more than
//! handing over their pages, else as plain memory.

use bytes::Bytes;

use super::{TierSettings, arena::Arena, try_arena};

/// The smallest object worth a slot. Below, one write of header and content together beats two
/// system calls.
const SLOT_BYTES_MIN: usize = 16 << 10;

/// Slots of the arena for smaller objects. A slot costs address space, and memory only for the pages
/// that are filled, so two sizes are enough to keep the address space within some times the cache.
const SMALL_SLOT_BYTES: usize = 64 << 10;

/// The arenas for objects. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct ObjectArenas {
    small: Option<Arena>,
    large: Option<Arena>,
}

impl ObjectArenas {
    /// Arenas with room for a full cache of the smallest objects that go into each.
    pub(super) fn new(settings: &TierSettings) -> ObjectArenas {
        let bytes = usize::try_from(settings.object_cache_bytes).unwrap_or(usize::MAX);
        let largest = usize::try_from(settings.object_bytes_max).unwrap_or(usize::MAX);
        let large = (largest > SMALL_SLOT_BYTES).then(|| try_arena(largest, bytes / SMALL_SLOT_BYTES));
        ObjectArenas {
            small: try_arena(SMALL_SLOT_BYTES, bytes / SLOT_BYTES_MIN),
            large: large.flatten(),
        }
    }

    pub(super) fn arenas(&self) -> impl Iterator<Item = Arena> {
        [&self.small, &self.large].into_iter().flatten().cloned()
    }

    /// Moves an object to where it is best sent from.
    pub(super) fn keep(&self, bytes: Bytes) -> Bytes {
        let arena = match bytes.len() {
            0..SLOT_BYTES_MIN => None,
            SLOT_BYTES_MIN..=SMALL_SLOT_BYTES => self.small.as_ref(),
            _ => self.large.as_ref(),
        };
        let Some(mut slot) = arena.and_then(|arena| arena.take(bytes.len())) else { return bytes };
        slot.as_mut().copy_from_slice(&bytes);
        slot.freeze()
    }
}
