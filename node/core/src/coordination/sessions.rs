//! Which sessions have been silent for too long: the leader's clockwork.
//!
//! Heartbeats do not enter the log. The leader of group 0 notes when it heard from whom, and proposes
//! the end of who was silent. Deadlines are rounded **up** to the next tick, so a session ends within
//! `[timeout, timeout + tick]` after its last heartbeat and never earlier, and sessions that end in
//! one tick end in one command. A new leader knows nothing of what its predecessor heard: it gives
//! every session a full time-out.
//!
//! The contract: [`Sessions::handle_opened`] and [`Sessions::handle_ended`] follow the log;
//! [`Sessions::handle_heartbeat`] whenever one comes; [`Sessions::handle_timeout`] when
//! [`Sessions::poll_timeout`] is due; then [`Sessions::poll_expired`] is proposed. A session that has
//! been handed out there is not heard any more: it is gone, or its end is proposed again.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::command::SessionId;

/// Fewest ticks in a session's time-out.
const TICKS_MIN: u32 = 2;
/// Most ticks in a session's time-out.
const TICKS_MAX: u32 = 20;

/// The time-out of a session that asks for `asked`: between 2 and 20 ticks, as with ZooKeeper.
pub fn negotiate(asked: Duration, tick: Duration) -> Duration {
    asked.clamp(tick * TICKS_MIN, tick * TICKS_MAX)
}

/// The sessions that the leader times.
#[derive(Clone, Debug)]
pub struct Sessions {
    tick: Duration,
    sessions: BTreeMap<SessionId, Timed>,
    /// Who expires when. A session is in it unless it is ending.
    deadlines: BTreeSet<(Duration, SessionId)>,
    ending: BTreeSet<SessionId>,
    /// When the end of those is proposed again.
    ending_again: Option<Duration>,
    expired: Vec<SessionId>,
}

#[derive(Clone, Copy, Debug)]
struct Timed {
    timeout: Duration,
    expires: Duration,
}

/// What came of a heartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// The session lives on.
    Lives,
    /// It is about to end: too late.
    Ending,
    /// There is no such session.
    Unknown,
}

impl Sessions {
    /// Begins to lead at `now`, with the sessions there are and their time-outs.
    pub fn new(
        tick: Duration,
        sessions: impl IntoIterator<Item = (SessionId, Duration)>,
        now: Duration,
    ) -> Self {
        let tick = tick.max(Duration::from_millis(1));
        let mut new = Self {
            tick,
            sessions: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            ending: BTreeSet::new(),
            ending_again: None,
            expired: Vec::new(),
        };
        for (id, timeout) in sessions {
            new.handle_opened(id, timeout, now);
        }
        new
    }

    /// A session was opened.
    pub fn handle_opened(&mut self, id: SessionId, timeout: Duration, now: Duration) {
        self.handle_ended(id);
        let expires = self.round_up(now + timeout);
        self.sessions.insert(id, Timed { timeout, expires });
        self.deadlines.insert((expires, id));
    }

    /// A session has ended.
    pub fn handle_ended(&mut self, id: SessionId) {
        if let Some(timed) = self.sessions.remove(&id) {
            self.deadlines.remove(&(timed.expires, id));
        }
        self.ending.remove(&id);
        self.expired.retain(|expired| *expired != id);
    }

    /// A heartbeat came at `now`.
    pub fn handle_heartbeat(&mut self, id: SessionId, now: Duration) -> Heard {
        let Some(timed) = self.sessions.get(&id).copied() else { return Heard::Unknown };
        if self.ending.contains(&id) {
            return Heard::Ending;
        }
        // Never backwards, should heartbeats overtake one another.
        let expires = self.round_up(now + timed.timeout).max(timed.expires);
        self.deadlines.remove(&(timed.expires, id));
        self.deadlines.insert((expires, id));
        self.sessions.insert(id, Timed { expires, ..timed });
        Heard::Lives
    }

    /// It is `now`: whose time has come?
    pub fn handle_timeout(&mut self, now: Duration) {
        if self.ending_again.is_some_and(|again| again <= now) {
            self.expired = self.ending.iter().copied().collect();
        }
        while let Some(&(expires, id)) = self.deadlines.first()
            && expires <= now
        {
            self.deadlines.pop_first();
            self.ending.insert(id);
            self.expired.push(id);
        }
        self.ending_again = (!self.ending.is_empty()).then(|| now + self.tick);
    }

    /// Those whose end is to be proposed now. If they are still there a tick later, they come again.
    pub fn poll_expired(&mut self) -> Option<Vec<SessionId>> {
        (!self.expired.is_empty()).then(|| std::mem::take(&mut self.expired))
    }

    /// When [`Self::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Duration> {
        let next = self.deadlines.first().map(|(expires, _)| *expires);
        let again = self.ending_again.filter(|_| !self.ending.is_empty());
        next.into_iter().chain(again).min()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Are there none?
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// The first tick after `at`.
    fn round_up(&self, at: Duration) -> Duration {
        let tick = self.tick.as_nanos();
        let rounded = (at.as_nanos() / tick + 1) * tick;
        Duration::from_nanos(u64::try_from(rounded).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests;
