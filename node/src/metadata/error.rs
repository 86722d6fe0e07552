//! What may go wrong, one struct per fact and one enum per operation.

use std::{io, path::PathBuf, time::Duration};

use super::codec::CodecError;

/// The number of groups decides who owns a repository, so it cannot change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "this data folder was founded with {recorded} metadata group(s), the settings say {asked}: \
     the number is fixed when a data folder is founded"
)]
pub struct GroupCountMismatch {
    /// What the data folder says.
    pub recorded: u16,
    /// What the settings say.
    pub asked: u16,
}

/// A number of groups nobody can found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{asked} metadata groups were asked for; allowed are 1 to {max}")]
pub struct GroupCountOutOfRange {
    /// What the settings say.
    pub asked: u16,
    /// [`super::settings::GROUPS_MAX`].
    pub max: u16,
}

/// A file that must be there is not. Starting empty instead would forget every tag in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is missing from a data folder that has been in use", path.display())]
pub struct FileMissing {
    /// Which, below the data folder.
    pub path: PathBuf,
}

/// The file that says how the folder was founded cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is damaged: {reason}", path.display())]
pub struct FoundingDamaged {
    /// Which, below the data folder.
    pub path: PathBuf,
    /// In what way.
    pub reason: String,
}

/// A state that lacks entries which the log does not have any more: not one that this node left
/// behind, but perhaps a file put back from an old copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the state of metadata group {group} is applied up to entry {applied:?}, but its log begins \
     after entry {purged}: the files do not belong together"
)]
pub struct StateBehindLog {
    /// Which group.
    pub group: u16,
    /// The last entry in the state.
    pub applied: Option<u64>,
    /// The last entry purged from the log.
    pub purged: u64,
}

/// A disk that failed under a log or a state, or bytes on it that are not what was written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// redb, or the disk beneath it. redb refuses everything after a failed sync, as it must.
    #[error("metadata store: {0}")]
    Database(#[source] Box<redb::Error>),
    /// A disk operation outside redb.
    #[error("metadata store: {0}")]
    Io(#[from] io::Error),
    /// A log entry, vote or position that does not decode.
    #[error("metadata store: {0}")]
    Codec(#[from] CodecError),
    /// A row of the state machine that does not decode.
    #[error("metadata state: {0}")]
    Row(String),
    /// The node is shutting down.
    #[error("metadata store: closed")]
    Closed,
    /// Something that every founded store has is missing from this one.
    #[error("metadata store: {what} is missing")]
    Missing {
        /// What.
        what: &'static str,
    },
}

macro_rules! from_redb {
    ($($error:ident),*) => {$(
        impl From<redb::$error> for StoreError {
            fn from(error: redb::$error) -> Self {
                Self::Database(Box::new(error.into()))
            }
        }
    )*};
}
from_redb!(
    CommitError,
    DatabaseError,
    SetDurabilityError,
    StorageError,
    TableError,
    TransactionError
);

/// Why the metadata of a node could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenMetadataError {
    /// See [`GroupCountMismatch`].
    #[error(transparent)]
    GroupCountMismatch(#[from] GroupCountMismatch),
    /// See [`GroupCountOutOfRange`].
    #[error(transparent)]
    GroupCountOutOfRange(#[from] GroupCountOutOfRange),
    /// See [`FileMissing`].
    #[error(transparent)]
    FileMissing(#[from] FileMissing),
    /// See [`FoundingDamaged`].
    #[error(transparent)]
    FoundingDamaged(#[from] FoundingDamaged),
    /// See [`StateBehindLog`].
    #[error(transparent)]
    StateBehindLog(#[from] StateBehindLog),
    /// The disk.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Settings that consensus cannot run with (such as a heartbeat slower than an election).
    #[error("metadata settings: {0}")]
    Settings(String),
    /// The group did not start, or stopped while it replayed its log.
    #[error("metadata group {group} did not start: {reason}")]
    Start {
        /// Which.
        group: u16,
        /// openraft's word for it.
        reason: String,
    },
}

impl From<io::Error> for OpenMetadataError {
    fn from(error: io::Error) -> Self {
        Self::Store(error.into())
    }
}

/// A group that gave up for good: its disk failed. Only a restart of the node helps.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("metadata group {group} has stopped: {reason}")]
pub struct GroupStopped {
    /// Which.
    pub group: u16,
    /// Why.
    pub reason: String,
}

/// A group that cannot answer now: no leader, no quorum, or a disk that stalls.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("metadata group {group} did not answer within {waited:?}: {reason}")]
pub struct GroupUnavailable {
    /// Which.
    pub group: u16,
    /// How long it was tried.
    pub waited: Duration,
    /// What was seen last.
    pub reason: String,
}

/// More is waiting than this node will queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("metadata group {group} has {waiting_max} changes waiting")]
pub struct GroupOverloaded {
    /// Which.
    pub group: u16,
    /// The bound that was reached.
    pub waiting_max: usize,
}

/// The disk has no room for the log of the metadata. Changes go on by themselves once there is room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("metadata group {group}: no room on the disk for the log")]
pub struct NoRoomForLog {
    /// Which.
    pub group: u16,
}

/// Why a command was not applied, or not known to be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// Whether it was or will be applied is not known. The caller may try again later.
    #[error(transparent)]
    Unavailable(#[from] GroupUnavailable),
    /// It was not even tried.
    #[error(transparent)]
    Overloaded(#[from] GroupOverloaded),
    /// It was not even tried.
    #[error(transparent)]
    NoRoom(#[from] NoRoomForLog),
    /// Whether it was applied is not known, and this node will not find out before it restarts.
    #[error(transparent)]
    Fatal(#[from] GroupStopped),
}

/// Why something could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The leader cannot be asked.
    #[error(transparent)]
    Unavailable(#[from] GroupUnavailable),
    /// The group has stopped.
    #[error(transparent)]
    Fatal(#[from] GroupStopped),
    /// The disk.
    #[error(transparent)]
    Store(#[from] StoreError),
}

macro_rules! read_from_redb {
    ($($error:ident),*) => {$(
        impl From<redb::$error> for ReadError {
            fn from(error: redb::$error) -> Self {
                Self::Store(error.into())
            }
        }
    )*};
}
read_from_redb!(StorageError, TableError, TransactionError);
