//! What a coordination server does for sessions, its own node's and others': over the group's
//! replica on this node.

use std::{sync::Arc, time::Duration};

use atoll_core::coordination::{
    Change, Command, Op, OpOutcome, Outcome, Path, Refusal, SessionId, Stat, Verdict, Zxid,
    command::bounded, query, sessions::negotiate, watches::WatchKind,
};

use super::{hub::Hub, keeper::Keeper, now_ms};
use crate::{
    coordination::{CoordinationError, EventQueue},
    io::{Clock, plant::Plant},
    metadata::{Metadata, ReadError, Snapshot, SubmitError},
};

/// Tries to register a watch before the node is called too busy. Each try is a read; another is
/// needed when something was applied meanwhile.
const WATCH_TRIES: u32 = 100;

/// One node's coordination server.
#[derive(Debug)]
pub(super) struct Server {
    pub metadata: Metadata,
    pub clock: Arc<dyn Clock>,
    pub hub: Hub,
    pub keeper: Arc<Keeper>,
    pub tick: Duration,
    /// How long a read waits for this node to catch up.
    pub patience: Duration,
}

/// What was read, and from which state.
#[derive(Clone, Debug)]
pub struct Read<T> {
    /// It holds every change up to this one.
    pub zxid: Zxid,
    /// What was found.
    pub found: T,
}

impl Server {
    /// Opens a session for node `owner`.
    pub async fn open(
        &self,
        asked: Duration,
        owner: u16,
    ) -> Result<(SessionId, Duration, Zxid), CoordinationError> {
        let timeout = negotiate(asked, self.tick);
        let timeout_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        if Plant::ReuseSession.is_planted()
            && let Ok((index, found)) = self.look(query::sessions)
            && let Some((id, _)) = found.first()
        {
            return Ok((*id, timeout, Zxid(index)));
        }
        let outcome = self.propose(Change::CreateSession { timeout_ms, owner }).await?;
        match outcome.verdict {
            Verdict::Opened(id) => Ok((id, timeout, outcome.zxid)),
            other => Err(CoordinationError::Failed(format!("{other:?}"))),
        }
    }

    /// Ends a session.
    pub async fn close(&self, session: SessionId) -> Result<Zxid, CoordinationError> {
        Ok(self.propose(Change::CloseSession { session }).await?.zxid)
    }

    /// Changes znodes. The zxid says how far the asker has seen, whatever came of it.
    pub async fn change(
        &self,
        session: SessionId,
        ops: Vec<Op>,
    ) -> Result<(Zxid, Result<Vec<OpOutcome>, (usize, Refusal)>), CoordinationError> {
        // Not even put into the log: a few of these would keep its voters from hearing each other.
        if let Err(refusal) = bounded(&ops) {
            return Ok((Zxid(0), Err((0, refusal))));
        }
        let outcome = self.propose(Change::Multi { session, ops }).await?;
        match outcome.verdict {
            Verdict::Done(outcomes) => Ok((outcome.zxid, Ok(outcomes))),
            Verdict::Refused { at, refusal } => Ok((outcome.zxid, Err((at, refusal)))),
            other => Err(CoordinationError::Failed(format!("{other:?}"))),
        }
    }

    /// Reads the data of a znode, from a state that holds `seen`.
    pub async fn get(
        &self,
        seen: Zxid,
        path: &str,
    ) -> Result<Read<Option<(Vec<u8>, Stat)>>, CoordinationError> {
        let path = Path::parse(path)?;
        self.read(seen, |snapshot| query::get(snapshot, path)).await
    }

    /// Reads the names of a znode's children, from a state that holds `seen`.
    pub async fn children(
        &self,
        seen: Zxid,
        path: &str,
    ) -> Result<Read<Option<(Vec<String>, Stat)>>, CoordinationError> {
        let path = Path::parse(path)?;
        self.read(seen, |snapshot| query::children(snapshot, path)).await
    }

    /// Watches a znode for what comes after the state at `since`; `None` when something has come
    /// already.
    pub fn watch_since(
        &self,
        session: SessionId,
        path: &str,
        kind: WatchKind,
        since: Zxid,
    ) -> Result<Option<EventQueue>, CoordinationError> {
        Ok(self.hub.register(session, Path::parse(path)?, kind, since.0))
    }

    /// Watches a znode as of the state that `read` gives, read again until nothing comes in between.
    pub async fn watch<T, F>(
        &self,
        session: SessionId,
        path: &str,
        kind: WatchKind,
        read: impl Fn() -> F,
    ) -> Result<(Read<T>, EventQueue), CoordinationError>
    where
        F: Future<Output = Result<Read<T>, CoordinationError>>,
    {
        for _ in 0..WATCH_TRIES {
            let found = read().await?;
            if let Some(queue) = self.watch_since(session, path, kind, found.zxid)? {
                return Ok((found, queue));
            }
        }
        Err(CoordinationError::Unknown("the tree changes faster than it is read".to_owned()))
    }

    /// Waits until this node holds everything acknowledged before the call.
    pub async fn sync(&self) -> Result<Zxid, CoordinationError> {
        self.metadata.coordination_fresh().await.map_err(|error| not_read(&error))?;
        Ok(self.read(Zxid(0), |_| Ok::<_, ReadError>(())).await?.zxid)
    }

    /// Does the session live, as far as this node knows?
    pub async fn lives(&self, seen: Zxid, session: SessionId) -> Result<bool, CoordinationError> {
        Ok(self.read(seen, |snapshot| query::session(snapshot, session)).await?.found.is_some())
    }

    /// Waits until this node has applied a change and told its watchers.
    pub async fn seen(&self, zxid: Zxid) -> Result<(), CoordinationError> {
        if self.hub.told(zxid.0, self.patience).await {
            return Ok(());
        }
        Err(CoordinationError::Unknown(format!("change {zxid} is not applied on this node yet")))
    }

    async fn read<T, E: std::fmt::Display>(
        &self,
        seen: Zxid,
        look: impl FnOnce(&Snapshot) -> Result<T, E>,
    ) -> Result<Read<T>, CoordinationError> {
        self.seen(seen).await?;
        let (index, found) = self.look(look)?;
        // What this state shows has been told by the time the asker sees it.
        self.seen(Zxid(index)).await?;
        Ok(Read { zxid: Zxid(index), found })
    }

    fn look<T, E: std::fmt::Display>(
        &self,
        look: impl FnOnce(&Snapshot) -> Result<T, E>,
    ) -> Result<(u64, T), CoordinationError> {
        let failed = |error: &dyn std::fmt::Display| CoordinationError::Failed(error.to_string());
        let snapshot = self.metadata.coordination_snapshot().map_err(|error| failed(&error))?;
        let index = snapshot.index().map_err(|error| failed(&error))?;
        Ok((index, look(&snapshot).map_err(|error| failed(&error))?))
    }

    async fn propose(&self, change: Change) -> Result<Outcome, CoordinationError> {
        let command = Command { now_ms: now_ms(self.clock.as_ref()), change };
        let outcome = self.metadata.coordinate(command).await.map_err(|error| not_made(&error))?;
        self.seen(outcome.zxid).await?;
        Ok(outcome)
    }
}

fn not_made(error: &SubmitError) -> CoordinationError {
    match error {
        SubmitError::Unavailable(_) | SubmitError::Fatal(_) => {
            CoordinationError::Unknown(error.to_string())
        }
        SubmitError::Overloaded(_) | SubmitError::NoRoom(_) => {
            CoordinationError::Failed(error.to_string())
        }
    }
}

fn not_read(error: &ReadError) -> CoordinationError {
    match error {
        ReadError::Unavailable(_) => CoordinationError::Unknown(error.to_string()),
        ReadError::Fatal(_) | ReadError::Store(_) => CoordinationError::Failed(error.to_string()),
    }
}
