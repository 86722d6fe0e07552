//! What replication counts.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What replication has done since the start.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct ReplicateStats {
            $($(#[$doc])* pub $name: u64,)*
            /// Copies owed to owners that this node stands in for.
            pub hints: u64,
            /// Copies owed to owners by pushes that were acknowledged early.
            pub outbox: u64,
        }

        #[derive(Debug, Default)]
        pub(super) struct Counters {
            $(pub(super) $name: Counter,)*
        }

        impl Counters {
            pub(super) fn stats(&self, hints: u64, outbox: u64) -> ReplicateStats {
                ReplicateStats { $($name: self.$name.get(),)* hints, outbox }
            }
        }
    };
}

counters! {
    /// Blobs written to their owners.
    writes,
    /// Writes that were refused for lack of copies.
    writes_failed,
    /// Copies that went to a stand-in.
    stand_ins,
    /// Writes that began again because a node knew a newer view.
    stale_views,
    /// Copies received from other nodes.
    copies_received,
    /// Copies refused because this node does not own them.
    copies_refused,
    /// Reads that went to another node.
    remote_reads,
    /// Owners that were asked in addition because the first was slow.
    hedges,
    /// Owners passed over because they did not answer.
    failovers,
    /// Answers that went on from another owner after theirs broke off.
    resumes,
    /// Answers broken off because the bytes of a peer were not the blob.
    mismatches,
    /// Copies that this node pulled from its peers.
    fetches,
    /// Copies it tried to pull, in vain.
    fetches_failed,
    /// Owners told to pull a copy they should have had.
    read_repairs,
    /// Copies delivered that an owner was owed.
    debts_paid,
    /// Times this node would not say what only a member with a lease may.
    fenced,
}

/// A number that only grows.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn add(&self, more: u64) {
        self.0.fetch_add(more, Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}
