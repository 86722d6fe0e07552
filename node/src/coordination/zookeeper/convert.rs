//! Between the library's words and ours.

use atoll_core::coordination::{
    CreateMode, Event, EventKind, OpOutcome, Refusal, SessionId, Stat, Zxid,
};
use futures_util::{Stream, stream};
use zookeeper_client::{
    self as zk, Acls, CreateOptions, Error, EventType, MultiWriteResult, OneshotWatcher,
    PersistentWatcher, SessionState as ZkState, WatchedEvent,
};

use crate::coordination::{CoordinationError, WatchEvent};

/// What the library's error means for an operation on `path`.
pub(super) fn error(error: Error, path: &str) -> CoordinationError {
    let path = || path.to_owned();
    let refusal = match error {
        Error::NoNode => Refusal::NoNode(path()),
        Error::NodeExists => Refusal::NodeExists(path()),
        Error::NotEmpty => Refusal::NotEmpty(path()),
        Error::NoChildrenForEphemerals => Refusal::NoChildrenForEphemerals(path()),
        Error::BadArguments(_) => Refusal::InvalidPath(path()),
        Error::SessionExpired | Error::ClientClosed => return CoordinationError::Ended,
        Error::ConnectionLoss | Error::Timeout | Error::NoHosts | Error::SessionMoved => {
            return CoordinationError::Unknown(error.to_string());
        }
        other => return CoordinationError::Failed(other.to_string()),
    };
    refusal.into()
}

/// As [`error`], of an operation that asked for a version.
pub(super) fn versioned(failed: Error, path: &str, version: Option<i32>) -> CoordinationError {
    match (failed, version) {
        (Error::BadVersion, Some(expected)) => {
            Refusal::BadVersion { path: path.to_owned(), expected, found: -1 }.into()
        }
        (other, _) => error(other, path),
    }
}

pub(super) fn options(mode: CreateMode) -> CreateOptions<'static> {
    let mode = match (mode.ephemeral, mode.sequential) {
        (false, false) => zk::CreateMode::Persistent,
        (false, true) => zk::CreateMode::PersistentSequential,
        (true, false) => zk::CreateMode::Ephemeral,
        (true, true) => zk::CreateMode::EphemeralSequential,
    };
    mode.with_acls(Acls::anyone_all())
}

fn zxid(zxid: i64) -> Zxid {
    Zxid(u64::try_from(zxid).unwrap_or_default())
}

pub(super) fn session_id(id: zk::SessionId) -> SessionId {
    SessionId(id.0.cast_unsigned())
}

pub(super) fn stat(stat: zk::Stat) -> Stat {
    let owner = SessionId(stat.ephemeral_owner.cast_unsigned());
    Stat {
        czxid: zxid(stat.czxid),
        mzxid: zxid(stat.mzxid),
        pzxid: zxid(stat.pzxid),
        ctime_ms: u64::try_from(stat.ctime).unwrap_or_default(),
        mtime_ms: u64::try_from(stat.mtime).unwrap_or_default(),
        version: stat.version,
        cversion: stat.cversion,
        aversion: stat.aversion,
        ephemeral_owner: (stat.ephemeral_owner != 0).then_some(owner),
        data_length: u32::try_from(stat.data_length).unwrap_or_default(),
        num_children: u32::try_from(stat.num_children).unwrap_or_default(),
    }
}

pub(super) fn outcome(result: MultiWriteResult) -> Option<OpOutcome> {
    match result {
        MultiWriteResult::Check => Some(OpOutcome::Checked),
        MultiWriteResult::Delete => Some(OpOutcome::Deleted),
        MultiWriteResult::Create { path, stat: created } => {
            Some(OpOutcome::Created { path, stat: stat(created) })
        }
        MultiWriteResult::SetData { stat: set } => Some(OpOutcome::Set { stat: stat(set) }),
        _ => None,
    }
}

/// The one event of a one-shot watch; none if the session ends before.
pub(super) fn once(watcher: OneshotWatcher) -> impl Stream<Item = WatchEvent> + Send {
    stream::unfold(Some(watcher), |watcher| async move {
        let event = changed(watcher?.changed().await)?;
        Some((event, None))
    })
}

/// The events of a watch that stays, until the session ends.
pub(super) fn all(watcher: PersistentWatcher) -> impl Stream<Item = WatchEvent> + Send {
    stream::unfold(watcher, |mut watcher| async move {
        loop {
            let event = watcher.changed().await;
            if event.event_type != EventType::Session {
                return Some((changed(event)?, watcher));
            }
            match event.session_state {
                // What happened while it was away is not told.
                ZkState::SyncConnected => return Some((WatchEvent::Missed, watcher)),
                ZkState::Disconnected | ZkState::ConnectedReadOnly => {}
                ZkState::AuthFailed | ZkState::Expired | ZkState::Closed => return None,
            }
        }
    })
}

fn changed(event: WatchedEvent) -> Option<WatchEvent> {
    let kind = match event.event_type {
        EventType::Session => return None,
        EventType::NodeCreated => EventKind::Created,
        EventType::NodeDeleted => EventKind::Deleted,
        EventType::NodeDataChanged => EventKind::DataChanged,
        EventType::NodeChildrenChanged => EventKind::ChildrenChanged,
    };
    Some(WatchEvent::Changed(Event { zxid: zxid(event.zxid), kind, path: event.path }))
}
