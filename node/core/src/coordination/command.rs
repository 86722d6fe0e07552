//! What may be asked of the tree, and what it answers.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{
    event::Event,
    stat::{Stat, Zxid},
};

/// Most bytes of data in one znode, and in all operations of one `multi`: ZooKeeper's 1 MiB less a
/// little for the names, as there. The largest znode is the view, a tenth of it.
pub const DATA_BYTES_MAX: usize = (1 << 20) - 1024;

/// Longest path in bytes. Atoll's own are a few dozen.
pub const PATH_BYTES_MAX: usize = 1024;

/// Most operations in one `multi`: all are checked before anything else happens on the node.
pub const OPS_MAX: usize = 1024;

/// A session: the zxid of the command that opened it, so never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SessionId(pub u64);

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// One atomic change to the tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// The wall clock of who asks, in milliseconds since 1970. It only fills
    /// [`Stat::ctime_ms`](super::Stat::ctime_ms) and its like: replicas have no clock of their own.
    pub now_ms: u64,
    /// What is asked.
    pub change: Change,
}

/// The kinds of [`Command`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// Open a session.
    CreateSession {
        /// Its time-out, already [negotiated](super::sessions::negotiate).
        timeout_ms: u64,
        /// The node that holds it, or zero: for operators.
        owner: u16,
    },
    /// Close a session and delete its ephemeral znodes.
    CloseSession {
        /// Which.
        session: SessionId,
    },
    /// The leader's word that these sessions were silent for too long. As [`Self::CloseSession`].
    ExpireSessions {
        /// Which. Ones that are gone are passed over.
        sessions: Vec<SessionId>,
        /// The term in which the leader timed them. In another term another leader may have heard
        /// from them since, so the command does nothing.
        term: u64,
    },
    /// All of `ops` in order, or none.
    Multi {
        /// The session that asks. It must live; ephemeral znodes become its own.
        session: SessionId,
        /// What to do.
        ops: Vec<Op>,
    },
}

/// An operation on one znode.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Op {
    /// Create a znode; its parent must exist.
    Create {
        /// Where; for a sequential one, what precedes the number.
        path: String,
        /// Its data.
        #[serde(with = "super::octets")]
        data: Vec<u8>,
        /// Which kind.
        mode: CreateMode,
    },
    /// Set the data of a znode.
    Set {
        /// Which.
        path: String,
        /// The new data.
        #[serde(with = "super::octets")]
        data: Vec<u8>,
        /// Only if it is at this version; `None` for any.
        version: Option<i32>,
    },
    /// Delete a znode without children.
    Delete {
        /// Which.
        path: String,
        /// Only if it is at this version; `None` for any.
        version: Option<i32>,
    },
    /// Change nothing, and refuse the whole unless the znode exists at this version.
    Check {
        /// Which.
        path: String,
        /// The version; `None` for any.
        version: Option<i32>,
    },
}

/// Is it no more than one command may hold? Asked again when the command is applied.
///
/// # Errors
/// [`Refusal::TooLarge`].
pub fn bounded(ops: &[Op]) -> Result<(), Refusal> {
    let bytes = ops.iter().map(|op| match op {
        Op::Create { data, .. } | Op::Set { data, .. } => data.len(),
        Op::Delete { .. } | Op::Check { .. } => 0,
    });
    let within = |size, max| if size > max { Err(Refusal::TooLarge { size, max }) } else { Ok(()) };
    within(ops.len(), OPS_MAX)?;
    within(bytes.sum(), DATA_BYTES_MAX)
}

/// The kinds of znode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CreateMode {
    /// It ends with its session, and has no children.
    pub ephemeral: bool,
    /// The number of znodes that its parent ever had is appended to its name, in ten digits.
    pub sequential: bool,
}

impl CreateMode {
    /// Stays until it is deleted.
    pub const PERSISTENT: Self = Self { ephemeral: false, sequential: false };
    /// Ends with its session.
    pub const EPHEMERAL: Self = Self { ephemeral: true, sequential: false };
    /// Stays; the name gets a number.
    pub const PERSISTENT_SEQUENTIAL: Self = Self { ephemeral: false, sequential: true };
    /// Ends with its session; the name gets a number.
    pub const EPHEMERAL_SEQUENTIAL: Self = Self { ephemeral: true, sequential: true };
}

/// The answer to a [`Command`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The position of the command. Who has applied it sees what came of it.
    pub zxid: Zxid,
    /// What came of it.
    pub verdict: Verdict,
}

/// What came of a [`Command`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// The session is open.
    Opened(SessionId),
    /// These sessions have ended by this command.
    Ended(Vec<SessionId>),
    /// Every operation was done; one answer each.
    Done(Vec<OpOutcome>),
    /// Nothing was changed.
    Refused {
        /// The operation at fault, counted from 0.
        at: usize,
        /// Why.
        refusal: Refusal,
    },
}

/// The answer to an [`Op`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OpOutcome {
    /// It was created, under this path.
    Created {
        /// With the number, if it has one.
        path: String,
        /// As it is now.
        stat: Stat,
    },
    /// Its data was set.
    Set {
        /// As it is now.
        stat: Stat,
    },
    /// It was deleted.
    Deleted,
    /// It is there, at the version asked for.
    Checked,
}

/// Why nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// The znode, or the parent of one to be created, does not exist.
    #[error("znode `{0}` does not exist")]
    NoNode(String),
    /// The znode to be created exists.
    #[error("znode `{0}` exists")]
    NodeExists(String),
    /// The znode is at another version.
    #[error("znode `{path}` is at version {found}, not {expected}")]
    BadVersion {
        /// Which znode.
        path: String,
        /// What was asked for.
        expected: i32,
        /// What it is; -1 from a server that does not say.
        found: i32,
    },
    /// The znode to be deleted has children.
    #[error("znode `{0}` has children")]
    NotEmpty(String),
    /// The parent is ephemeral.
    #[error("znode `{0}` is ephemeral, it cannot have children")]
    NoChildrenForEphemerals(String),
    /// The session has ended.
    #[error("session {0} has ended")]
    SessionExpired(SessionId),
    /// Not a path, or the root where the root cannot be meant.
    #[error("`{0}` is not a path for this")]
    InvalidPath(String),
    /// More than [`DATA_BYTES_MAX`] bytes, or [`OPS_MAX`] operations.
    #[error("{size} are too many, allowed are {max}")]
    TooLarge {
        /// Bytes, or operations.
        size: usize,
        /// Which are allowed.
        max: usize,
    },
}

/// What a command did beside its [`Outcome`]: for watchers, and for the leader's timers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// In the order in which they happened.
    pub events: Vec<Event>,
    /// Sessions that were opened, and their time-outs in milliseconds.
    pub opened: Vec<(SessionId, u64)>,
    /// Sessions that have ended.
    pub ended: Vec<SessionId>,
}
