//! Whom this node believes, as group 0 has it: the cluster's authorities, and who was removed.
//!
//! Both are followed by a watch and handed on: to who signs and renews certificates, and to the
//! listener, which lets nobody in who was removed for good.

use std::{
    collections::BTreeSet,
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, SystemTime},
};

use atoll_core::view::{Intent, NodeId};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{Cluster, SessionSlot, ca::Authorities, keeper::facts, znodes};
use crate::coordination::{CoordinationError, CreateMode, EventQueue, Refusal, Session, WatchMode};

/// Pause before something that did not work is tried again, and the longest between two looks.
const RETRY_PAUSE: Duration = Duration::from_millis(200);
const LOOK_INTERVAL: Duration = Duration::from_secs(10);

/// What is followed.
#[derive(Clone, Debug)]
pub struct Trust {
    authorities: Arc<watch::Sender<Option<Authorities>>>,
    removed: Arc<RwLock<BTreeSet<NodeId>>>,
}

impl Trust {
    /// With the authorities that were known at the last stop.
    pub fn new(known: Option<Authorities>) -> Trust {
        Trust { authorities: Arc::new(watch::Sender::new(known)), removed: Arc::default() }
    }

    /// The cluster's authorities; `None` until they are known.
    pub fn authorities(&self) -> watch::Receiver<Option<Authorities>> {
        self.authorities.subscribe()
    }

    /// Was the node removed for good?
    pub fn is_removed(&self, node: NodeId) -> bool {
        self.removed.read().unwrap_or_else(PoisonError::into_inner).contains(&node)
    }

    /// Follows group 0 until `stop`.
    pub async fn run(self, cluster: Cluster, session: SessionSlot, stop: CancellationToken) {
        while let Some(session) = session.wait(&stop).await {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                failed = self.follow(&cluster, session.as_ref()) => {
                    if let Err(error) = failed {
                        tracing::debug!(%error, "trust is not followed for a moment");
                    }
                }
            }
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }

    async fn follow(
        &self,
        cluster: &Cluster,
        session: &dyn Session,
    ) -> Result<(), CoordinationError> {
        let mut authorities: EventQueue = session.watch(znodes::CA, WatchMode::Persistent).await?;
        let mut members: EventQueue =
            session.watch(znodes::MEMBERS, WatchMode::PersistentRecursive).await?;
        loop {
            self.look(cluster, session).await?;
            tokio::select! {
                biased;
                event = authorities.next() => if event.is_none() { return Ok(()) },
                event = members.next() => if event.is_none() { return Ok(()) },
                () = tokio::time::sleep(LOOK_INTERVAL) => {}
            }
            while authorities.try_next().is_some() || members.try_next().is_some() {}
        }
    }

    async fn look(
        &self,
        cluster: &Cluster,
        session: &dyn Session,
    ) -> Result<(), CoordinationError> {
        if let Some(found) = read(session).await? {
            self.authorities.send_if_modified(|known| {
                let changed = known.as_ref() != Some(&found);
                if changed && let Ok(fingerprint) = found.fingerprint() {
                    tracing::info!(%fingerprint, "the cluster's CA");
                }
                *known = Some(found);
                changed
            });
        }
        let view = cluster.view();
        let records = facts::members(session).await?;
        let removed = records
            .iter()
            .filter(|(node, record)| {
                record.intent == Intent::Removed && !view.members.contains_key(node)
            })
            .map(|(node, _)| *node)
            .collect();
        *self.removed.write().unwrap_or_else(PoisonError::into_inner) = removed;
        Ok(())
    }
}

async fn read(session: &dyn Session) -> Result<Option<Authorities>, CoordinationError> {
    match session.get(znodes::CA).await {
        Ok((data, _)) => {
            let authorities = znodes::decode(&data);
            authorities.map(Some).map_err(|error| CoordinationError::Failed(error.to_string()))
        }
        Err(error) if matches!(error.refusal(), Some(Refusal::NoNode(_))) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Makes the cluster's authority, unless there is one.
///
/// # Errors
/// The session, or a library that makes no keys.
pub async fn ensure_authority(
    session: &dyn Session,
    cluster_id: &str,
    now: SystemTime,
) -> Result<(), CoordinationError> {
    if session.exists(znodes::CA).await?.is_some() {
        return Ok(());
    }
    let failed = |error: String| CoordinationError::Failed(error);
    let made = Authorities::found(cluster_id, now).map_err(|error| failed(error.to_string()))?;
    let data = znodes::encode(&made).map_err(|error| failed(error.to_string()))?;
    match session.create(znodes::CA, &data, CreateMode::PERSISTENT).await {
        Err(error) if matches!(error.refusal(), Some(Refusal::NodeExists(_))) => Ok(()),
        created => {
            created?;
            tracing::info!(cluster = cluster_id, "the cluster's CA is made");
            Ok(())
        }
    }
}
