//! What nodes agree on beside tags: sessions, znodes and watches, with ZooKeeper's semantics.
//!
//! A [`Coordinator`] opens sessions; a [`Session`] reads and changes the tree, and holds ephemeral
//! znodes that end with it. There are two: [`embedded`] keeps the tree in Raft group 0 of Atoll's own
//! nodes; `zookeeper` (a cargo feature) uses an ensemble that is run already. One suite,
//! `node/tests/coordinator_contract`, holds for both.
//!
//! What a user must know, as with ZooKeeper:
//! - Changes are linearizable. Reads come from the state of one server: they may be behind what
//!   another session sees, but never behind what this session has seen; [`Session::sync`] catches up.
//! - A watch says *that* something changed. Changes between an event and the next read melt into one,
//!   so re-read the whole and never add up events. An event comes before any answer of the same
//!   session that shows its change.
//! - [`WatchEvent::Missed`] means that events may be lacking: read everything again.
//! - After [`CoordinationError::Unknown`] the change may or may not have happened, or may happen yet.
//! - A session ends when the service says so, which a node that is cut off learns late. Until then it
//!   goes by its own clock: [`Liveness::lease_until`] is never later than the moment from which
//!   somebody else may see the session's ephemeral znodes gone.

use std::{fmt::Debug, sync::Arc, time::Duration};

pub use atoll_core::coordination::{
    CreateMode, Event, EventKind, Op, OpOutcome, Refusal, SessionId, Stat, Zxid,
};
use futures_util::future::BoxFuture;
use tokio::sync::watch;

pub mod embedded;
mod event_queue;

#[cfg(all(feature = "zookeeper", not(madsim)))]
pub mod zookeeper;

pub use event_queue::{EventQueue, EventSink, event_queue};

/// The session time-out that Atoll asks for.
pub const SESSION_TIMEOUT: Duration = Duration::from_secs(3);

/// Something of a znode, its status, and where the watch on it will tell.
pub type Watched<T> = (T, Stat, EventQueue);

/// A service that opens sessions.
pub trait Coordinator: Debug + Send + Sync + 'static {
    /// Opens a session. The service may shorten or lengthen the time-out: see [`Session::timeout`].
    fn open_session(
        &self,
        timeout: Duration,
    ) -> BoxFuture<'_, Result<Arc<dyn Session>, CoordinationError>>;
}

/// An open session. Heartbeats are sent by itself until it is closed or dropped.
///
/// Once it has ended every operation fails with [`CoordinationError::Ended`]; open another.
pub trait Session: Debug + Send + Sync + 'static {
    /// Its number, as [`Stat::ephemeral_owner`] shows it.
    fn id(&self) -> SessionId;

    /// The time-out that was negotiated.
    fn timeout(&self) -> Duration;

    /// How the session is, as it changes. Every acknowledged heartbeat is a change.
    fn liveness(&self) -> watch::Receiver<Liveness>;

    /// Creates a znode; answers its path (with the number, for a sequential one).
    fn create<'a>(
        &'a self,
        path: &'a str,
        data: &'a [u8],
        mode: CreateMode,
    ) -> BoxFuture<'a, Result<(String, Stat), CoordinationError>>;

    /// The data of a znode.
    fn get<'a>(
        &'a self,
        path: &'a str,
    ) -> BoxFuture<'a, Result<(Vec<u8>, Stat), CoordinationError>>;

    /// As [`Self::get`]; the queue gets one event, when the data is set or the znode is deleted.
    /// There is no watch when the znode does not exist.
    fn get_watch<'a>(
        &'a self,
        path: &'a str,
    ) -> BoxFuture<'a, Result<Watched<Vec<u8>>, CoordinationError>>;

    /// The status of a znode, if it exists.
    fn exists<'a>(
        &'a self,
        path: &'a str,
    ) -> BoxFuture<'a, Result<Option<Stat>, CoordinationError>>;

    /// As [`Self::exists`]; the queue gets one event, when the znode is created, set or deleted.
    fn exists_watch<'a>(
        &'a self,
        path: &'a str,
    ) -> BoxFuture<'a, Result<(Option<Stat>, EventQueue), CoordinationError>>;

    /// The names of a znode's children, sorted.
    fn children<'a>(
        &'a self,
        path: &'a str,
    ) -> BoxFuture<'a, Result<(Vec<String>, Stat), CoordinationError>>;

    /// As [`Self::children`]; the queue gets one event, when a child is created or deleted or the
    /// znode itself is. There is no watch when the znode does not exist.
    fn children_watch<'a>(
        &'a self,
        path: &'a str,
    ) -> BoxFuture<'a, Result<Watched<Vec<String>>, CoordinationError>>;

    /// Watches a znode that need not exist, until the queue is dropped or the session ends.
    fn watch<'a>(
        &'a self,
        path: &'a str,
        mode: WatchMode,
    ) -> BoxFuture<'a, Result<EventQueue, CoordinationError>>;

    /// Sets the data of a znode, if it is at `version` (`None`: at any).
    fn set<'a>(
        &'a self,
        path: &'a str,
        data: &'a [u8],
        version: Option<i32>,
    ) -> BoxFuture<'a, Result<Stat, CoordinationError>>;

    /// Deletes a znode without children, if it is at `version` (`None`: at any).
    fn delete<'a>(
        &'a self,
        path: &'a str,
        version: Option<i32>,
    ) -> BoxFuture<'a, Result<(), CoordinationError>>;

    /// All of `ops`, or none: then [`CoordinationError::Refused`] says which one was at fault.
    fn multi(&self, ops: Vec<Op>) -> BoxFuture<'_, Result<Vec<OpOutcome>, CoordinationError>>;

    /// Waits until this session sees everything that was acknowledged to anybody before the call.
    fn sync<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<(), CoordinationError>>;

    /// Ends the session and deletes its ephemeral znodes, at once.
    fn close(&self) -> BoxFuture<'_, Result<(), CoordinationError>>;
}

/// What a watch that stays is told about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum WatchMode {
    /// The znode: created, deleted, data, children.
    Persistent,
    /// The znode and everything below: created, deleted, data.
    PersistentRecursive,
}

/// What a watch says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchEvent {
    /// Something happened.
    Changed(Event),
    /// Events may be lacking here: read everything again. A one-shot watch is over with it.
    Missed,
}

/// The share of a session's time-out, one in so many, that a lease ends earlier: the clocks of this
/// node and of the service may run at different speeds, by far more than they do.
const DRIFT_MARGIN: u32 = 8;

/// How a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Liveness {
    /// In a word.
    pub state: SessionState,
    /// When the last heartbeat that was acknowledged was *sent*, on this node's monotonic clock.
    pub acknowledged: Duration,
    /// The time-out of the session.
    pub timeout: Duration,
}

impl Liveness {
    /// Until when, on this node's monotonic clock, the session cannot have ended: its time-out after
    /// the last sign of life was sent, less what clocks may differ in speed.
    pub fn lease_until(&self) -> Duration {
        match self.state {
            SessionState::Connected | SessionState::Suspended | SessionState::Lost => {
                self.acknowledged + (self.timeout - self.timeout / DRIFT_MARGIN)
            }
            SessionState::Expired | SessionState::Closed => Duration::ZERO,
        }
    }
}

/// The states of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SessionState {
    /// Heartbeats are answered.
    Connected,
    /// The last heartbeat was not answered. The session lives.
    Suspended,
    /// No heartbeat was answered for as long as the time-out: the session may have ended, and nobody
    /// has said so yet. It may also come back.
    Lost,
    /// The service has ended it.
    Expired,
    /// Its owner has ended it.
    Closed,
}

impl SessionState {
    /// Is it over for good?
    pub fn is_final(self) -> bool {
        matches!(self, SessionState::Expired | SessionState::Closed)
    }
}

/// Why an operation brought nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CoordinationError {
    /// The service has looked and said no; nothing was changed.
    #[error("operation {at}: {refusal}")]
    Refused {
        /// Which operation of a `multi` was at fault; 0 for a single one.
        at: usize,
        /// Why.
        refusal: Refusal,
    },
    /// The session has ended; nothing was changed.
    #[error("the session has ended")]
    Ended,
    /// No answer. A read brought nothing; a change may or may not have happened, or may happen yet.
    #[error("the coordination service does not answer: {0}")]
    Unknown(String),
    /// The service cannot do this here: its disk, its configuration.
    #[error("the coordination service failed: {0}")]
    Failed(String),
}

impl CoordinationError {
    /// The refusal, if it is one.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            CoordinationError::Refused { refusal, .. } => Some(refusal),
            _ => None,
        }
    }
}

impl From<Refusal> for CoordinationError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::SessionExpired(_) => CoordinationError::Ended,
            refusal => CoordinationError::Refused { at: 0, refusal },
        }
    }
}
