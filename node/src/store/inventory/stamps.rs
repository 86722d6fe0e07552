//! What this node has answered for.
//!
//! The *high stamp* is at least as high as any that this node ever answered for, and durable before
//! the answer. The *floor* is the high stamp at the start: every copy counts as stamped with that much,
//! whatever its row says, because a power cut may have taken rows and brought old ones back. A new
//! inventory knows neither; its node gives nothing up until it is told an epoch from which on it can
//! know.

use atoll_core::{Digest, gc::GcEpoch};

use super::{Inventory, InventoryError, database::Commit, put};
use crate::io::plant::Plant;

impl Inventory {
    /// From now on this node answers for stamps up to `stamp`: every copy that is published later has
    /// at least that one. Blocks only when the stamp is news, once per collection.
    pub fn witness(&self, stamp: GcEpoch) -> Result<(), InventoryError> {
        {
            let mut state = self.locked();
            state.witnessed = state.witnessed.max(stamp);
            // Without a high stamp there is no floor either, and nothing is deleted; whoever brings
            // the floor minds what was witnessed.
            if state.high.is_none_or(|high| stamp <= high) {
                return Ok(());
            }
        }
        self.write(Commit { high: Some(stamp), ..Commit::default() }, |_, _| Ok(()))
    }

    /// Raises the stamps of copies that are here, each with its length, to at least `stamp`. When
    /// this answers `Ok` that survives a power cut. Blocks; writes nothing when the stamps are as
    /// high already.
    pub fn raise(&self, copies: &[(Digest, u64)], stamp: GcEpoch) -> Result<(), InventoryError> {
        if Plant::PinWithoutStamp.is_planted() {
            return Ok(());
        }
        self.witness(stamp)?;
        if self.locked().broken {
            // Until the restart nothing is deleted, and from then on the high stamp counts.
            return Ok(());
        }
        let mut low = Vec::new();
        for (digest, size) in copies {
            let stamped = self.row(digest)?.map(|(_, stamp)| stamp);
            if stamped.is_none() || self.locked().stamp(stamped) < stamp {
                low.push((digest, *size));
            }
        }
        if low.is_empty() {
            return Ok(());
        }
        self.write(Commit::default(), |rows, changes| {
            low.iter().try_for_each(|(digest, size)| put(rows, changes, digest, *size, stamp))
        })
    }

    /// The stamp of a copy that is here, whether or not it has a row. Blocks.
    pub fn stamp(&self, digest: &Digest) -> Result<GcEpoch, InventoryError> {
        let stamp = self.row(digest)?.map(|(_, stamp)| stamp);
        Ok(self.locked().stamp(stamp))
    }

    /// Tells a node that has a new inventory the newest collection epoch there is, as a quorum knows
    /// it: no stamp it ever answered for was higher. Blocks.
    pub fn learn_floor(&self, epoch: GcEpoch) -> Result<(), InventoryError> {
        loop {
            let epoch = {
                let mut state = self.locked();
                if state.floor.is_some() {
                    return Ok(());
                }
                if state.high >= Some(epoch.max(state.witnessed)) {
                    state.floor = state.high;
                    return Ok(());
                }
                epoch.max(state.witnessed)
            };
            self.write(Commit { high: Some(epoch), ..Commit::default() }, |_, _| Ok(()))?;
        }
    }

    /// Does the node know which stamps it answered for?
    pub fn knows_floor(&self) -> bool {
        self.locked().floor.is_some()
    }
}
