//! The leader's side of sessions: it hears heartbeats and ends who is silent.
//!
//! Every node runs [`Keeper::run`]; it does something only while the node leads the coordination
//! group. The time-outs are [`Sessions`]'s business. Two things make a heartbeat's answer worth a
//! lease:
//! - it is given only after a quorum has confirmed, *since the heartbeat came*, that this node still
//!   leads: else a leader that was cut off could go on promising while its successor ends the session;
//! - an end is proposed by this node only, never handed on, and counts only in the term in which it
//!   was decided: what another leader has heard meanwhile is never overruled.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use atoll_core::coordination::{
    Change, Command, SessionId, Verdict, query,
    sessions::{Heard, Sessions},
};
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::now_ms;
use crate::{
    io::{Clock, Sometimes, plant::Plant},
    metadata::{Applied, COORDINATION, Leader, Leadership, Metadata},
};

/// Pause before a leader that no quorum confirms asks again.
const CONFIRM_PAUSE: Duration = Duration::from_millis(50);

/// What a heartbeat is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeepAlive {
    /// The session lives, and cannot end before its time-out has passed since the heartbeat came.
    Lives,
    /// The session has ended.
    Ended,
    /// This node does not lead; perhaps it knows who does.
    NotLeader(Leader),
    /// Nothing is sure: ask again.
    Unsure,
}

/// Times sessions while this node leads.
#[derive(Debug)]
pub(super) struct Keeper {
    metadata: Metadata,
    clock: Arc<dyn Clock>,
    tick: Duration,
    leading: Mutex<Option<Leading>>,
}

#[derive(Debug)]
struct Leading {
    term: u64,
    sessions: Sessions,
}

impl Keeper {
    pub fn new(metadata: Metadata, clock: Arc<dyn Clock>, tick: Duration) -> Self {
        Self { metadata, clock, tick, leading: Mutex::new(None) }
    }

    /// A heartbeat of `session` came.
    pub async fn keep_alive(&self, session: SessionId) -> KeepAlive {
        let came = self.clock.monotonic();
        let Some((term, heard)) = self.hear(session, came) else {
            let leader = self.metadata.leader(COORDINATION).unwrap_or_default();
            return if leader.here { KeepAlive::Unsure } else { KeepAlive::NotLeader(leader) };
        };
        let confirmed = Plant::HeartbeatUnconfirmed.is_planted() || self.leads_still(term).await;
        if heard == Heard::Ending || !confirmed {
            return KeepAlive::Unsure;
        }
        // The state is as fresh as the confirmation: what it says is true.
        let snapshot = self.metadata.coordination_snapshot();
        match snapshot.map(|snapshot| query::session(&snapshot, session)) {
            Ok(Ok(None)) => KeepAlive::Ended,
            Ok(Ok(Some(record))) if heard == Heard::Unknown => {
                // Opened a moment ago: its heartbeat was quicker than the news.
                self.open(term, session, Duration::from_millis(record.timeout_ms), came);
                KeepAlive::Lives
            }
            Ok(Ok(Some(_))) => KeepAlive::Lives,
            Ok(Err(_)) | Err(_) => KeepAlive::Unsure,
        }
    }

    /// Does this node still lead in `term`, now that the quorum is asked?
    async fn leads_still(&self, term: u64) -> bool {
        matches!(self.metadata.led_term(COORDINATION).await, Ok(led) if led == Some(term))
    }

    fn hear(&self, session: SessionId, now: Duration) -> Option<(u64, Heard)> {
        let mut leading = self.lock();
        let leading = leading.as_mut()?;
        Some((leading.term, leading.sessions.handle_heartbeat(session, now)))
    }

    fn open(&self, term: u64, session: SessionId, timeout: Duration, now: Duration) {
        if let Some(leading) = self.lock().as_mut().filter(|leading| leading.term == term) {
            leading.sessions.handle_opened(session, timeout, now);
        }
    }

    /// Times sessions whenever this node leads, until `stop`.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let Ok(leadership) = self.metadata.leadership(COORDINATION) else { return };
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = self.follow(leadership) => {}
        }
        *self.lock() = None;
    }

    async fn follow(&self, mut leadership: Leadership) {
        loop {
            if leadership.now().here {
                self.lead(&mut leadership).await;
                *self.lock() = None;
                tokio::time::sleep(CONFIRM_PAUSE).await;
            } else if leadership.changed().await.is_none() {
                return;
            }
        }
    }

    /// Leads for as long as this term lasts.
    async fn lead(&self, leadership: &mut Leadership) {
        // First the news, then the state: what happens in between is heard of twice and not missed.
        let mut changes = self.metadata.coordination_changes();
        let Ok(Some(term)) = self.metadata.led_term(COORDINATION).await else { return };
        let Some(count) = self.begin(term) else { return };
        info!(term, sessions = count, "this node times the sessions");
        loop {
            let wait = self.wait();
            tokio::select! {
                biased;
                now = leadership.changed() => {
                    if !now.is_some_and(|now| now.here && now.term == term) {
                        info!(term, "this node times the sessions no more");
                        return;
                    }
                }
                applied = changes.recv() => match applied {
                    Ok(Applied::Entries { effects, .. }) => self.note(&effects),
                    // Begin again, with what the state says.
                    Ok(Applied::Replaced { .. }) | Err(RecvError::Lagged(_)) => return,
                    Err(RecvError::Closed) => return std::future::pending().await,
                },
                () = tokio::time::sleep(wait) => {
                    if let Some(sessions) = self.due() {
                        self.expire(term, sessions).await;
                    }
                }
            }
        }
    }

    /// Gives every session a full time-out; answers how many there are.
    fn begin(&self, term: u64) -> Option<usize> {
        let snapshot = self.metadata.coordination_snapshot().ok()?;
        let found = match query::sessions(&snapshot) {
            Ok(found) => found,
            Err(error) => {
                warn!(%error, "sessions cannot be read");
                return None;
            }
        };
        let found = found.into_iter();
        let found = found.map(|(id, record)| (id, Duration::from_millis(record.timeout_ms)));
        let sessions = Sessions::new(self.tick, found, self.clock.monotonic());
        let count = sessions.len();
        *self.lock() = Some(Leading { term, sessions });
        Some(count)
    }

    fn note(&self, effects: &atoll_core::coordination::Effects) {
        let now = self.clock.monotonic();
        let mut leading = self.lock();
        let Some(leading) = leading.as_mut() else { return };
        for (id, timeout_ms) in &effects.opened {
            leading.sessions.handle_opened(*id, Duration::from_millis(*timeout_ms), now);
        }
        for id in &effects.ended {
            leading.sessions.handle_ended(*id);
        }
    }

    /// How long until somebody may have been silent for too long.
    fn wait(&self) -> Duration {
        let leading = self.lock();
        let due = leading.as_ref().and_then(|leading| leading.sessions.poll_timeout());
        // Heartbeats only move deadlines back; a session that is opened wakes the loop by itself.
        due.map_or(self.tick, |due| due.saturating_sub(self.clock.monotonic())).min(self.tick)
    }

    fn due(&self) -> Option<Vec<SessionId>> {
        let mut leading = self.lock();
        let leading = leading.as_mut()?;
        if Plant::SessionNeverEnds.is_planted() {
            return None;
        }
        leading.sessions.handle_timeout(self.clock.monotonic());
        leading.sessions.poll_expired()
    }

    async fn expire(&self, term: u64, sessions: Vec<SessionId>) {
        let change = Change::ExpireSessions { sessions: sessions.clone(), term };
        let command = Command { now_ms: now_ms(self.clock.as_ref()), change };
        let outcome = self.metadata.coordinate_as_leader(command).await;
        match outcome.map(|outcome| outcome.verdict) {
            Some(Verdict::Ended(ended)) => {
                for session in ended {
                    Sometimes::SessionExpired.reached();
                    info!(%session, "session expired");
                }
            }
            // They are still there, and come again after a tick.
            other => warn!(?sessions, ?other, "sessions are silent, but their end is not decided"),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Leading>> {
        self.leading.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
