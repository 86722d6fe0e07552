//! What can go wrong with a simulated disk. Everything is off by default.

use std::{
    io,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    time::Duration,
};

/// `EIO`: the device failed.
pub(super) const EIO: i32 = 5;
/// `EBADF`: a write through a handle opened for reading.
pub(super) const EBADF: i32 = 9;
/// `EINVAL`: a new length through a handle opened for reading.
pub(super) const EINVAL: i32 = 22;
/// `EFBIG`: more than [`FILE_LEN_MAX`].
pub(super) const EFBIG: i32 = 27;
/// `ENOSPC`: the device is full.
pub(super) const ENOSPC: i32 = 28;

/// Longest simulated file in bytes: the simulation holds it in memory, so a wild offset must fail
/// rather than allocate.
pub(super) const FILE_LEN_MAX: u64 = 4 << 30;

/// The faults of a disk. Probabilities are per call, from 0.0 (never) to 1.0 (always).
#[derive(Clone, Debug)]
pub struct Faults {
    /// A read fails with `EIO`.
    pub read_error: f64,
    /// A change (write, length, name) fails with `EIO`. A failed write may have written its front.
    pub write_error: f64,
    /// A sync of a file or folder fails with `EIO` and forgets what it should have written: the
    /// next sync succeeds without it (fsyncgate).
    pub sync_error: f64,
    /// What readers see of file pages that a failed sync forgot.
    pub after_sync_error: AfterSyncError,
    /// A sync answers `Ok` and leaves everything as volatile as it was.
    pub lying_sync: f64,
    /// A read answers with one bit flipped; the bytes at rest stay right.
    pub read_rot: f64,
    /// Where syncs lie and reads rot: folders below this one, and files that were made below it. Nothing
    /// stands for everywhere.
    pub frail: Option<PathBuf>,
    /// A write lands elsewhere in the same file, on a sector border.
    pub misdirected_write: f64,
    /// Size of the device in bytes. Only file lengths are counted.
    pub capacity: u64,
    /// What every call costs, drawn evenly.
    pub latency: RangeInclusive<Duration>,
    /// A call costs [`Faults::stall_time`] on top.
    pub stall: f64,
    /// How long a stall lasts.
    pub stall_time: Duration,
    /// In which order unsynced names reach the platter.
    pub name_order: NameOrder,
}

impl Default for Faults {
    fn default() -> Self {
        Faults {
            read_error: 0.0,
            write_error: 0.0,
            sync_error: 0.0,
            after_sync_error: AfterSyncError::KeepPages,
            lying_sync: 0.0,
            read_rot: 0.0,
            frail: None,
            misdirected_write: 0.0,
            capacity: 1 << 40,
            latency: Duration::ZERO..=Duration::ZERO,
            stall: 0.0,
            stall_time: Duration::ZERO,
            name_order: NameOrder::PerFolder,
        }
    }
}

impl Faults {
    /// May what is at this path be lied about?
    pub(super) fn is_frail(&self, path: &Path) -> bool {
        self.frail.as_ref().is_none_or(|frail| path.starts_with(frail))
    }
}

/// The fate of the dirty pages of a file whose sync failed. File systems differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterSyncError {
    /// The cache keeps the new bytes and calls them clean (ext4).
    KeepPages,
    /// The cache drops them and reads the old bytes again (btrfs, or any under memory pressure).
    DropPages,
}

/// In which order unsynced changes of names become durable. A rename is atomic in both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameOrder {
    /// As the contract says, and no better: in order within a folder, in any order between them.
    PerFolder,
    /// One journal for the whole disk, as ext4 and XFS have: syncing a folder also makes every
    /// older change durable.
    Journal,
}

/// What happens at a power cut to whatever was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// All of it is lost.
    DropAll,
    /// None of it is lost.
    KeepAll,
    /// Each write survives whole or not at all, in any combination; each folder's changes survive
    /// up to some point.
    Random,
    /// As [`Loss::Random`], but writes break at sectors of 512 bytes, and a file's length may
    /// outrun its bytes, which then read as zeros.
    Torn,
}

impl Loss {
    /// Every kind, for tests that try them all.
    pub const ALL: [Loss; 4] = [Loss::DropAll, Loss::KeepAll, Loss::Random, Loss::Torn];
}

/// Whether the operation at which the power goes still takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CrashPoint {
    /// It does not: the power went just before.
    Before,
    /// It does, but its caller never hears of it.
    After,
}

/// The disk has no power, or the handle is from before it was cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the simulated disk lost its power")]
pub struct PowerLost;

/// The error that calls get from a disk without power.
pub(super) fn power_lost() -> io::Error {
    io::Error::other(PowerLost)
}

/// Is this the error of a disk without power, rather than one that code should handle?
pub fn is_power_lost(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<PowerLost>())
}
