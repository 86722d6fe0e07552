//! The coordinator inside: a tree kept by Raft group 0 of Atoll's own nodes.
//!
//! Changes go through the group's log, wherever its leader is; reads come from this node's replica;
//! heartbeats go straight to the leader and never into the log.
//!
//! - [`server`]: what a node does for any session, its own or a client's over gRPC;
//! - [`session`]: a session of this node, with [`heartbeat`] keeping it alive;
//! - [`keeper`]: the leader's clockwork that ends silent sessions;
//! - [`hub`]; the watches.

mod heartbeat;
mod hub;
mod keeper;
mod server;
mod session;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, UNIX_EPOCH},
};

use atoll_core::coordination::{Op, OpOutcome, Refusal, SessionId, Stat, Zxid, watches::WatchKind};
use futures_util::future::BoxFuture;
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, warn};

use self::{hub::Hub, server::Server};
pub use self::{keeper::KeepAlive, server::Read};
use super::{CoordinationError, Coordinator, EventQueue, Session};
use crate::{
    io::Clock,
    metadata::{Applied, Metadata, ReadError},
    wire::{
        Security,
        channel::{BadAddress, Channel},
        envelope::Envelope,
    },
};

/// The grid on which sessions end. ZooKeeper's usual 2 s would make a time-out of 3 s one of 4.
pub const TICK: Duration = Duration::from_millis(500);

/// What may be chosen about coordination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmbeddedSettings {
    /// This node's number.
    pub node: u16,
    /// Which start of this node this is; it only shows in envelopes.
    pub incarnation: u64,
    /// The grid on which sessions end.
    pub tick: Duration,
    /// How often a session's heartbeat is sent.
    pub heartbeat_interval: Duration,
    /// How long an operation waits for this node to catch up with what was seen or written.
    pub patience: Duration,
}

impl Default for EmbeddedSettings {
    fn default() -> Self {
        Self {
            node: 1,
            incarnation: 1,
            tick: TICK,
            heartbeat_interval: TICK,
            patience: Duration::from_secs(5),
        }
    }
}

/// Coordination by Atoll's own nodes. Clones share it.
#[derive(Clone, Debug)]
pub struct Embedded {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    server: Arc<Server>,
    settings: EmbeddedSettings,
    security: Security,
    channels: Mutex<BTreeMap<String, Channel>>,
    stop: CancellationToken,
}

impl Embedded {
    /// Coordinates over `metadata`; heartbeats travel under `security`. Ends with `stop`.
    ///
    /// # Errors
    /// The tree on this node cannot be read.
    pub fn start(
        metadata: Metadata,
        clock: Arc<dyn Clock>,
        security: Security,
        settings: EmbeddedSettings,
        stop: CancellationToken,
    ) -> Result<Self, ReadError> {
        let changes = metadata.coordination_changes();
        // Whatever was applied between the two is told again, to nobody.
        let hub = Hub::new(metadata.coordination_snapshot()?.index()?);
        let (tick, patience) = (settings.tick, settings.patience);
        let keeper = Arc::new(keeper::Keeper::new(metadata.clone(), clock.clone(), tick));
        let server = Server { metadata, clock, hub, keeper: keeper.clone(), tick, patience };
        let server = Arc::new(server);
        let listener = listen(server.clone(), changes, stop.clone());
        tokio::spawn(listener.instrument(tracing::info_span!("coordination_watches")));
        let timing = keeper.run(stop.clone());
        tokio::spawn(timing.instrument(tracing::info_span!("coordination_sessions")));
        let channels = Mutex::default();
        Ok(Self { inner: Arc::new(Inner { server, settings, security, channels, stop }) })
    }

    /// The metadata that it stands on.
    pub fn metadata(&self) -> &Metadata {
        &self.inner.server.metadata
    }

    /// Answers a heartbeat of any node's session, if this node leads.
    pub async fn keep_alive(&self, session: SessionId) -> KeepAlive {
        self.inner.server.keeper.keep_alive(session).await
    }

    /// Opens a session that a client of this server keeps alive itself.
    ///
    /// # Errors
    /// See [`CoordinationError`].
    pub async fn open(
        &self,
        asked: Duration,
        owner: u16,
    ) -> Result<(SessionId, Duration, Zxid), CoordinationError> {
        self.inner.server.open(asked, owner).await
    }

    /// Ends a session.
    ///
    /// # Errors
    /// See [`CoordinationError`].
    pub async fn end(&self, session: SessionId) -> Result<Zxid, CoordinationError> {
        self.inner.server.close(session).await
    }

    /// Changes znodes in a session.
    ///
    /// # Errors
    /// See [`CoordinationError`]; a refusal is not one here.
    pub async fn change(
        &self,
        session: SessionId,
        ops: Vec<Op>,
    ) -> Result<(Zxid, Result<Vec<OpOutcome>, (usize, Refusal)>), CoordinationError> {
        self.inner.server.change(session, ops).await
    }

    /// Reads the data of a znode, from a state that holds `seen`.
    ///
    /// # Errors
    /// See [`CoordinationError`].
    pub async fn get(
        &self,
        seen: Zxid,
        path: &str,
    ) -> Result<Read<Option<(Vec<u8>, Stat)>>, CoordinationError> {
        self.inner.server.get(seen, path).await
    }

    /// Reads the names of a znode's children, from a state that holds `seen`.
    ///
    /// # Errors
    /// See [`CoordinationError`].
    pub async fn children(
        &self,
        seen: Zxid,
        path: &str,
    ) -> Result<Read<Option<(Vec<String>, Stat)>>, CoordinationError> {
        self.inner.server.children(seen, path).await
    }

    /// Watches a znode in a session for what comes after the state at `since`; `None` when this
    /// server has told of something later already.
    ///
    /// # Errors
    /// The path is none, or the session has ended.
    pub async fn watch_since(
        &self,
        session: SessionId,
        path: &str,
        kind: WatchKind,
        since: Zxid,
    ) -> Result<Option<EventQueue>, CoordinationError> {
        if !self.inner.server.lives(since, session).await? {
            return Err(CoordinationError::Ended);
        }
        self.inner.server.watch_since(session, path, kind, since)
    }

    /// Waits until this node holds everything acknowledged before the call, and says how far that is.
    ///
    /// # Errors
    /// See [`CoordinationError`].
    pub async fn catch_up(&self) -> Result<Zxid, CoordinationError> {
        self.inner.server.sync().await
    }
}

impl Inner {
    fn channel(&self, address: &str) -> Result<Channel, BadAddress> {
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(channel) = channels.get(address) {
            return Ok(channel.clone());
        }
        let channel = Channel::new(address, &self.security)?;
        channels.insert(address.to_owned(), channel.clone());
        Ok(channel)
    }

    /// What a heartbeat begins with: its answer does not depend on the view.
    fn envelope(&self) -> Envelope {
        Envelope {
            cluster_id: self.server.metadata.cluster_id().to_owned(),
            sender: u32::from(self.settings.node),
            incarnation: self.settings.incarnation,
            epoch: 0,
        }
    }
}

impl Coordinator for Embedded {
    fn open_session(
        &self,
        timeout: Duration,
    ) -> BoxFuture<'_, Result<Arc<dyn Session>, CoordinationError>> {
        Box::pin(async move {
            let session = session::EmbeddedSession::open(self.inner.clone(), timeout).await?;
            Ok(Arc::new(session) as Arc<dyn Session>)
        })
    }
}

/// Tells the watchers what is applied, until `stop`.
async fn listen(server: Arc<Server>, mut changes: Receiver<Applied>, stop: CancellationToken) {
    loop {
        let applied = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            applied = changes.recv() => applied,
        };
        let gap = match applied {
            Ok(applied) => {
                let gap = matches!(applied, Applied::Replaced { .. });
                server.hub.handle_applied(applied);
                gap
            }
            Err(RecvError::Lagged(missed)) => {
                warn!(missed, "watchers were not told of everything in time");
                server.hub.handle_gap();
                true
            }
            Err(RecvError::Closed) => return,
        };
        if gap {
            end_missed(&server);
        }
    }
}

/// Ends this node's sessions whose end was not heard of.
fn end_missed(server: &Server) {
    let Ok(snapshot) = server.metadata.coordination_snapshot() else { return };
    for session in server.hub.held() {
        if matches!(atoll_core::coordination::query::session(&snapshot, session), Ok(None)) {
            server.hub.handle_ended(session);
        }
    }
}

fn now_ms(clock: &dyn Clock) -> u64 {
    let since = clock.wall().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
