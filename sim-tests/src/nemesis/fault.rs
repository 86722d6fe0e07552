//! The classes of faults, and what each may do to whom.

use std::fmt;

/// A class of faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// `kill -9`.
    Kill,
    /// SIGTERM.
    Stop,
    /// The power goes at any moment.
    PowerCut,
    /// The power goes at a disk operation.
    CrashAtOperation,
    /// Some reads and writes fail.
    IoErrors,
    /// Some syncs fail, and forget; the machine is rebooted.
    SyncErrors,
    /// Some syncs fail, and forget; only the process starts again.
    FailedSync,
    /// No room, then room again.
    Full,
    /// One bit of a blob changes at rest.
    Rot,
    /// A sector of a blob is overwritten, as by a write that was meant for another place.
    Misdirected,
    /// The names of blobs are said to be durable and are not; then the power goes.
    LyingSync,
    /// Bits of blobs change on the way from the disk; at rest they are right.
    ReadRot,
    /// Every disk operation takes long.
    Slow,
    /// The process is frozen.
    Pause,
    /// Nothing passes between some machine and the users or its peers, one way or both.
    CutLink,
    /// The machines fall into two parts that do not hear each other, or only one way; or some pairs
    /// of them do not.
    Partition,
    /// Packets are lost and late.
    Lossy,
    /// What some machines send to some others takes longer, each way by as much as it is drawn.
    SlowLinks,
    /// The time of day jumps, and the clock runs fast or slow from then on.
    ClockJump,
    /// Whoever leads the group that agrees on views is killed.
    LeaderKill,
    /// Every machine is stopped and started, one after the other.
    RollingRestart,
    /// A new machine joins.
    Join,
    /// A machine hands over what it has, and leaves.
    Drain,
    /// A machine is lost with its disk; another takes its place.
    Replace,
}

impl Fault {
    /// The classes that one node survives.
    pub const ALL: [Fault; 14] = [
        Fault::Kill,
        Fault::Stop,
        Fault::PowerCut,
        Fault::CrashAtOperation,
        Fault::IoErrors,
        Fault::SyncErrors,
        Fault::FailedSync,
        Fault::Full,
        Fault::Rot,
        Fault::Slow,
        Fault::Pause,
        Fault::CutLink,
        Fault::Lossy,
        Fault::ClockJump,
    ];

    /// The classes that a cluster is tried with.
    pub const OF_CLUSTERS: [Fault; 24] = [
        Fault::Kill,
        Fault::Stop,
        Fault::PowerCut,
        Fault::CrashAtOperation,
        Fault::IoErrors,
        Fault::SyncErrors,
        Fault::FailedSync,
        Fault::Full,
        Fault::Rot,
        Fault::Misdirected,
        Fault::LyingSync,
        Fault::ReadRot,
        Fault::Slow,
        Fault::Pause,
        Fault::CutLink,
        Fault::Partition,
        Fault::Lossy,
        Fault::SlowLinks,
        Fault::ClockJump,
        Fault::LeaderKill,
        Fault::RollingRestart,
        Fault::Join,
        Fault::Drain,
        Fault::Replace,
    ];

    /// What `SIM_OFF` calls it.
    pub fn name(self) -> &'static str {
        match self {
            Fault::Kill => "kill",
            Fault::Stop => "stop",
            Fault::PowerCut => "power-cut",
            Fault::CrashAtOperation => "crash-at-operation",
            Fault::IoErrors => "io-errors",
            Fault::SyncErrors => "sync-errors",
            Fault::FailedSync => "failed-sync",
            Fault::Full => "full",
            Fault::Rot => "rot",
            Fault::Misdirected => "misdirected",
            Fault::LyingSync => "lying-sync",
            Fault::ReadRot => "read-rot",
            Fault::Slow => "slow",
            Fault::Pause => "pause",
            Fault::CutLink => "cut-link",
            Fault::Partition => "partition",
            Fault::Lossy => "lossy",
            Fault::SlowLinks => "slow-links",
            Fault::ClockJump => "clock-jump",
            Fault::LeaderKill => "leader-kill",
            Fault::RollingRestart => "rolling-restart",
            Fault::Join => "join",
            Fault::Drain => "drain",
            Fault::Replace => "replace",
        }
    }

    /// May a node call for help because of it? A process that is killed or cut off has no reason.
    pub fn explains_errors(self) -> bool {
        use Fault::{
            CrashAtOperation, FailedSync, Full, IoErrors, LyingSync, Misdirected, ReadRot, Replace,
            Rot, SyncErrors,
        };
        matches!(
            self,
            CrashAtOperation
                | FailedSync
                | Full
                | IoErrors
                | LyingSync
                | Misdirected
                | ReadRot
                | Replace
                | Rot
                | SyncErrors
        )
    }

    /// Does it take copies away for good? Those of one machine may go, not those of two.
    pub fn damages(self) -> bool {
        use Fault::{LyingSync, Misdirected, ReadRot, Replace, Rot};
        matches!(self, LyingSync | Misdirected | ReadRot | Replace | Rot)
    }

    /// Does it take its machine out for a while?
    pub fn takes_out(self) -> bool {
        !matches!(self, Fault::Misdirected | Fault::ReadRot | Fault::Rot)
    }

    /// Does it concern all machines, so that there is one of its kind at a time?
    pub fn is_common(self) -> bool {
        use Fault::{Drain, Join, Lossy, Partition, Replace, RollingRestart, SlowLinks};
        matches!(self, Drain | Join | Lossy | Partition | Replace | RollingRestart | SlowLinks)
    }

    /// Does it change who the members are?
    pub fn changes_members(self) -> bool {
        matches!(self, Fault::Join | Fault::Drain | Fault::Replace | Fault::RollingRestart)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
