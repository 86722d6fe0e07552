//! The view keeper: at one node at a time, facts become views.
//!
//! Sessions, intents of operators, reports of synchronised nodes and time that has passed are facts
//! in group 0; which view follows from them is pure code ([`atoll_core::view::next`]). The node that
//! leads group 0 writes it, if the view is still the one it began with: two that both think they lead
//! cannot both write, and neither can write nonsense, for both follow the same rules.

pub mod down;
pub mod facts;
pub mod story;
pub mod tidy;

use std::{sync::Arc, time::Duration};

use atoll_core::view::{self, View};
use tokio_util::sync::CancellationToken;

use self::down::DownTimers;
use super::{Cluster, SessionSlot, znodes};
use crate::{
    coordination::{CoordinationError, EventQueue, Refusal, Session, WatchMode},
    io::{Io, rt::blocking},
    metadata::{COORDINATION, Leadership, Metadata},
};

/// Pause after something did not work, and the longest time between two looks in any case.
const PAUSE: Duration = Duration::from_millis(200);
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// Views that one event may lead to, one after the other. A plan takes two or three; more in a row
/// would be rules that do not settle, and must not keep the processor busy.
const VIEWS_IN_A_ROW: usize = 16;

/// What the keeper works with.
#[derive(Debug)]
pub struct Keeper {
    /// This node's cluster, which adopts what is written.
    pub cluster: Cluster,
    /// Time.
    pub io: Io,
    /// The session to read and write with.
    pub session: SessionSlot,
    /// Tells who leads group 0.
    pub metadata: Metadata,
    /// How long a member may be down before it leaves the ring.
    pub down_out_interval: Duration,
}

impl Keeper {
    /// Keeps the view whenever it is this node's turn, until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let Ok(mut leadership) = self.metadata.leadership(COORDINATION) else { return };
        while !stop.is_cancelled() {
            if !leadership.now().here {
                tokio::select! {
                    biased;
                    () = stop.cancelled() => return,
                    changed = leadership.changed() => if changed.is_none() { return },
                }
                continue;
            }
            let Some(session) = self.session.wait(&stop).await else { return };
            tracing::info!(node = %self.cluster.me(), "this node keeps the view");
            let ended = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = lost(&mut leadership) => Ok(()),
                ended = self.keep(session.as_ref()) => ended,
            };
            match ended {
                Ok(()) => tracing::info!("another node keeps the view now"),
                Err(error) => tracing::warn!(%error, "the view is not kept for a moment"),
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Follows the facts until something fails.
    async fn keep(&self, session: &dyn Session) -> Result<(), CoordinationError> {
        // A leader that was just elected may not have applied everything of its predecessor.
        session.sync(znodes::ROOT).await?;
        let mut events = session.watch(znodes::ROOT, WatchMode::PersistentRecursive).await?;
        let mut timers = DownTimers::default();
        let mut tidied: Option<Duration> = None;
        loop {
            let pause = self.settle(session, &mut timers).await?;
            let now = self.io.clock.monotonic();
            if tidied.is_none_or(|last| now.saturating_sub(last) >= tidy::INTERVAL) {
                tidied = Some(now);
                let removed =
                    tidy::tidy(session, &self.cluster.view(), self.io.clock.wall()).await?;
                tracing::debug!(removed, "what joins left behind is tidied away");
            }
            wait(&mut events, pause).await?;
        }
    }

    /// Writes views until none follows; answers when to look again.
    async fn settle(
        &self,
        session: &dyn Session,
        timers: &mut DownTimers,
    ) -> Result<Duration, CoordinationError> {
        for _ in 0..VIEWS_IN_A_ROW {
            let Some((present, version)) = facts::view(session).await? else { return Ok(PAUSE) };
            let mut facts = facts::read(session).await?;
            let now = self.io.clock.monotonic();
            timers.handle_view(&present, now);
            facts.down_too_long = timers.down_for(self.down_out_interval, now);
            // Thousands of points and nodes take milliseconds.
            let (present, next) = blocking(move || {
                let next = view::next(&present, &facts);
                (present, next)
            })
            .await;
            let Some(next) = next else {
                let due = timers.next_at(self.down_out_interval, now);
                let pause = due.map_or(LOOK_INTERVAL, |due| due.saturating_sub(now));
                return Ok(pause.min(LOOK_INTERVAL));
            };
            self.write(session, &present, next, version).await?;
        }
        tracing::error!("views follow each other without an end");
        Ok(LOOK_INTERVAL)
    }

    async fn write(
        &self,
        session: &dyn Session,
        present: &View,
        next: View,
        version: i32,
    ) -> Result<(), CoordinationError> {
        match session.set(znodes::VIEW, &next.encode(), Some(version)).await {
            Ok(_) => {
                let changes = story::tell(present, &next);
                tracing::info!(epoch = %next.epoch, %changes, "view changed");
                self.cluster.adopt(next);
                Ok(())
            }
            // Somebody else wrote meanwhile. In ZooKeeper a former keeper's write may still be on its way;
            // one to group 0 ends with its leadership.
            Err(error) if matches!(error.refusal(), Some(Refusal::BadVersion { .. })) => {
                session.sync(znodes::VIEW).await
            }
            Err(error) => Err(error),
        }
    }
}

/// Waits until this node does not lead any more.
async fn lost(leadership: &mut Leadership) {
    while leadership.changed().await.is_some_and(|leader| leader.here) {}
}

/// Waits for an event, for at most `pause`; whatever else has happened by then is taken along.
async fn wait(events: &mut EventQueue, pause: Duration) -> Result<(), CoordinationError> {
    if let Ok(None) = tokio::time::timeout(pause, events.next()).await {
        return Err(CoordinationError::Ended);
    }
    while events.try_next().is_some() {}
    Ok(())
}

/// The session of this node, as it comes and goes.
impl SessionSlot {
    /// The session once there is one; `None` when the node stops.
    pub async fn wait(&self, stop: &CancellationToken) -> Option<Arc<dyn Session>> {
        let mut slot = self.subscribe();
        tokio::select! {
            biased;
            () = stop.cancelled() => None,
            session = slot.wait_for(Option::is_some) => session.ok()?.clone(),
        }
    }
}
