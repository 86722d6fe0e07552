//! Rare paths that a campaign of simulations must have taken.
//!
//! A simulation that passes has shown little if it never met the hard cases: no read was hedged, no
//! leader changed in the middle of a push. So such places say that they were reached, and a campaign
//! that never reaches one of them fails. Not a coverage report: that tells of lines, and a line in
//! the middle of a rare interleaving is covered by the common one too.
//!
//! In every build but the simulator's [`Sometimes::reached`] is empty.

macro_rules! sometimes {
    ($($(#[$doc:meta])* $point:ident $name:literal,)*) => {
        /// A rare path.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Sometimes { $($(#[$doc])* $point,)* }

        impl Sometimes {
            /// All of them.
            pub const ALL: &[Sometimes] = &[$(Sometimes::$point,)*];

            /// What it is called.
            pub const fn name(self) -> &'static str {
                match self { $(Sometimes::$point => $name,)* }
            }
        }
    };
}

sometimes! {
    // Copies on several nodes.
    /// A second owner was asked early, and answered first.
    HedgeWon "hedge-won",
    /// A node took a copy in place of an owner.
    StandInUsed "stand-in-used",
    /// A copy was delivered to the owner that it was owed to.
    HintDelivered "hint-delivered",
    /// An answer went on at another owner.
    ResumedMidBody "resumed-mid-body",
    /// An owner that lacked a copy was told to get it.
    ReadRepair "read-repair",
    /// A copy was refused because its sender's view was too old.
    StaleViewRefused "stale-view-refused",
    /// Owners of an earlier configuration were asked before a blob was said to be absent.
    OpenSetConsulted "open-set-consulted",
    /// Nobody could say whether a blob is absent.
    AbsenceUnknown "absence-unknown",
    /// Several wanted the same copy at once, and one fetched it for all.
    SingleFlightJoined "single-flight-joined",
    /// A copy that others own now was removed.
    DisownedRemoved "disowned-removed",
    /// A node fetched copies that it had come to own.
    CopiesFetched "copies-fetched",
    /// A request of an upload was handed on to the node that holds the upload.
    UploadForwarded "upload-forwarded",

    // Collection.
    /// A copy was collected.
    Collected "collected",
    /// A copy that was to be collected stayed: somebody had come to rely on it.
    CollectionSpared "collection-spared",
    /// A command was verified again because a collection had begun.
    Reverified "reverified",
    /// A round that another driver had left was ended.
    RoundSettled "round-settled",

    // Agreement.
    /// A leader was replaced while a change was on its way.
    LeaderChangedMidChange "leader-changed-mid-change",
    /// A voter was brought up to date with a whole state.
    SnapshotInstalled "snapshot-installed",
    /// A session was ended because its owner was silent.
    SessionExpired "session-expired",
    /// A node that was cut off refused to acknowledge.
    FenceClosed "fence-closed",
    /// A newer view came from a peer and not from group 0.
    ViewPulled "view-pulled",
    /// A node took over what its own earlier start had registered.
    GhostReplaced "ghost-replaced",

    // One node and its disk.
    /// A damaged copy was set aside.
    Quarantined "quarantined",
    /// An upload was gone on with after a restart.
    UploadRestored "upload-restored",
    /// A disk without room refused a push.
    DiskFull "disk-full",
}

impl Sometimes {
    /// This path is taken now.
    #[cfg(madsim)]
    pub fn reached(self) {
        registry::lock().insert(self);
    }

    /// This path is taken now; nobody counts in this build.
    #[cfg(not(madsim))]
    #[inline(always)]
    pub const fn reached(self) {}

    /// Those that this process has reached.
    #[cfg(madsim)]
    pub fn all_reached() -> Vec<Sometimes> {
        registry::lock().iter().copied().collect()
    }
}

#[cfg(madsim)]
mod registry {
    use std::{
        collections::BTreeSet,
        sync::{Mutex, MutexGuard, PoisonError},
    };

    use super::Sometimes;

    /// One process runs one simulation: what all its nodes reached is what the run reached.
    static REACHED: Mutex<BTreeSet<Sometimes>> = Mutex::new(BTreeSet::new());

    pub(super) fn lock() -> MutexGuard<'static, BTreeSet<Sometimes>> {
        REACHED.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
