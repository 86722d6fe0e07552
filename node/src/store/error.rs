//! What can go wrong in the store: one struct per fact, one enum per operation.

use std::{io, path::Path};

use atoll_core::{
    Digest,
    route::UploadId,
    upload::{
        BlobTooLarge, BudgetExhausted, OutOfOrder, SessionBusy, SessionUnavailable,
        TooManySessions, WriteRefused,
    },
};

/// The upload session does not exist: never opened, ended, expired, or of another repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("upload session `{id}` does not exist")]
pub struct UploadUnknown {
    /// Which.
    pub id: UploadId,
}

/// The session was cancelled, or expired, while this request was using it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("upload session `{id}` was cancelled")]
pub struct UploadCancelled {
    /// Which.
    pub id: UploadId,
}

/// The bytes are not those that the digest names. The session is gone: whichever of the two was
/// wrong, the client starts again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the content is `{computed}`, not `{expected}` as claimed")]
pub struct DigestMismatch {
    /// What the client claimed.
    pub expected: Digest,
    /// What the bytes are.
    pub computed: Digest,
}

/// The disk is full, or nothing but its reserve is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no room on the disk for uploads")]
pub struct NoSpace;

/// The disk failed.
#[derive(Debug, thiserror::Error)]
#[error("{action}: {source}")]
pub struct StoreIo {
    /// What was being done to which path.
    pub action: String,
    /// What the disk said.
    pub source: io::Error,
}

/// A copy on this disk is not what was written: it was found out just now, before any of its bytes
/// left the node, and the copy was moved to quarantine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the copy of blob `{digest}` is corrupt ({})", match block {
    Some(block) => format!("block {block}"),
    None => "its trailer".to_owned(),
})]
pub struct CorruptBlob {
    /// Which blob.
    pub digest: Digest,
    /// Which block of 64 KiB; `None` when the trailer is bad.
    pub block: Option<u64>,
}

/// The only copy on this disk was found corrupt earlier. The blob is not absent, it is damaged: a
/// new push of the same content heals it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the copy of blob `{digest}` is damaged and in quarantine")]
pub struct DamagedBlob {
    /// Which blob.
    pub digest: Digest,
}

/// The blob is longer than the caller was ready to take at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("blob `{digest}` has {bytes} bytes, more than {bytes_max}")]
pub struct BlobOverLimit {
    /// Which blob.
    pub digest: Digest,
    /// Its length.
    pub bytes: u64,
    /// What was asked for.
    pub bytes_max: u64,
}

/// Why an operation on an upload session failed.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// No such session in this repository.
    #[error(transparent)]
    Unknown(#[from] UploadUnknown),
    /// Another request is using it; try again.
    #[error(transparent)]
    Busy(#[from] SessionBusy),
    /// It ended under this request.
    #[error(transparent)]
    Cancelled(#[from] UploadCancelled),
    /// The chunk is not the next one. The session goes on.
    #[error(transparent)]
    OutOfOrder(#[from] OutOfOrder),
    /// Too many sessions are open.
    #[error(transparent)]
    TooManySessions(#[from] TooManySessions),
    /// The blob is too long.
    #[error(transparent)]
    TooLarge(#[from] BlobTooLarge),
    /// All unfinished uploads together are too long.
    #[error(transparent)]
    BudgetExhausted(#[from] BudgetExhausted),
    /// The disk is full. The session keeps what was written.
    #[error(transparent)]
    NoSpace(#[from] NoSpace),
    /// The disk failed. The session is gone.
    #[error(transparent)]
    Io(#[from] StoreIo),
}

/// Why content did not become a blob. A session that was committed is gone, with one exception,
/// named below.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// The session ended before: another commit won, or it was cancelled.
    #[error(transparent)]
    Unknown(#[from] UploadUnknown),
    /// The content is not what the digest names.
    #[error(transparent)]
    DigestMismatch(Box<DigestMismatch>),
    /// The blob is too long.
    #[error(transparent)]
    TooLarge(#[from] BlobTooLarge),
    /// The disk is full. When bytes sent before the commit found no room, the session is left at
    /// its offset.
    #[error(transparent)]
    NoSpace(#[from] NoSpace),
    /// The disk failed.
    #[error(transparent)]
    Io(#[from] StoreIo),
}

/// Why a blob cannot be read. That it is absent is no error.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Its copy turned out to be corrupt.
    #[error(transparent)]
    Corrupt(#[from] CorruptBlob),
    /// Its copy is in quarantine.
    #[error(transparent)]
    Damaged(#[from] DamagedBlob),
    /// It is longer than asked for.
    #[error(transparent)]
    OverLimit(#[from] BlobOverLimit),
    /// The disk failed.
    #[error(transparent)]
    Io(#[from] StoreIo),
}

/// The store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenStoreError {
    /// The disk failed.
    #[error(transparent)]
    Io(#[from] StoreIo),
}

/// What a failed write or fsync means.
#[derive(Debug)]
pub(crate) enum DiskFailure {
    /// There was no room; what was there before is still good.
    NoSpace,
    /// The file is given up.
    Io(StoreIo),
}

impl From<StoreIo> for DiskFailure {
    fn from(error: StoreIo) -> Self {
        use io::ErrorKind::{QuotaExceeded, StorageFull};
        match error.source.kind() {
            StorageFull | QuotaExceeded => DiskFailure::NoSpace,
            _ => DiskFailure::Io(error),
        }
    }
}

/// Why a batch did not reach the file.
#[derive(Debug)]
pub(crate) enum WriteFailure {
    /// The session ended under it.
    Cancelled(UploadCancelled),
    /// The disk refused it.
    Disk(DiskFailure),
}

impl From<UploadCancelled> for WriteFailure {
    fn from(cancelled: UploadCancelled) -> Self {
        WriteFailure::Cancelled(cancelled)
    }
}

impl From<DiskFailure> for WriteFailure {
    fn from(failure: DiskFailure) -> Self {
        WriteFailure::Disk(failure)
    }
}

impl From<WriteFailure> for UploadError {
    fn from(failure: WriteFailure) -> Self {
        match failure {
            WriteFailure::Cancelled(cancelled) => cancelled.into(),
            WriteFailure::Disk(DiskFailure::NoSpace) => NoSpace.into(),
            WriteFailure::Disk(DiskFailure::Io(error)) => error.into(),
        }
    }
}

impl From<WriteFailure> for CommitError {
    fn from(failure: WriteFailure) -> Self {
        match failure {
            WriteFailure::Cancelled(UploadCancelled { id }) => UploadUnknown { id }.into(),
            WriteFailure::Disk(failure) => failure.into(),
        }
    }
}

impl From<DigestMismatch> for CommitError {
    fn from(mismatch: DigestMismatch) -> Self {
        CommitError::DigestMismatch(Box::new(mismatch))
    }
}

impl From<DiskFailure> for CommitError {
    fn from(failure: DiskFailure) -> Self {
        match failure {
            DiskFailure::NoSpace => NoSpace.into(),
            DiskFailure::Io(error) => error.into(),
        }
    }
}

impl UploadError {
    pub(crate) fn unavailable(id: UploadId, why: SessionUnavailable) -> Self {
        match why {
            SessionUnavailable::Busy(busy) => busy.into(),
            SessionUnavailable::Closed(_) => UploadUnknown { id }.into(),
        }
    }

    pub(crate) fn refused(id: UploadId, why: WriteRefused) -> Self {
        match why {
            WriteRefused::TooLarge(too_large) => too_large.into(),
            WriteRefused::Closed(_) => UploadCancelled { id }.into(),
        }
    }
}

/// Adds to an IO error what was tried, and where.
pub(crate) trait At<T> {
    fn at(self, action: &str, path: &Path) -> Result<T, StoreIo>;
}

impl StoreIo {
    pub(crate) fn new(action: &str, path: &Path, source: io::Error) -> StoreIo {
        StoreIo { action: format!("{action} {}", path.display()), source }
    }
}

impl<T> At<T> for io::Result<T> {
    fn at(self, action: &str, path: &Path) -> Result<T, StoreIo> {
        self.map_err(|error| StoreIo::new(action, path, error))
    }
}
