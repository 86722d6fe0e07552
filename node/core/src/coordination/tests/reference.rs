//! The reference of a leader: the tree of the model, when each session was last heard from, and the
//! answer that each request got.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use proptest::{prelude::*, sample::select};
use proptest_state_machine::ReferenceStateMachine;

use super::{changes, model::Model};
use crate::coordination::{Change, Effects, Outcome, SessionId, Zxid, sessions::Heard};

/// Ticks that are tried, in milliseconds.
const TICKS_MS: std::ops::Range<u64> = 40..700;
/// Pauses that are tried, in milliseconds: up to a good part of a time-out.
const PAUSES_MS: std::ops::Range<u64> = 0..1500;
/// How late a heartbeat may come to be heard of, in milliseconds.
const LATE_MS: std::ops::Range<u64> = 0..400;

/// The clock of who sends a request.
pub fn wall_ms(sequence: u64) -> u64 {
    1_000_000 + sequence
}

/// Something that happens to a leader.
#[derive(Clone, Debug)]
pub enum Transition {
    /// A new request comes.
    Ask(Change),
    /// The request with this number comes once more.
    Retry(u64),
    /// A heartbeat came `late_ms` ago, and is heard of now.
    Beat {
        /// Of whom.
        session: SessionId,
        /// How long ago.
        late_ms: u64,
    },
    /// Time passes.
    Wait {
        /// How much.
        pause_ms: u64,
        /// Is all lost that the leader proposes meanwhile?
        is_cut_off: bool,
    },
    /// Another leader begins.
    Lead,
}

/// What a transition lets one see.
#[derive(Clone, Debug, PartialEq)]
pub enum Seen {
    /// Nothing.
    Nothing,
    /// The answer to a request, and what was done beside.
    Answer((Outcome, Effects)),
    /// What came of a heartbeat.
    Heard(Heard),
    /// Whose end was proposed meanwhile.
    Ends(Vec<End>),
}

/// The end of sessions that were silent.
#[derive(Clone, Debug, PartialEq)]
pub struct End {
    /// When it was proposed.
    pub at: Duration,
    /// Whose.
    pub proposed: Vec<SessionId>,
    /// What came of it, unless it was lost.
    pub decided: Option<(Outcome, Effects)>,
}

/// What is known of a session that lives; times are in milliseconds.
#[derive(Clone, Debug)]
pub struct Session {
    timeout: u64,
    heard: u64,
}

/// The reference; times are in milliseconds.
#[derive(Clone, Debug)]
pub struct Reference {
    /// Sessions end at whole multiples of it.
    pub tick_ms: u64,
    /// Those that live.
    pub sessions: BTreeMap<SessionId, Session>,
    /// The znodes.
    pub tree: Model,
    /// Each request with its first answer, by its number.
    pub sent: BTreeMap<u64, (Change, Outcome)>,
    /// What the newest transition lets one see.
    pub expected: Seen,
    now: u64,
    term: u64,
    index: u64,
    /// Those whose end was proposed and lost.
    ending: BTreeSet<SessionId>,
}

impl Reference {
    fn new(tick_ms: u64) -> Reference {
        Reference {
            tick_ms,
            sessions: BTreeMap::new(),
            tree: Model::default(),
            sent: BTreeMap::new(),
            expected: Seen::Nothing,
            now: 0,
            term: 1,
            index: 0,
            ending: BTreeSet::new(),
        }
    }

    /// When the clockwork must be looked at.
    pub fn due(&self) -> Option<Duration> {
        let timed = self.sessions.iter().filter(|(id, _)| !self.ending.contains(id));
        let ends = timed.map(|(_, session)| self.tick_after(session.heard + session.timeout));
        let again = (!self.ending.is_empty()).then(|| self.tick_after(self.now));
        ends.chain(again).min().map(Duration::from_millis)
    }

    fn tick_after(&self, at: u64) -> u64 {
        (at / self.tick_ms + 1) * self.tick_ms
    }

    fn ask(&mut self, change: &Change) -> (Outcome, Effects) {
        self.index += 1;
        let now_ms = wall_ms(self.index);
        let (verdict, effects) = self.tree.apply(self.index, now_ms, self.term, change);
        for (id, timeout) in &effects.opened {
            self.sessions.insert(*id, Session { timeout: *timeout, heard: self.now });
        }
        for id in &effects.ended {
            self.sessions.remove(id);
            self.ending.remove(id);
        }
        let outcome = Outcome { zxid: Zxid(self.index), verdict };
        self.sent.insert(self.index, (change.clone(), outcome.clone()));
        (outcome, effects)
    }

    fn hear(&mut self, id: SessionId, late: u64) -> Heard {
        let Some(session) = self.sessions.get_mut(&id) else { return Heard::Unknown };
        if self.ending.contains(&id) {
            return Heard::Ending;
        }
        session.heard = session.heard.max(self.now.saturating_sub(late));
        Heard::Lives
    }

    /// Goes from tick to tick: who has been silent for longer than its time-out is to end.
    fn wait(&mut self, pause: u64, is_cut_off: bool) -> Vec<End> {
        let until = self.now + pause;
        let mut ends = Vec::new();
        while self.tick_after(self.now) <= until {
            self.now = self.tick_after(self.now);
            let silent = self.silent();
            let proposed: Vec<SessionId> = self.ending.iter().chain(&silent).copied().collect();
            if proposed.is_empty() {
                continue;
            }
            self.ending.extend(silent);
            let at = Duration::from_millis(self.now);
            let change = Change::ExpireSessions { sessions: proposed.clone(), term: self.term };
            let decided = (!is_cut_off).then(|| self.ask(&change));
            ends.push(End { at, proposed, decided });
        }
        self.now = until;
        ends
    }

    /// Those that are to end now, all of them within a tick after their time-out.
    fn silent(&self) -> Vec<SessionId> {
        let mut silent = Vec::new();
        for (id, session) in self.sessions.iter().filter(|(id, _)| !self.ending.contains(id)) {
            let late = (self.now - session.heard).saturating_sub(session.timeout);
            assert!(late <= self.tick_ms, "{id} outlives its window");
            if late > 0 {
                silent.push(*id);
            }
        }
        silent
    }

    fn lead(&mut self) {
        self.term += 1;
        self.ending.clear();
        self.sessions.values_mut().for_each(|session| session.heard = self.now);
    }
}

impl ReferenceStateMachine for Reference {
    type State = Reference;
    type Transition = Transition;

    fn init_state() -> BoxedStrategy<Reference> {
        TICKS_MS.prop_map(Reference::new).boxed()
    }

    fn transitions(state: &Reference) -> BoxedStrategy<Transition> {
        let mut known: Vec<SessionId> = state.sessions.keys().copied().collect();
        let ask = changes::any(known.clone(), state.term).prop_map(Transition::Ask);
        known.push(SessionId(0));
        let beat = (select(known), LATE_MS)
            .prop_map(|(session, late_ms)| Transition::Beat { session, late_ms });
        let wait = (PAUSES_MS, prop::bool::weighted(0.3))
            .prop_map(|(pause_ms, is_cut_off)| Transition::Wait { pause_ms, is_cut_off });
        let retry = (1..=state.index.max(1)).prop_map(Transition::Retry);
        let retries = if state.sent.is_empty() { 0 } else { 2 };
        prop_oneof![
            16 => ask,
            retries => retry,
            5 => beat,
            5 => wait,
            1 => Just(Transition::Lead),
        ]
        .boxed()
    }

    /// Only what was sent can be sent again.
    fn preconditions(state: &Reference, transition: &Transition) -> bool {
        !matches!(transition, Transition::Retry(number) if !state.sent.contains_key(number))
    }

    fn apply(mut state: Reference, transition: &Transition) -> Reference {
        state.expected = match transition {
            Transition::Ask(change) => Seen::Answer(state.ask(change)),
            Transition::Retry(number) => {
                state.index += 1;
                Seen::Answer((state.sent[number].1.clone(), Effects::default()))
            }
            Transition::Beat { session, late_ms } => Seen::Heard(state.hear(*session, *late_ms)),
            Transition::Wait { pause_ms, is_cut_off } => {
                Seen::Ends(state.wait(*pause_ms, *is_cut_off))
            }
            Transition::Lead => {
                state.lead();
                Seen::Nothing
            }
        };
        state
    }
}
