//! Which blobs have no good copy on this disk although they were here once.
//!
//! Their bad copies lie in `quarantine/`, which is the durable side of this set. To a reader such a
//! blob is damaged, never absent: "not found" would tell a client that the blob was never pushed.

use std::{
    collections::BTreeSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

use atoll_core::Digest;

/// The set of damaged blobs.
#[derive(Debug, Default)]
pub(crate) struct Damaged {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    digests: BTreeSet<Digest>,
    changes: u64,
}

/// What the set said about one blob at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DamagedView {
    /// Is it damaged?
    pub(crate) is_damaged: bool,
    /// Changes of the whole set so far: two equal views saw the same set all the while.
    changes: u64,
}

impl Damaged {
    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn view(&self, digest: &Digest) -> DamagedView {
        let state = self.locked();
        DamagedView { is_damaged: state.digests.contains(digest), changes: state.changes }
    }

    /// Marks a blob; true when it was not marked before.
    pub(crate) fn insert(&self, digest: Digest) -> bool {
        let mut state = self.locked();
        let is_new = state.digests.insert(digest);
        state.changes += u64::from(is_new);
        is_new
    }

    /// Removes the mark; true when there was one.
    pub(crate) fn remove(&self, digest: &Digest) -> bool {
        let mut state = self.locked();
        let was_there = state.digests.remove(digest);
        state.changes += u64::from(was_there);
        was_there
    }

    /// Those that are `wanted`, at most `most`.
    pub(crate) fn list(&self, most: usize, wanted: impl Fn(&Digest) -> bool) -> Vec<Digest> {
        let state = self.locked();
        state.digests.iter().filter(|digest| wanted(digest)).take(most).copied().collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.locked().digests.len()
    }
}
