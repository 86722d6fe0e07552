//! Collecting the blobs that nothing needs: what is decided, and when.
//!
//! The danger is a push that was just told "this blob is here" while a collector decides that nobody
//! wants it. Time cannot settle that, consensus can:
//! - Every round has a number, [`GcEpoch`]. Every copy of a blob has a *stamp*, the newest epoch that
//!   somebody who relied on the copy had seen.
//! - `Condemn{e}` marks a blob in every metadata group, where no manifest needs it. From then on its
//!   links are invisible, and a command that relies on it, or that was prepared before `e`, is told to
//!   verify again.
//! - `Delete{e}` removes a copy only if its stamp is below `e`. A delete that comes late, or twice,
//!   finds a newer stamp and does nothing.
//! - `CondemnFinish{e}` removes the marks, and the links with them.
//!
//! How long a blob was not touched only decides what becomes a candidate. An exhaustive model
//! (`node/core/tests/gc_model.rs`) runs these rules; it also shows that leaving out either the epoch check
//! or the stamp loses blobs that a manifest needs.
//!
//! With several groups a mark in one of them proves nothing about the others. So group 0 is asked
//! last, and its mark *is* the decision to delete ([`settle`]).

use std::fmt;

use serde::{Deserialize, Serialize};

mod settle;

pub use settle::{Marks, Step, agreed, settle};

/// The number of a round of collection. Grows; 0 before the first.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct GcEpoch(pub u64);

impl GcEpoch {
    /// The epoch after this one.
    pub fn next(self) -> GcEpoch {
        GcEpoch(self.0.saturating_add(1))
    }
}

impl fmt::Display for GcEpoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}
