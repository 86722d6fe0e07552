//! A session at a ZooKeeper ensemble.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use atoll_core::coordination::{
    CreateMode, Op, OpOutcome, Path, Refusal, SessionId, Stat, Zxid,
    command::{DATA_BYTES_MAX, bounded},
};
use futures_util::{Stream, StreamExt, future::BoxFuture};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{Instrument, info};
use zookeeper_client::{AddWatchMode, Client, MultiWriteError};

use super::{TIMEOUT_MIN, convert, heartbeat::Heartbeat};
use crate::{
    coordination::{
        CoordinationError, EventQueue, Liveness, Session, SessionState, WatchEvent, WatchMode,
    },
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

    /// The client, for an operation on `path`. The library and the server leave some of ZooKeeper's
    /// rules for paths to creation; here they hold always.
    fn client_for(&self, path: &str) -> Result<Client, CoordinationError> {
        let client = self.client()?;
        Path::parse(path)?;
        Ok(client)
    }

    /// A queue that ends with the session, if its source does not.
    fn queue(&self, events: impl Stream<Item = WatchEvent> + Send + 'static) -> EventQueue {
        let over = self.closing.clone().cancelled_owned();
        EventQueue::from_stream(events.take_until(over).boxed())
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
            let checked = match op {
                Op::Create { path, mode, .. } => parse_new(path, *mode),
                op => Path::parse(asked(op).0).map(drop),
            };
            checked.map_err(|refusal| placed(at, refusal.into()))?;
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
        let outcomes = results.into_iter().map(convert::outcome).collect::<Option<Vec<_>>>();
        let unknown = || CoordinationError::Failed("an outcome of no known kind".to_owned());
        let mut outcomes = outcomes.ok_or_else(unknown)?;
        for outcome in &mut outcomes {
            complete(&client, outcome).await;
        }
        Ok(outcomes)
    }
}

/// Checks the path of a znode to be created.
fn parse_new(path: &str, mode: CreateMode) -> Result<(), Refusal> {
    let probe = if mode.sequential { format!("{path}0") } else { path.to_owned() };
    Path::parse(&probe).map(drop).map_err(|_| Refusal::InvalidPath(path.to_owned()))
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

/// Servers before 3.8.1 leave out the status of what a multi has created (ZOOKEEPER-4667): it is asked
/// for, and if the znode is gone again it stays empty.
async fn complete(client: &Client, outcome: &mut OpOutcome) {
    let OpOutcome::Created { path, stat } = outcome else { return };
    if stat.czxid == Zxid(0)
        && let Ok(Some(found)) = client.check_stat(path).await
    {
        *stat = convert::stat(found);
    }
}

/// Says which operation was at fault.
fn placed(at: usize, error: CoordinationError) -> CoordinationError {
    match error {
        CoordinationError::Refused { refusal, .. } => CoordinationError::Refused { at, refusal },
        other => other,
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
            parse_new(path, mode)?;
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
            let found = self.client_for(path)?.get_data(path).await;
            let (data, stat) = found.map_err(|error| convert::error(error, path))?;
            Ok((data, convert::stat(stat)))
        })
    }

    fn get_watch<'a>(
        &'a self,
        path: &'a str,
    ) -> BoxFuture<'a, Result<(Vec<u8>, Stat, EventQueue), CoordinationError>> {
        Box::pin(async move {
            let found = self.client_for(path)?.get_and_watch_data(path).await;
            let (data, stat, watcher) = found.map_err(|error| convert::error(error, path))?;
            let queue = self.queue(convert::once(watcher));
            Ok((data, convert::stat(stat), queue))
        })
    }

    fn exists<'a>(
        &'a self,
        path: &'a str,
    ) -> BoxFuture<'a, Result<Option<Stat>, CoordinationError>> {
        Box::pin(async move {
            let found = self.client_for(path)?.check_stat(path).await;
            Ok(found.map_err(|error| convert::error(error, path))?.map(convert::stat))
        })
    }

    fn exists_watch<'a>(
        &'a self,
        path: &'a str,
    ) -> BoxFuture<'a, Result<(Option<Stat>, EventQueue), CoordinationError>> {
        Box::pin(async move {
            let found = self.client_for(path)?.check_and_watch_stat(path).await;
            let (stat, watcher) = found.map_err(|error| convert::error(error, path))?;
            let queue = self.queue(convert::once(watcher));
            Ok((stat.map(convert::stat), queue))
        })
    }

    fn children<'a>(
        &'a self,
        path: &'a str,
    ) -> BoxFuture<'a, Result<(Vec<String>, Stat), CoordinationError>> {
        Box::pin(async move {
            let found = self.client_for(path)?.get_children(path).await;
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
            let found = self.client_for(path)?.get_and_watch_children(path).await;
            let (mut names, stat, watcher) = found.map_err(|error| convert::error(error, path))?;
            names.sort_unstable();
            let queue = self.queue(convert::once(watcher));
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
            let watcher = self.client_for(path)?.watch(path, mode).await;
            let watcher = watcher.map_err(|error| convert::error(error, path))?;
            Ok(self.queue(convert::all(watcher)))
        })
    }

    fn set<'a>(
        &'a self,
        path: &'a str,
        data: &'a [u8],
        version: Option<i32>,
    ) -> BoxFuture<'a, Result<Stat, CoordinationError>> {
        Box::pin(async move {
            let client = self.client_for(path)?;
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
            let deleted = self.client_for(path)?.delete(path, version).await;
            deleted.map_err(|error| convert::versioned(error, path, version))
        })
    }

    fn multi(&self, ops: Vec<Op>) -> BoxFuture<'_, Result<Vec<OpOutcome>, CoordinationError>> {
        Box::pin(self.multi(ops))
    }

    fn sync<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<(), CoordinationError>> {
        Box::pin(async move {
            self.client_for(path)?.sync(path).await.map_err(|error| convert::error(error, path))
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
