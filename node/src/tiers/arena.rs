//! Memory that a socket can send without copying it.
//!
//! The arena is one memory file (`memfd`) cut into slots of equal size and mapped once. A verified
//! piece of a blob is read into a slot and shared as [`Bytes`]; whoever writes it to a plain TCP
//! socket may ask [`Arena::locate`] where in the memory file it lies and hand the kernel the pages
//! with `sendfile`. Anyone else just reads the bytes. Unlike `sendfile` from the blob's own file,
//! what leaves is exactly what was verified: a disk that rots between check and send changes
//! nothing.
//!
//! The kernel may still hold pages of a slot in socket buffers when the last [`Bytes`] is dropped.
//! A slot is therefore never overwritten: its pages are punched out of the file first, so its next
//! user gets new ones.

use std::{
    ptr::NonNull,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};

/// A pool of slots. Clones share it.
#[derive(Clone, Debug)]
pub struct Arena {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    file: OwnedFd,
    base: NonNull<u8>,
    slot_bytes: usize,
    slots: usize,
    free: Mutex<Free>,
}

/// Slots that nobody holds: those that were given back, and all from `untouched` on.
#[derive(Debug, Default)]
struct Free {
    given_back: Vec<usize>,
    untouched: usize,
}

// SAFETY: `base` points to a mapping that lives as long as `Inner`. Slots are disjoint; a slot is
// written through one `Slot` and read only after that was frozen.
unsafe impl Send for Inner {}
// SAFETY: as above.
unsafe impl Sync for Inner {}

impl Arena {
    /// An arena of `slots` slots of `slot_bytes` each (rounded up to whole pages). Memory is taken
    /// from the system only as slots are filled.
    ///
    /// # Errors
    /// The system has no memory file or no address space for it.
    pub fn new(slot_bytes: usize, slots: usize) -> std::io::Result<Arena> {
        let slot_bytes = slot_bytes.next_multiple_of(rustix::param::page_size());
        let total = slot_bytes
            .checked_mul(slots)
            .filter(|total| *total > 0)
            .ok_or(std::io::ErrorKind::InvalidInput)?;
        let file = rustix::fs::memfd_create("atoll-arena", rustix::fs::MemfdFlags::CLOEXEC)?;
        rustix::fs::ftruncate(&file, total as u64)?;
        // SAFETY: a new mapping at an address the kernel chooses, of a file nobody else has.
        let base = unsafe {
            rustix::mm::mmap(
                std::ptr::null_mut(),
                total,
                rustix::mm::ProtFlags::READ | rustix::mm::ProtFlags::WRITE,
                rustix::mm::MapFlags::SHARED | rustix::mm::MapFlags::NORESERVE,
                &file,
                0,
            )?
        };
        let base = NonNull::new(base.cast()).ok_or(std::io::ErrorKind::OutOfMemory)?;
        let inner = Inner { file, base, slot_bytes, slots, free: Mutex::default() };
        Ok(Arena { inner: Arc::new(inner) })
    }

    /// A free slot of `len` bytes, or `None` when all are taken or `len` does not fit into one.
    pub fn take(&self, len: usize) -> Option<Slot> {
        if len > self.inner.slot_bytes {
            return None;
        }
        let mut free = self.inner.free();
        let index = match free.given_back.pop() {
            Some(index) => index,
            None if free.untouched < self.inner.slots => {
                free.untouched += 1;
                free.untouched - 1
            }
            None => return None,
        };
        drop(free);
        Some(Slot { inner: self.inner.clone(), index, len })
    }

    /// The memory file and the offset in it at which `bytes` lie, when they lie in this arena.
    pub fn locate(&self, bytes: &[u8]) -> Option<(BorrowedFd<'_>, u64)> {
        let offset = (bytes.as_ptr() as usize).checked_sub(self.inner.base.as_ptr() as usize)?;
        let total = self.inner.slots * self.inner.slot_bytes;
        (offset + bytes.len() <= total).then(|| (self.inner.file.as_fd(), offset as u64))
    }

    /// Slots that nobody holds.
    pub fn free_slots(&self) -> usize {
        let free = self.inner.free();
        free.given_back.len() + self.inner.slots - free.untouched
    }
}

impl Inner {
    fn free(&self) -> MutexGuard<'_, Free> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn slot(&self, index: usize) -> NonNull<u8> {
        // SAFETY: `index < slots`, so the result is inside the mapping.
        unsafe { self.base.add(index * self.slot_bytes) }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // SAFETY: the mapping made in `new`; no slot is left, each holds an `Arc` of `self`.
        let unmapped =
            unsafe { rustix::mm::munmap(self.base.as_ptr().cast(), self.slots * self.slot_bytes) };
        if let Err(error) = unmapped {
            tracing::error!(%error, "unmap the arena");
        }
    }
}

/// The arenas of a node, one for each size of what is kept in them. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Arenas(Vec<Arena>);

impl Arenas {
    /// Puts arenas together.
    pub fn new(arenas: impl IntoIterator<Item = Arena>) -> Arenas {
        Arenas(arenas.into_iter().collect())
    }

    /// As [`Arena::locate`], in whichever arena it is.
    pub fn locate(&self, bytes: &[u8]) -> Option<(BorrowedFd<'_>, u64)> {
        self.0.iter().find_map(|arena| arena.locate(bytes))
    }
}

/// A slot being filled, by its only owner.
#[derive(Debug)]
pub struct Slot {
    inner: Arc<Inner>,
    index: usize,
    len: usize,
}

impl Slot {
    /// Shares the slot; from here on it does not change.
    pub fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Slot {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: `len` bytes from the start of the slot are inside the mapping and stay mapped as
        // long as `inner`; writing takes `&mut self`.
        unsafe { std::slice::from_raw_parts(self.inner.slot(self.index).as_ptr(), self.len) }
    }
}

impl AsMut<[u8]> for Slot {
    fn as_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `as_ref`; `&mut self` is the only way to the slot.
        unsafe { std::slice::from_raw_parts_mut(self.inner.slot(self.index).as_ptr(), self.len) }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let offset = (self.index * self.inner.slot_bytes) as u64;
        let flags = rustix::fs::FallocateFlags::PUNCH_HOLE | rustix::fs::FallocateFlags::KEEP_SIZE;
        match rustix::fs::fallocate(&self.inner.file, flags, offset, self.inner.slot_bytes as u64) {
            Ok(()) => self.inner.free().given_back.push(self.index),
            // A slot that cannot be emptied is not used again: its old pages may be on their way
            // to a client.
            Err(error) => tracing::error!(%error, "arena slot is lost"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_the_arena_are_found_in_its_file_and_others_are_not() {
        let arena = Arena::new(4096, 2).unwrap();
        let _first = arena.take(1).unwrap();
        let mut slot = arena.take(5).unwrap();
        slot.as_mut().copy_from_slice(b"hello");
        let bytes = slot.freeze();
        let (file, offset) = arena.locate(&bytes[1..]).unwrap();
        let mut found = [0; 4];
        rustix::io::pread(file, &mut found, offset).unwrap();
        assert_eq!(&found, b"ello");
        assert!(arena.locate(b"elsewhere").is_none());
    }

    #[test]
    fn slots_run_out_and_come_back_empty() {
        let arena = Arena::new(4096, 1).unwrap();
        let mut slot = arena.take(4096).unwrap();
        slot.as_mut().fill(7);
        assert!(arena.take(1).is_none());
        let bytes = slot.freeze();
        let clone = bytes.clone();
        drop(bytes);
        assert!(arena.take(1).is_none(), "a reader still holds it");
        drop(clone);
        let slot = arena.take(4096).unwrap();
        assert!(slot.as_ref().iter().all(|byte| *byte == 0), "old pages are gone");
        assert_eq!(arena.free_slots(), 0);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let arena = Arena::new(4096, 1).unwrap();
        assert!(arena.take(4097).is_none());
        assert!(Arena::new(4096, 0).is_err());
    }
}
