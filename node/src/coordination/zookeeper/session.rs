//! A session at a ZooKeeper ensemble.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use atoll_core::coordination::{
    CreateMode, Op, OpOutcome, Refusal, SessionId, Stat,
    command::{DATA_BYTES_MAX, bounded},
};
use futures_util::{StreamExt, future::BoxFuture};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{Instrument, info};
use zookeeper_client::{
    AddWatchMode, Client, MultiWriteError, SessionState as ZkState, StateWatcher,
};

use super::{HEARTBEAT_INTERVAL, TIMEOUT_MIN, convert};
use crate::{
    coordination::{CoordinationError, EventQueue, Liveness, Session, SessionState, WatchMode},
    io::Clock,
};

/// How long closing waits for the ensemble's word.
const CLOSE_WAIT: Duration = Duration::from_secs(5);

/// A session at a ZooKeeper ensemble.
pub(super) struct ZooKeeperSession {
    ensemble: String,
    id: SessionId,
    timeout: Duration,
    liveness: watch::Sender<Liveness>,
    /// Taken when the session is closed; the heartbeat has a clone.
    client: Mutex<Option<Client>>,
    closing: CancellationToken,
    _heartbeat: DropGuard,
}

impl fmt::Debug for ZooKeeperSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ZooKeeperSession").field("id", &self.id).finish_non_exhaustive()
    }
}

impl ZooKeeperSession {
    pub fn new(
        ensemble: String,
        client: Client,
        clock: Arc<dyn Clock>,
        asked_at: Duration,
    ) -> Self {
        let (id, timeout) = (convert::session_id(client.session_id()), client.session_timeout());
        let state = SessionState::Connected;
        let liveness = watch::Sender::new(Liveness { state, acknowledged: asked_at, timeout });
        info!(session = %id, ?timeout, "session opened");
        let closing = CancellationToken::new();
        let heartbeat = Heartbeat { client: client.clone(), clock, liveness: liveness.clone() };
        let span = tracing::info_span!("coordination_heartbeat", session = %id);
        let beating = closing.clone().run_until_cancelled_owned(heartbeat.run());
        tokio::spawn(beating.instrument(span));
        let guard = closing.clone().drop_guard();
        let client = Mutex::new(Some(client));
        Self { ensemble, id, timeout, liveness, client, closing, _heartbeat: guard }
    }

    fn client(&self) -> Result<Client, CoordinationError> {
        let client = self.client.lock().unwrap_or_else(PoisonError::into_inner).clone();
        client.ok_or(CoordinationError::Ended)
    }

    async fn multi(&self, ops: Vec<Op>) -> Result<Vec<OpOutcome>, CoordinationError> {
        let client = self.client()?;
        bounded(&ops)?;
        let mut writer = client.new_multi_writer();
        for (at, op) in ops.iter().enumerate() {
            let (path, added) = match op {
                Op::Create { path, data, mode } => {
                    (path, writer.add_create(path, data, &convert::options(*mode)))
                }
                Op::Set { path, data, version } => {
                    (path, writer.add_set_data(path, data, *version))
                }
                Op::Delete { path, version } => (path, writer.add_delete(path, *version)),
                Op::Check { path, version } => {
                    (path, writer.add_check_version(path, version.unwrap_or(-1)))
                }
            };
            added.map_err(|error| placed(at, convert::error(error, path)))?;
        }
        let results = match writer.commit().await {
            Ok(results) => results,
            Err(MultiWriteError::RequestFailed { source }) => {
                return Err(convert::error(source, ""));
            }
            Err(MultiWriteError::OperationFailed { index, source }) => {
                let (path, version) = ops.get(index).map_or(("", None), asked);
                return Err(placed(index, convert::versioned(source, path, version)));
            }
        };
        let outcomes = results.into_iter().map(convert::outcome).collect::<Option<_>>();
        outcomes.ok_or_else(|| CoordinationError::Failed("an outcome of no known kind".to_owned()))
    }
}

/// A larger request would make the server drop the connection.
fn within(data: &[u8]) -> Result<(), CoordinationError> {
    let (size, max) = (data.len(), DATA_BYTES_MAX);
    if size > max { Err(Refusal::TooLarge { size, max }.into()) } else { Ok(()) }
}

fn asked(op: &Op) -> (&str, Option<i32>) {
    match op {
        Op::Create { path, .. } => (path, None),
        Op::Set { path, version, .. }
        | Op::Delete { path, version }
        | Op::Check { path, version } => (path, *version),
    }
}

/// Says which operation was at fault.
fn placed(at: usize, error: CoordinationError) -> CoordinationError {
    match error {
        CoordinationError::Refused { refusal, .. } => CoordinationError::Refused { at, refusal },
        other => other,
    }
}

/// Keeps [`Liveness`] true.
struct Heartbeat {
    client: Client,
    clock: Arc<dyn Clock>,
    liveness: watch::Sender<Liveness>,
}

impl Heartbeat {
    async fn run(self) {
        let mut states = self.client.state_watcher();
        let beats = self.beat();
        tokio::select! {
            biased;
            () = self.follow(&mut states) => {}
            () = beats => {}
        }
    }

    /// Follows what the library says, up to the end.
    async fn follow(&self, states: &mut StateWatcher) {
        loop {
            let state = match states.changed().await {
                ZkState::Disconnected => SessionState::Suspended,
                ZkState::Expired | ZkState::AuthFailed => SessionState::Expired,
                ZkState::Closed => SessionState::Closed,
                // The next answered heartbeat says so, and since when.
                ZkState::SyncConnected | ZkState::ConnectedReadOnly => continue,
            };
            self.state(state);
            if state.is_final() {
                return;
            }
        }
    }

    async fn beat(&self) {
        loop {
            let sent = self.clock.monotonic();
            let timeout = self.liveness.borrow().timeout;
            let asked = tokio::time::timeout(timeout / 2, self.client.check_stat("/")).await;
            match asked {
                Ok(Ok(_)) => self.acknowledged(sent),
                Ok(Err(_)) | Err(_) => {
                    let lost =
                        self.clock.monotonic() >= self.liveness.borrow().acknowledged + timeout;
                    self.state(if lost { SessionState::Lost } else { SessionState::Suspended });
                }
            }
            let spent = self.clock.monotonic().saturating_sub(sent);
            tokio::time::sleep(HEARTBEAT_INTERVAL.saturating_sub(spent)).await;
        }
    }

    fn acknowledged(&self, sent: Duration) {
        self.liveness.send_if_modified(|liveness| {
            let lives = !liveness.state.is_final();
            if lives {
                liveness.state = SessionState::Connected;
                liveness.acknowledged = sent.max(liveness.acknowledged);
            }
            lives
        });
    }

    fn state(&self, state: SessionState) {
        self.liveness.send_if_modified(|liveness| {
            let changed = liveness.state != state && !liveness.state.is_final();
            if changed {
                liveness.state = state;
            }
            changed
        });
    }
}

impl Session for ZooKeeperSession {
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
            let client = self.client()?;
            within(data)?;
            let created = client.create(path, data, &convert::options(mode)).await;
            let (stat, sequence) = created.map_err(|error| convert::error(error, path))?;
            let created = match mode.sequential {
                true => format!("{path}{sequence}"),
                false => path.to_owned(),
            };
            Ok((created, convert::stat(stat)))
        })
    }

    fn get<'a>(
        &'a self,
        path: &'a str,
    ) -> BoxFuture<'a, Result<(Vec<u8>, Stat), CoordinationError>> {
        Box::pin(async move {
            let found = self.client()?.get_data(path).await;
            let (data, stat) = found.map_err(|error| convert::error(error, path))?;
            Ok((data, convert::stat(stat)))
        })
    }

    fn get_watch<'a>(
        &'a self,
        path: &'a str,
    ) -> BoxFuture<'a, Result<(Vec<u8>, Stat, EventQueue), CoordinationError>> {
        Box::pin(async move {
            let found = self.client()?.get_and_watch_data(path).await;
            let (data, stat, watcher) = found.map_err(|error| convert::error(error, path))?;
            let queue = EventQueue::from_stream(convert::once(watcher).boxed());
            Ok((data, convert::stat(stat), queue))
        })
    }

    fn exists<'a>(
        &'a self,
        path: &'a str,
    ) -> BoxFuture<'a, Result<Option<Stat>, CoordinationError>> {
        Box::pin(async move {
            let found = self.client()?.check_stat(path).await;
            Ok(found.map_err(|error| convert::error(error, path))?.map(convert::stat))
        })
    }

    fn exists_watch<'a>(
        &'a self,
        path: &'a str,
    ) -> BoxFuture<'a, Result<(Option<Stat>, EventQueue), CoordinationError>> {
        Box::pin(async move {
            let found = self.client()?.check_and_watch_stat(path).await;
            let (stat, watcher) = found.map_err(|error| convert::error(error, path))?;
            let queue = EventQueue::from_stream(convert::once(watcher).boxed());
            Ok((stat.map(convert::stat), queue))
        })
    }

    fn children<'a>(
        &'a self,
        path: &'a str,
    ) -> BoxFuture<'a, Result<(Vec<String>, Stat), CoordinationError>> {
        Box::pin(async move {
            let found = self.client()?.get_children(path).await;
            let (mut names, stat) = found.map_err(|error| convert::error(error, path))?;
            names.sort_unstable();
            Ok((names, convert::stat(stat)))
        })
    }

    fn children_watch<'a>(
        &'a self,
        path: &'a str,
    ) -> BoxFuture<'a, Result<(Vec<String>, Stat, EventQueue), CoordinationError>> {
        Box::pin(async move {
            let found = self.client()?.get_and_watch_children(path).await;
            let (mut names, stat, watcher) = found.map_err(|error| convert::error(error, path))?;
            names.sort_unstable();
            let queue = EventQueue::from_stream(convert::once(watcher).boxed());
            Ok((names, convert::stat(stat), queue))
        })
    }

    fn watch<'a>(
        &'a self,
        path: &'a str,
        mode: WatchMode,
    ) -> BoxFuture<'a, Result<EventQueue, CoordinationError>> {
        Box::pin(async move {
            let mode = match mode {
                WatchMode::Persistent => AddWatchMode::Persistent,
                WatchMode::PersistentRecursive => AddWatchMode::PersistentRecursive,
            };
            let watcher = self.client()?.watch(path, mode).await;
            let watcher = watcher.map_err(|error| convert::error(error, path))?;
            Ok(EventQueue::from_stream(convert::all(watcher).boxed()))
        })
    }

    fn set<'a>(
        &'a self,
        path: &'a str,
        data: &'a [u8],
        version: Option<i32>,
    ) -> BoxFuture<'a, Result<Stat, CoordinationError>> {
        Box::pin(async move {
            let client = self.client()?;
            within(data)?;
            let set = client.set_data(path, data, version).await;
            Ok(convert::stat(set.map_err(|error| convert::versioned(error, path, version))?))
        })
    }

    fn delete<'a>(
        &'a self,
        path: &'a str,
        version: Option<i32>,
    ) -> BoxFuture<'a, Result<(), CoordinationError>> {
        Box::pin(async move {
            let deleted = self.client()?.delete(path, version).await;
            deleted.map_err(|error| convert::versioned(error, path, version))
        })
    }

    fn multi(&self, ops: Vec<Op>) -> BoxFuture<'_, Result<Vec<OpOutcome>, CoordinationError>> {
        Box::pin(self.multi(ops))
    }

    fn sync<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<(), CoordinationError>> {
        Box::pin(async move {
            self.client()?.sync(path).await.map_err(|error| convert::error(error, path))
        })
    }

    /// The library closes a session when its last client goes, unless it is detached; so the session
    /// is taken over by a client that is not.
    fn close(&self) -> BoxFuture<'_, Result<(), CoordinationError>> {
        Box::pin(async move {
            let taken = self.client.lock().unwrap_or_else(PoisonError::into_inner).take();
            let client = taken.ok_or(CoordinationError::Ended)?;
            self.liveness.send_modify(|liveness| liveness.state = SessionState::Closed);
            self.closing.cancel();
            let connector = Client::connector().with_session(client.into_session());
            let connector = connector.with_session_timeout(self.timeout.max(TIMEOUT_MIN));
            let closer = connector.connect(&self.ensemble).await;
            let closer = closer.map_err(|error| convert::error(error, ""))?;
            let mut states = closer.state_watcher();
            drop(closer);
            let closed = async { while !states.changed().await.is_terminated() {} };
            let closed = tokio::time::timeout(CLOSE_WAIT, closed).await;
            closed.map_err(|_| CoordinationError::Unknown("closing was not answered".to_owned()))
        })
    }
}
