//! Bugs that a simulation puts in on purpose, to prove that its checkers would find them.
//!
//! Which one is named by the environment variable `SIM_PLANT`, and only in builds for the simulator.
//! In every other build [`Plant::is_planted`] is a constant `false`, and nothing of this is left.

/// A bug to put in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plant {
    /// A published blob's name is not made durable.
    SkipNameSync,
    /// A metadata command is acknowledged before the log is durable.
    AckBeforeLogSync,
    /// The record of an upload session is durable, the bytes it speaks of are not.
    RecordBeforeBytes,
    /// Blocks are served without a look at their checksums.
    SkipBlockCheck,
}

impl Plant {
    /// What `SIM_PLANT` calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Plant::SkipNameSync => "skip-name-sync",
            Plant::AckBeforeLogSync => "ack-before-log-sync",
            Plant::RecordBeforeBytes => "record-before-bytes",
            Plant::SkipBlockCheck => "skip-block-check",
        }
    }

    /// Is this bug to be in this process?
    #[cfg(madsim)]
    pub(crate) fn is_planted(self) -> bool {
        use std::sync::OnceLock;
        static PLANTED: OnceLock<Option<String>> = OnceLock::new();
        let planted = PLANTED.get_or_init(|| std::env::var("SIM_PLANT").ok());
        planted.as_deref() == Some(self.name())
    }

    /// Never: this is no build for the simulator.
    #[cfg(not(madsim))]
    pub(crate) const fn is_planted(self) -> bool {
        false
    }
}
