//! This node in group 0: its session, its registration, its lease, the views it hears of there.
//!
//! One session at a time. When one ends, because the node was cut off for too long, the lease is over,
//! another session is opened and the node registers anew. A registration left by an earlier start is
//! taken over at once: the node need not wait for its own ghost to expire.

use std::{sync::Arc, time::Duration};

use atoll_core::view::{NodeId, Registration, View};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{
    Cluster,
    founding::Founding,
    keeper::story,
    relocation::record_at,
    token::{self, Token},
    trust::ensure_authority,
    znodes,
};
use crate::{
    config::Secret,
    coordination::{
        CoordinationError, Coordinator, CreateMode, EventQueue, Liveness, Op, Refusal, Session,
        WatchMode,
    },
    io::{Io, Sometimes},
};

/// Pause before something that did not work is tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// Pause after something that trying again will hardly mend.
const FAILED_PAUSE: Duration = Duration::from_secs(1);

/// How often the view is looked at without an event: a watch that was lost must not be believed for
/// ever.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// How long a configured token lets others in after the last start of the node that has it.
const CONFIGURED_TOKEN_LIFETIME: Duration = Duration::from_secs(365 * 86_400);

/// How long the end of a session may take at a stop. After that it ends by its time-out.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// The open session of this node, shared by everyone who reads or writes the tree.
#[derive(Clone, Debug)]
pub struct SessionSlot {
    session: Arc<watch::Sender<Option<Arc<dyn Session>>>>,
}

impl Default for SessionSlot {
    fn default() -> Self {
        Self { session: Arc::new(watch::Sender::new(None)) }
    }
}

impl SessionSlot {
    /// The session, if there is one now.
    pub fn get(&self) -> Option<Arc<dyn Session>> {
        self.session.borrow().clone()
    }

    /// The sessions as they come and go.
    pub fn subscribe(&self) -> watch::Receiver<Option<Arc<dyn Session>>> {
        self.session.subscribe()
    }
}

/// Keeps this node registered.
#[derive(Debug)]
pub struct Registrar {
    /// This node's cluster.
    pub cluster: Cluster,
    /// Where sessions are opened.
    pub coordinator: Arc<dyn Coordinator>,
    /// The session time-out to ask for.
    pub session_timeout: Duration,
    /// What is registered.
    pub registration: Registration,
    /// What the founder writes first; `None` at a node that joined.
    pub founding: Option<Founding>,
    /// A token that lets others in for as long as this node is configured with it.
    pub token: Option<Secret>,
    /// Time.
    pub io: Io,
    /// Where the open session is handed on.
    pub session: SessionSlot,
}

impl Registrar {
    /// Keeps the node registered until `stop`, then ends the session so that the others know at
    /// once.
    pub async fn run(self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let opened = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                opened = self.coordinator.open_session(self.session_timeout) => opened,
            };
            match opened {
                Ok(session) => self.use_session(session, &stop).await,
                Err(error) => tracing::debug!(%error, "no session yet"),
            }
            if !stop.is_cancelled() {
                tokio::time::sleep(RETRY_PAUSE).await;
            }
        }
    }

    async fn use_session(&self, session: Arc<dyn Session>, stop: &CancellationToken) {
        let ended = tokio::select! {
            biased;
            () = stop.cancelled() => Ok(()),
            ended = self.live(&session) => ended,
        };
        self.session.session.send_replace(None);
        self.cluster.end_lease();
        if let Err(error) = ended {
            tracing::warn!(%error, "this node's session is over");
        }
        if tokio::time::timeout(CLOSE_TIMEOUT, session.close()).await.is_err() {
            tracing::debug!("the session ends by its time-out");
        }
    }

    /// Registers and keeps the lease until the session ends.
    async fn live(&self, shared: &Arc<dyn Session>) -> Result<(), CoordinationError> {
        let session = shared.as_ref();
        let mut liveness = session.liveness();
        loop {
            match self.register(session).await {
                Ok(()) => break,
                Err(CoordinationError::Ended) => return Err(CoordinationError::Ended),
                Err(CoordinationError::Failed(reason)) => {
                    tracing::warn!(reason, "this node cannot register");
                    tokio::time::sleep(FAILED_PAUSE).await;
                }
                Err(error) => tracing::debug!(%error, "not registered yet"),
            }
            tokio::time::sleep(RETRY_PAUSE).await;
        }
        self.session.session.send_replace(Some(shared.clone()));
        let node = self.cluster.me();
        tracing::info!(%node, session = %session.id(), timeout = ?session.timeout(), "registered");
        tokio::select! {
            biased;
            ended = self.keep_lease(&mut liveness) => ended,
            ended = self.follow_views(session) => ended,
        }
    }

    /// Writes the ephemeral znode, in place of one that an earlier session left.
    async fn register(&self, session: &dyn Session) -> Result<(), CoordinationError> {
        self.check_tree(session).await?;
        let path = znodes::of(znodes::REGISTRIES, self.cluster.me());
        let data = znodes::encode(&self.registration)
            .map_err(|error| CoordinationError::Failed(error.to_string()))?;
        if let Some(founding) = &self.founding {
            founding.write(session, self.cluster.me()).await?;
            if !self.cluster.security().is_plaintext() {
                let now = self.io.clock.wall();
                ensure_authority(session, &founding.cluster_id, now).await?;
            }
            self.keep_token(session).await?;
        }
        session.sync(&path).await?;
        let create = Op::Create { path: path.clone(), data, mode: CreateMode::EPHEMERAL };
        let mut ops = match session.exists(&path).await? {
            Some(stat) if stat.ephemeral_owner == Some(session.id()) => return Ok(()),
            Some(_) => {
                Sometimes::GhostReplaced.reached();
                vec![Op::Delete { path, version: None }, create]
            }
            None => vec![create],
        };
        // The record must say the same, or the address would go back when the node goes down.
        let Registration { http, grpc, .. } = &self.registration;
        ops.extend(record_at(session, self.cluster.me(), http, grpc).await?);
        session.multi(ops).await.map(drop)
    }

    /// Makes sure that the tree is this cluster's: an ensemble outside may serve others, too.
    async fn check_tree(&self, session: &dyn Session) -> Result<(), CoordinationError> {
        session.sync(znodes::VIEW).await?;
        let view = match session.get(znodes::VIEW).await {
            Ok((data, _)) => View::decode(&data),
            Err(error) if matches!(error.refusal(), Some(Refusal::NoNode(_))) => return Ok(()),
            Err(error) => return Err(error),
        };
        let theirs = view.map_err(|error| CoordinationError::Failed(error.to_string()))?.cluster_id;
        let ours = &self.cluster.view().cluster_id;
        if theirs == *ours {
            return Ok(());
        }
        Err(CoordinationError::Failed(format!(
            "the coordination tree belongs to cluster `{theirs}`, this node to cluster `{ours}`: each \
             needs a ZooKeeper ensemble of its own (cluster.zookeeper)"
        )))
    }

    /// Makes sure that the configured token lets others in.
    async fn keep_token(&self, session: &dyn Session) -> Result<(), CoordinationError> {
        let Some(token) = &self.token else { return Ok(()) };
        let token: Token = match token.reveal().parse() {
            Ok(token) => token,
            Err(error) => {
                tracing::error!(%error, "cluster.token is no token and lets nobody in");
                return Ok(());
            }
        };
        let record = token.record(self.io.clock.wall(), CONFIGURED_TOKEN_LIFETIME, u32::MAX);
        let path = format!("{}/{}", znodes::TOKENS, token.id());
        match session.set(&path, &record.encode(), None).await {
            Err(error) if matches!(error.refusal(), Some(Refusal::NoNode(_))) => {
                token::issue(session, &token, &record).await
            }
            other => other.map(drop),
        }
    }

    /// Every acknowledged heartbeat carries the lease on.
    async fn keep_lease(
        &self,
        liveness: &mut watch::Receiver<Liveness>,
    ) -> Result<(), CoordinationError> {
        loop {
            let now = *liveness.borrow_and_update();
            if now.state.is_final() {
                return Err(CoordinationError::Ended);
            }
            self.cluster.extend_lease(now.lease_until());
            liveness.changed().await.map_err(|_| CoordinationError::Ended)?;
        }
    }

    async fn follow_views(&self, session: &dyn Session) -> Result<(), CoordinationError> {
        loop {
            match self.follow(session).await {
                Err(CoordinationError::Ended) => return Err(CoordinationError::Ended),
                Err(error) => tracing::debug!(%error, "views are not followed for a moment"),
                Ok(()) => {}
            }
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }

    async fn follow(&self, session: &dyn Session) -> Result<(), CoordinationError> {
        let mut events: EventQueue = session.watch(znodes::VIEW, WatchMode::Persistent).await?;
        let mut taken = None;
        loop {
            match session.get(znodes::VIEW).await {
                Ok((_, stat)) if taken == Some(stat.mzxid) => {}
                Ok((data, stat)) => {
                    self.take(&data);
                    taken = Some(stat.mzxid);
                }
                Err(error) if matches!(error.refusal(), Some(Refusal::NoNode(_))) => {}
                Err(error) => return Err(error),
            }
            if let Ok(None) = tokio::time::timeout(LOOK_INTERVAL, events.next()).await {
                return Ok(());
            }
            while events.try_next().is_some() {}
        }
    }

    fn take(&self, data: &[u8]) {
        match View::decode(data) {
            Ok(view) => {
                let present = self.cluster.view();
                let changes = story::tell(&present, &view);
                let epoch = view.epoch;
                if self.cluster.adopt(view) {
                    tracing::info!(%epoch, %changes, "view followed");
                }
            }
            Err(error) => tracing::error!(%error, "the view in group 0 cannot be read"),
        }
    }
}

/// Writes down up to which epoch a node holds everything it owns.
///
/// # Errors
/// The session.
pub async fn report_synced(
    session: &dyn Session,
    node: NodeId,
    epoch: atoll_core::view::Epoch,
) -> Result<(), CoordinationError> {
    let path = znodes::of(znodes::SYNCED, node);
    let data =
        znodes::encode(&epoch).map_err(|error| CoordinationError::Failed(error.to_string()))?;
    match session.set(&path, &data, None).await {
        Err(error) if matches!(error.refusal(), Some(Refusal::NoNode(_))) => {
            session.create(&path, &data, CreateMode::PERSISTENT).await.map(drop)
        }
        other => other.map(drop),
    }
}
