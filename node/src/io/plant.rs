//! Bugs that a simulation puts in on purpose, to prove that its checkers would find them.
//!
//! Each is one line at the place where somebody might have made the mistake. Which one is put in is
//! named by the environment variable `SIM_PLANT`, and only in builds for the simulator. In every
//! other build [`Plant::is_planted`] is a constant `false`, and nothing of this is left.

macro_rules! plants {
    ($($(#[$doc:meta])* $plant:ident $name:literal,)*) => {
        /// A bug to put in.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Plant { $($(#[$doc])* $plant,)* }

        impl Plant {
            /// All of them.
            pub const ALL: &[Plant] = &[$(Plant::$plant,)*];

            /// What `SIM_PLANT` calls it.
            pub const fn name(self) -> &'static str {
                match self { $(Plant::$plant => $name,)* }
            }
        }
    };
}

plants! {
    // One node and its disk.
    /// A published blob's name is not made durable.
    SkipNameSync "skip-name-sync",
    /// A published blob's bytes are not made durable.
    SkipDataSync "skip-data-sync",
    /// A metadata command is acknowledged before the log is durable.
    AckBeforeLogSync "ack-before-log-sync",
    /// The log is shortened behind a state that is not durable.
    PurgeUnsynced "purge-unsynced",
    /// The record of an upload session is durable, the bytes it speaks of are not.
    RecordBeforeBytes "record-before-bytes",
    /// Blocks are served without a look at their checksums.
    SkipBlockCheck "skip-block-check",
    /// Another request under the same id gets the answer of the one before it.
    ReuseRequestId "reuse-request-id",
    /// A condition on a tag is not looked at.
    IgnoreCondition "ignore-condition",
    /// A page of tags lacks its last one.
    ShortListing "short-listing",

    // Copies on several nodes.
    /// A push is acknowledged when the first copy is durable.
    AckFirstCopy "ack-first-copy",
    /// One owner that lacks a blob is enough to say that it is nowhere.
    AbsenceFromOne "absence-from-one",
    /// Copies are sent and taken whatever view the sender was at.
    AcceptStaleEpoch "accept-stale-epoch",
    /// A read that goes on at another owner asks for the byte before.
    ResumeOffByOne "resume-off-by-one",
    /// What a peer sends is garbled at times, and handed on without a look at its digest.
    SkipRelayCheck "skip-relay-check",
    /// A node says that it holds what it owns before it has got it.
    ReportUnsynced "report-unsynced",
    /// A copy that others own now is removed before they have it.
    DisownedTooEarly "disowned-too-early",
    /// A copy that no owner has is not offered to them.
    NeverOffered "never-offered",

    // Collection.
    /// A pin does not raise the stamp of the copy.
    PinWithoutStamp "pin-without-stamp",
    /// Copies are collected though no group has condemned them.
    DeleteUncondemned "delete-uncondemned",

    // Agreement.
    /// A tag is read from what this node happens to have applied.
    StaleTagRead "stale-tag-read",
    /// A leader that is back in its term takes what it knows to be committed for all that is.
    ForgottenCommit "forgotten-commit",
    /// A change whose end is not known is acknowledged.
    AckUnknown "ack-unknown",
    /// A state that is sent to another voter lacks rows.
    ThinSnapshot "thin-snapshot",
    /// A leader that no quorum answers goes on as if one did.
    DeafLeader "deaf-leader",
    /// A rumour becomes a view.
    ViewFromGossip "view-from-gossip",
    /// A lease that has run out still counts.
    LeaseNotFenced "lease-not-fenced",
    /// A heartbeat is answered by a leader that may have been replaced.
    HeartbeatUnconfirmed "heartbeat-unconfirmed",
    /// Two nodes share a session.
    ReuseSession "reuse-session",
    /// A session that is silent for too long never ends, and its znodes stay.
    SessionNeverEnds "session-never-ends",
}

impl Plant {
    /// The bug of that name.
    pub fn named(name: &str) -> Option<Plant> {
        Plant::ALL.iter().copied().find(|plant| plant.name() == name)
    }

    /// Is this bug to be in this process?
    #[cfg(madsim)]
    pub(crate) fn is_planted(self) -> bool {
        use std::sync::OnceLock;
        static PLANTED: OnceLock<Option<Plant>> = OnceLock::new();
        let planted = PLANTED.get_or_init(|| Plant::named(&std::env::var("SIM_PLANT").ok()?));
        *planted == Some(self)
    }

    /// Never: this is no build for the simulator.
    #[cfg(not(madsim))]
    pub(crate) const fn is_planted(self) -> bool {
        false
    }
}
