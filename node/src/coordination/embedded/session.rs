//! A session of this node.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use atoll_core::coordination::{
    CreateMode, Op, OpOutcome, Refusal, SessionId, Stat, Zxid, watches::WatchKind,
};
use futures_util::future::BoxFuture;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{Instrument, info};

use super::{Inner, Read, heartbeat::Heartbeat};
use crate::coordination::{
    CoordinationError, EventQueue, Liveness, Session, SessionState, WatchMode,
};

/// A session of this node.
pub(super) struct EmbeddedSession {
    inner: Arc<Inner>,
    id: SessionId,
    timeout: Duration,
    liveness: watch::Sender<Liveness>,
    /// The largest zxid that the session's owner has seen.
    seen: AtomicU64,
    closing: CancellationToken,
    _heartbeat: DropGuard,
}

impl fmt::Debug for EmbeddedSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedSession").field("id", &self.id).finish_non_exhaustive()
    }
}

impl EmbeddedSession {
    /// Opens a session and begins its heartbeats.
    pub async fn open(inner: Arc<Inner>, asked: Duration) -> Result<Self, CoordinationError> {
        // The leader times it from when it is opened, which is later than this.
        let asked_at = inner.server.clock.monotonic();
        let (id, timeout, zxid) = inner.server.open(asked, inner.settings.node).await?;
        let state = SessionState::Connected;
        let liveness = watch::Sender::new(Liveness { state, acknowledged: asked_at, timeout });
        inner.server.hub.hold(id, liveness.clone());
        // It may have ended before anybody would have been told.
        if !inner.server.lives(zxid, id).await? {
            return Err(CoordinationError::Ended);
        }
        info!(session = %id, ?timeout, "session opened");
        let closing = CancellationToken::new();
        let (beat_inner, beat_liveness) = (inner.clone(), liveness.clone());
        let heartbeat = Heartbeat {
            inner: beat_inner,
            session: id,
            liveness: beat_liveness,
            closing: closing.clone(),
        };
        let span = tracing::info_span!("coordination_heartbeat");
        tokio::spawn(heartbeat.run().instrument(span));
        let guard = closing.clone().drop_guard();
        let seen = AtomicU64::new(zxid.0);
        Ok(Self { inner, id, timeout, liveness, seen, closing, _heartbeat: guard })
    }

    fn seen(&self) -> Zxid {
        Zxid(self.seen.load(Ordering::Acquire))
    }

    fn see(&self, zxid: Zxid) {
        self.seen.fetch_max(zxid.0, Ordering::AcqRel);
    }

    fn alive(&self) -> Result<(), CoordinationError> {
        let over = self.liveness.borrow().state.is_final();
        if over { Err(CoordinationError::Ended) } else { Ok(()) }
    }

    fn saw<T>(&self, read: Read<T>) -> Result<T, CoordinationError> {
        self.see(read.zxid);
        Ok(read.found)
    }

    async fn change(&self, ops: Vec<Op>) -> Result<Vec<OpOutcome>, CoordinationError> {
        self.alive()?;
        let (zxid, verdict) = self.inner.server.change(self.id, ops).await?;
        self.see(zxid);
        verdict.map_err(|(at, refusal)| match refusal {
            Refusal::SessionExpired(_) => CoordinationError::Ended,
            refusal => CoordinationError::Refused { at, refusal },
        })
    }

    async fn change_one(&self, op: Op) -> Result<OpOutcome, CoordinationError> {
        let outcomes = self.change(vec![op]).await?;
        let outcome = outcomes.into_iter().next();
        outcome.ok_or_else(|| CoordinationError::Failed("an operation has no outcome".to_owned()))
    }

    /// Reads with a watch for what comes after.
    async fn read_watched<T, F>(
        &self,
        path: &str,
        kind: WatchKind,
        read: impl Fn(Zxid) -> F,
    ) -> Result<(T, EventQueue), CoordinationError>
    where
        F: Future<Output = Result<Read<T>, CoordinationError>>,
    {
        self.alive()?;
        let watched = self.inner.server.watch(self.id, path, kind, || read(self.seen())).await?;
        // Had it ended just before, nobody would end the queue.
        self.alive()?;
        Ok((self.saw(watched.0)?, watched.1))
    }
}

fn unexpected(outcome: &OpOutcome) -> CoordinationError {
    CoordinationError::Failed(format!("an operation was answered {outcome:?}"))
}

fn no_node(path: &str) -> CoordinationError {
    Refusal::NoNode(path.to_owned()).into()
}

impl Session for EmbeddedSession {
    fn id(&self) -> SessionId {
        self.id
    }

    fn timeout(&self) -> Duration {
        self.timeout
    }

    fn liveness(&self) -> watch::Receiver<Liveness> {
        self.liveness.subscribe()
    }

    fn create<'a>(
        &'a self,
        path: &'a str,
        data: &'a [u8],
        mode: CreateMode,
    ) -> BoxFuture<'a, Result<(String, Stat), CoordinationError>> {
        Box::pin(async move {
            let op = Op::Create { path: path.to_owned(), data: data.to_vec(), mode };
            match self.change_one(op).await? {
                OpOutcome::Created { path, stat } => Ok((path, stat)),
                other => Err(unexpected(&other)),
            }
        })
    }

    fn get<'a>(
        &'a self,
        path: &'a str,
    ) -> BoxFuture<'a, Result<(Vec<u8>, Stat), CoordinationError>> {
        Box::pin(async move {
            self.alive()?;
            let found = self.saw(self.inner.server.get(self.seen(), path).await?)?;
            found.ok_or_else(|| no_node(path))
        })
    }

    fn get_watch<'a>(
        &'a self,
        path: &'a str,
    ) -> BoxFuture<'a, Result<(Vec<u8>, Stat, EventQueue), CoordinationError>> {
        Box::pin(async move {
            let read = |seen| self.inner.server.get(seen, path);
            let (found, queue) = self.read_watched(path, WatchKind::Data, read).await?;
            let (data, stat) = found.ok_or_else(|| no_node(path))?;
            Ok((data, stat, queue))
        })
    }

    fn exists<'a>(
        &'a self,
        path: &'a str,
    ) -> BoxFuture<'a, Result<Option<Stat>, CoordinationError>> {
        Box::pin(async move {
            self.alive()?;
            let found = self.saw(self.inner.server.get(self.seen(), path).await?)?;
            Ok(found.map(|(_, stat)| stat))
        })
    }

    fn exists_watch<'a>(
        &'a self,
        path: &'a str,
    ) -> BoxFuture<'a, Result<(Option<Stat>, EventQueue), CoordinationError>> {
        Box::pin(async move {
            let read = |seen| self.inner.server.get(seen, path);
            let (found, queue) = self.read_watched(path, WatchKind::Exists, read).await?;
            Ok((found.map(|(_, stat)| stat), queue))
        })
    }

    fn children<'a>(
        &'a self,
        path: &'a str,
    ) -> BoxFuture<'a, Result<(Vec<String>, Stat), CoordinationError>> {
        Box::pin(async move {
            self.alive()?;
            let found = self.saw(self.inner.server.children(self.seen(), path).await?)?;
            found.ok_or_else(|| no_node(path))
        })
    }

    fn children_watch<'a>(
        &'a self,
        path: &'a str,
    ) -> BoxFuture<'a, Result<(Vec<String>, Stat, EventQueue), CoordinationError>> {
        Box::pin(async move {
            let read = |seen| self.inner.server.children(seen, path);
            let (found, queue) = self.read_watched(path, WatchKind::Children, read).await?;
            let (names, stat) = found.ok_or_else(|| no_node(path))?;
            Ok((names, stat, queue))
        })
    }

    fn watch<'a>(
        &'a self,
        path: &'a str,
        mode: WatchMode,
    ) -> BoxFuture<'a, Result<EventQueue, CoordinationError>> {
        Box::pin(async move {
            let kind = match mode {
                WatchMode::Persistent => WatchKind::Persistent,
                WatchMode::PersistentRecursive => WatchKind::PersistentRecursive,
            };
            let read = |seen| self.inner.server.get(seen, path);
            Ok(self.read_watched(path, kind, read).await?.1)
        })
    }

    fn set<'a>(
        &'a self,
        path: &'a str,
        data: &'a [u8],
        version: Option<i32>,
    ) -> BoxFuture<'a, Result<Stat, CoordinationError>> {
        Box::pin(async move {
            let op = Op::Set { path: path.to_owned(), data: data.to_vec(), version };
            match self.change_one(op).await? {
                OpOutcome::Set { stat } => Ok(stat),
                other => Err(unexpected(&other)),
            }
        })
    }

    fn delete<'a>(
        &'a self,
        path: &'a str,
        version: Option<i32>,
    ) -> BoxFuture<'a, Result<(), CoordinationError>> {
        Box::pin(async move {
            let op = Op::Delete { path: path.to_owned(), version };
            self.change_one(op).await.map(drop)
        })
    }

    fn multi(&self, ops: Vec<Op>) -> BoxFuture<'_, Result<Vec<OpOutcome>, CoordinationError>> {
        Box::pin(self.change(ops))
    }

    fn sync<'a>(&'a self, _path: &'a str) -> BoxFuture<'a, Result<(), CoordinationError>> {
        Box::pin(async move {
            self.alive()?;
            self.see(self.inner.server.sync().await?);
            Ok(())
        })
    }

    fn close(&self) -> BoxFuture<'_, Result<(), CoordinationError>> {
        Box::pin(async move {
            self.alive()?;
            // From here on nobody may rely on it, whatever comes of the attempt.
            self.liveness.send_modify(|liveness| liveness.state = SessionState::Closed);
            self.closing.cancel();
            let zxid = self.inner.server.close(self.id).await?;
            self.see(zxid);
            info!(session = %self.id, "session closed");
            Ok(())
        })
    }
}
