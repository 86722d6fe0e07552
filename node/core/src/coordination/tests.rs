//! Random histories of sessions and znodes: the real machines, wired as on a leader, do after every
//! step what the reference does.

use std::time::Duration;

use proptest::prelude::*;
use proptest_state_machine::{StateMachineTest, prop_state_machine};

use super::{
    Change, Command, Effects, Outcome, Path, Position, SessionId, keys, query, sessions::Sessions,
};
use crate::metadata::{self, KvRead, MemoryKv, Request, RequestId};

mod changes;
mod model;
mod reference;

use reference::{End, Reference, Seen, Transition, wall_ms};

/// How many histories.
const CASES: u32 = 256;
/// Most steps of one.
const STEPS_MAX: usize = 50;

/// The rows of the group, and the clockwork of its leader.
struct Leader {
    rows: MemoryKv,
    sessions: Sessions,
    tick: Duration,
    now: Duration,
    term: u64,
    index: u64,
}

impl Leader {
    fn new(tick_ms: u64) -> Leader {
        let tick = Duration::from_millis(tick_ms);
        let now = Duration::ZERO;
        let sessions = Sessions::new(tick, [], now);
        Leader { rows: MemoryKv::default(), sessions, tick, now, term: 1, index: 0 }
    }

    /// The next entry of the log holds a new request.
    fn ask(&mut self, change: Change) -> (Outcome, Effects) {
        self.send(self.index + 1, change)
    }

    /// The next entry of the log holds a request; the clockwork follows what it did.
    fn send(&mut self, sequence: u64, change: Change) -> (Outcome, Effects) {
        self.index += 1;
        let command = Command { now_ms: wall_ms(sequence), change };
        let id = RequestId { client: 1, sequence };
        let request = Request { id, command: metadata::Command::Coordinate(command) };
        let position = Position { index: self.index, term: self.term };
        let mut effects = Effects::default();
        let outcome = metadata::apply_at(&mut self.rows, position, &request, &mut effects).unwrap();
        let metadata::Outcome::Coordinated(outcome) = outcome else { panic!("{outcome:?}") };
        for (id, timeout_ms) in &effects.opened {
            self.sessions.handle_opened(*id, Duration::from_millis(*timeout_ms), self.now);
        }
        effects.ended.iter().for_each(|id| self.sessions.handle_ended(*id));
        (outcome, effects)
    }

    /// Time passes, and the clockwork is looked at whenever it is due.
    fn wait(&mut self, pause: Duration, is_cut_off: bool) -> Vec<End> {
        let until = self.now + pause;
        let mut ends = Vec::new();
        while let Some(due) = self.sessions.poll_timeout()
            && due <= until
        {
            assert!(due > self.now, "a time that has passed is never due again");
            self.now = due;
            self.sessions.handle_timeout(due);
            let Some(proposed) = self.sessions.poll_expired() else { continue };
            let change = Change::ExpireSessions { sessions: proposed.clone(), term: self.term };
            let decided = (!is_cut_off).then(|| self.ask(change));
            ends.push(End { at: due, proposed, decided });
        }
        self.now = until;
        ends
    }

    /// Another leader begins: of the sessions it knows what the rows say.
    fn lead(&mut self) {
        self.term += 1;
        let known = query::sessions(&self.rows).unwrap().into_iter();
        let timed = known.map(|(id, record)| (id, Duration::from_millis(record.timeout_ms)));
        self.sessions = Sessions::new(self.tick, timed, self.now);
    }

    fn check_rows(&self, reference: &Reference) {
        let mut rows = 0;
        for (text, (data, stat)) in reference.tree.all() {
            let path = Path::parse(&text).unwrap();
            let (names, _) = query::children(&self.rows, path).unwrap().unwrap();
            assert_eq!(names, reference.tree.children(&text));
            // A root that nobody has touched has no row.
            rows += usize::from(self.rows.get(&keys::znode(path)).unwrap().is_some());
            rows += usize::from(text != "/") + usize::from(stat.ephemeral_owner.is_some());
            assert_eq!(query::get(&self.rows, path).unwrap(), Some((data, stat)));
        }
        for (id, owned) in reference.tree.ephemerals() {
            assert_eq!(query::ephemerals(&self.rows, id).unwrap(), owned);
            rows += 1;
        }
        // Others are there to tell a retry from a new request.
        let of_tree = self.rows.0.keys().filter(|key| b"ZKYE".contains(&key[0]));
        assert_eq!(of_tree.count(), rows, "no row says what the reference does not know");
    }

    fn check_sessions(&self, reference: &Reference) {
        let in_rows: Vec<SessionId> =
            query::sessions(&self.rows).unwrap().into_iter().map(|(id, _)| id).collect();
        assert_eq!(in_rows, reference.sessions.keys().copied().collect::<Vec<_>>());
        assert_eq!(self.sessions.len(), in_rows.len(), "all that live are timed");
        assert_eq!(self.sessions.poll_timeout(), reference.due());
    }
}

impl StateMachineTest for Leader {
    type SystemUnderTest = Leader;
    type Reference = Reference;

    fn init_test(reference: &Reference) -> Leader {
        Leader::new(reference.tick_ms)
    }

    fn apply(mut leader: Leader, reference: &Reference, transition: Transition) -> Leader {
        let seen = match transition {
            Transition::Ask(change) => Seen::Answer(leader.ask(change)),
            Transition::Retry(sequence) => {
                let before = leader.rows.clone();
                let change = reference.sent[&sequence].0.clone();
                let answer = leader.send(sequence, change);
                assert_eq!(leader.rows, before, "a retry changes nothing");
                Seen::Answer(answer)
            }
            Transition::Beat { session, late_ms } => {
                let at = leader.now.saturating_sub(Duration::from_millis(late_ms));
                Seen::Heard(leader.sessions.handle_heartbeat(session, at))
            }
            Transition::Wait { pause_ms, is_cut_off } => {
                Seen::Ends(leader.wait(Duration::from_millis(pause_ms), is_cut_off))
            }
            Transition::Lead => {
                leader.lead();
                Seen::Nothing
            }
        };
        assert_eq!(seen, reference.expected);
        leader
    }

    fn check_invariants(leader: &Leader, reference: &Reference) {
        leader.check_rows(reference);
        leader.check_sessions(reference);
    }
}

prop_state_machine! {
    #![proptest_config(ProptestConfig::with_cases(CASES))]

    #[test]
    fn sessions_and_tree_are_what_the_reference_says(sequential 1..STEPS_MAX => Leader);
}
