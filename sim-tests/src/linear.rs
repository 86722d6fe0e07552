//! Is this history of one register linearizable?
//!
//! A tag, the presence of a manifest, the presence of a blob: each is one register that holds a
//! value or nothing. Clients record when they asked, when they were answered, and what. The rule:
//! there must be one order of all operations, each placed between its question and its answer, in
//! which every answer is right. An operation without an answer is *unknown*: it may have happened at
//! any time since it was asked, or never.
//!
//! The search is the classic one (Wing and Gong, with Lowe's memory of visited states), for it is a
//! page long and histories here have dozens of operations, not thousands.

use std::{collections::BTreeSet, fmt::Debug};

/// What a change demands of the register before it happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard<V> {
    /// Nothing.
    Any,
    /// It holds this.
    Is(V),
    /// It holds something.
    Present,
    /// It holds nothing.
    Absent,
}

impl<V: PartialEq> Guard<V> {
    fn holds(&self, value: Option<&V>) -> bool {
        match self {
            Guard::Any => true,
            Guard::Is(expected) => value == Some(expected),
            Guard::Present => value.is_some(),
            Guard::Absent => value.is_none(),
        }
    }
}

/// What a reader saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen<V> {
    /// That there is nothing.
    Nothing,
    /// That there is something.
    Something,
    /// This.
    Value(V),
}

/// What was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op<V> {
    /// Change the register if the guard holds.
    Set {
        /// The condition.
        guard: Guard<V>,
        /// The new content.
        to: Option<V>,
    },
    /// Empty the register if it holds this, as deleting a manifest does to its tags.
    ClearIf(V),
    /// Read it.
    See(Seen<V>),
}

/// What was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is done.
    Done,
    /// The guard did not hold.
    Refused,
    /// Nobody knows.
    Unknown,
}

/// One operation of a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event<V> {
    /// Position of the question in the order of everything that happened.
    pub called: u64,
    /// Position of the answer, behind that of the question; `u64::MAX` when there was none.
    pub returned: u64,
    /// What was asked.
    pub op: Op<V>,
    /// What was answered.
    pub outcome: Outcome,
}

impl<V: Copy + Ord + Debug> Event<V> {
    /// The register after this operation, if its answer is right for `value`.
    fn apply(&self, value: Option<V>) -> Option<Option<V>> {
        match (self.op, self.outcome) {
            (Op::Set { guard, to }, Outcome::Done) => guard.holds(value.as_ref()).then_some(to),
            (Op::Set { guard, .. }, Outcome::Refused) => {
                (!guard.holds(value.as_ref())).then_some(value)
            }
            (Op::Set { guard, to }, Outcome::Unknown) => {
                Some(if guard.holds(value.as_ref()) { to } else { value })
            }
            (Op::ClearIf(held), _) => Some(value.filter(|now| *now != held)),
            (Op::See(Seen::Nothing), _) => value.is_none().then_some(value),
            (Op::See(Seen::Something), _) => value.is_some().then_some(value),
            (Op::See(Seen::Value(seen)), _) => (value == Some(seen)).then_some(value),
        }
    }

    fn is_unknown(&self) -> bool {
        self.outcome == Outcome::Unknown
    }

    /// Can it never change the register?
    fn only_looks(&self) -> bool {
        matches!(self.op, Op::See(_)) || self.outcome == Outcome::Refused
    }
}

/// Why a history is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No order explains it.
    NotLinearizable,
    /// The search was given up: the history is too long or has too many unknown operations.
    Undecided,
}

/// States visited before the search is given up. A history that needs more is a workload to fix.
const STATES_MAX: usize = 500_000;

/// Checks a history of a register that held nothing at first.
pub fn check<V: Copy + Ord + Debug>(events: &[Event<V>]) -> Result<(), Refusal> {
    let mut search = Search { events, visited: BTreeSet::new() };
    let mut done = Placed(vec![0; events.len().div_ceil(64)]);
    match search.explains(&mut done, None) {
        true => Ok(()),
        false if search.visited.len() >= STATES_MAX => Err(Refusal::Undecided),
        false => Err(Refusal::NotLinearizable),
    }
}

/// Which operations have their place in the order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Placed(Vec<u64>);

impl Placed {
    fn has(&self, at: usize) -> bool {
        self.0[at / 64] >> (at % 64) & 1 == 1
    }

    fn flip(&mut self, at: usize) {
        self.0[at / 64] ^= 1 << (at % 64);
    }
}

struct Search<'a, V> {
    events: &'a [Event<V>],
    visited: BTreeSet<(Placed, Option<V>)>,
}

impl<V: Copy + Ord + Debug> Search<'_, V> {
    /// Can the operations that are left be placed, starting from `value`?
    fn explains(&mut self, done: &mut Placed, value: Option<V>) -> bool {
        let left = || (0..self.events.len()).filter(|at| !done.has(*at));
        let answered = left().filter(|at| !self.events[*at].is_unknown());
        let Some(first_answer) = answered.map(|at| self.events[at].returned).min() else {
            return true;
        };
        if self.visited.len() >= STATES_MAX || !self.visited.insert((done.clone(), value)) {
            return false;
        }
        let candidates: Vec<usize> =
            left().filter(|at| self.events[*at].called < first_answer).collect();
        // An answer that is right here and changes nothing may as well stand here.
        let looks = |at: &&usize| {
            self.events[**at].only_looks() && self.events[**at].apply(value).is_some()
        };
        if let Some(&at) = candidates.iter().find(looks) {
            return self.place(done, at, value);
        }
        candidates.into_iter().any(|at| match self.events[at].apply(value) {
            // An unknown operation that would change nothing here needs no place.
            Some(after) if self.events[at].is_unknown() && after == value => false,
            Some(after) => self.place(done, at, after),
            None => false,
        })
    }

    fn place(&mut self, done: &mut Placed, at: usize, after: Option<V>) -> bool {
        done.flip(at);
        let explained = self.explains(done, after);
        done.flip(at);
        explained
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Case = (u64, u64, Op<u8>, Outcome);

    fn verdict(cases: &[Case]) -> Result<(), Refusal> {
        let event = |&(called, returned, op, outcome): &Case| Event {
            called,
            returned: if outcome == Outcome::Unknown { u64::MAX } else { returned },
            op,
            outcome,
        };
        check(&cases.iter().map(event).collect::<Vec<_>>())
    }

    const fn set(value: u8) -> Op<u8> {
        Op::Set { guard: Guard::Any, to: Some(value) }
    }

    const fn unset() -> Op<u8> {
        Op::Set { guard: Guard::Present, to: None }
    }

    const fn saw(value: u8) -> Op<u8> {
        Op::See(Seen::Value(value))
    }

    const NOTHING: Op<u8> = Op::See(Seen::Nothing);
    use Outcome::{Done, Refused, Unknown};

    #[test]
    fn a_quiet_history_is_fine() {
        assert_eq!(verdict(&[]), Ok(()));
        let cases = [
            (0, 1, NOTHING, Done),
            (2, 3, set(1), Done),
            (4, 5, saw(1), Done),
            (6, 7, unset(), Done),
        ];
        assert_eq!(verdict(&cases), Ok(()));
    }

    #[test]
    fn a_stale_read_is_caught() {
        let cases = [(0, 1, set(1), Done), (2, 3, set(2), Done), (4, 5, saw(1), Done)];
        assert_eq!(verdict(&cases), Err(Refusal::NotLinearizable));
    }

    #[test]
    fn a_lost_write_is_caught() {
        let cases = [(0, 1, set(1), Done), (2, 3, NOTHING, Done)];
        assert_eq!(verdict(&cases), Err(Refusal::NotLinearizable));
    }

    #[test]
    fn a_delete_that_comes_back_is_caught() {
        let cases = [(0, 1, set(1), Done), (2, 3, unset(), Done), (4, 5, saw(1), Done)];
        assert_eq!(verdict(&cases), Err(Refusal::NotLinearizable));
    }

    #[test]
    fn concurrent_writes_may_come_in_either_order_but_only_one() {
        let both = [(0, 9, set(1), Done), (1, 8, set(2), Done)];
        for last in [1, 2] {
            assert_eq!(verdict(&[both[0], both[1], (10, 11, saw(last), Done)]), Ok(()));
        }
        let flicker = [both[0], both[1], (10, 11, saw(1), Done), (12, 13, saw(2), Done)];
        assert_eq!(verdict(&flicker), Err(Refusal::NotLinearizable));
    }

    #[test]
    fn an_unknown_write_may_come_late_or_never_but_not_twice() {
        let unknown = (0, 0, set(1), Unknown);
        assert_eq!(verdict(&[unknown, (5, 6, NOTHING, Done)]), Ok(()));
        assert_eq!(verdict(&[unknown, (5, 6, NOTHING, Done), (7, 8, saw(1), Done)]), Ok(()));
        let undone = [unknown, (5, 6, saw(1), Done), (7, 8, NOTHING, Done)];
        assert_eq!(verdict(&undone), Err(Refusal::NotLinearizable));
        let twice = [
            unknown,
            (1, 2, saw(1), Done),
            (3, 4, set(2), Done),
            (5, 6, saw(2), Done),
            (7, 8, saw(1), Done),
        ];
        assert_eq!(verdict(&twice), Err(Refusal::NotLinearizable));
    }

    #[test]
    fn nothing_happens_before_it_was_asked() {
        let cases = [(0, 1, saw(1), Done), (2, 0, set(1), Unknown)];
        assert_eq!(verdict(&cases), Err(Refusal::NotLinearizable));
    }

    #[test]
    fn guards_are_held_to_both_ways() {
        let swap = Op::Set { guard: Guard::Is(1), to: Some(2) };
        assert_eq!(
            verdict(&[(0, 1, set(1), Done), (2, 3, swap, Done), (4, 5, saw(2), Done)]),
            Ok(())
        );
        let wrong = [(0, 1, set(3), Done), (2, 3, swap, Done)];
        assert_eq!(verdict(&wrong), Err(Refusal::NotLinearizable));
        let refused = [(0, 1, set(1), Done), (2, 3, swap, Refused)];
        assert_eq!(verdict(&refused), Err(Refusal::NotLinearizable));
        let create = Op::Set { guard: Guard::Absent, to: Some(4) };
        let both_created = [(0, 9, create, Done), (1, 8, create, Done)];
        assert_eq!(verdict(&both_created), Err(Refusal::NotLinearizable));
    }

    #[test]
    fn deleting_a_manifest_takes_only_its_tags() {
        let base = [(0, 1, set(1), Done), (2, 3, Op::ClearIf(2), Done)];
        assert_eq!(verdict(&[base[0], base[1], (4, 5, saw(1), Done)]), Ok(()));
        let cleared = [base[0], (2, 3, Op::ClearIf(1), Done), (4, 5, saw(1), Done)];
        assert_eq!(verdict(&cleared), Err(Refusal::NotLinearizable));
    }

    #[test]
    fn presence_alone_is_checked_too() {
        let there = (4, 5, Op::See(Seen::Something), Done);
        assert_eq!(verdict(&[(0, 1, set(1), Done), there]), Ok(()));
        assert_eq!(verdict(&[there]), Err(Refusal::NotLinearizable));
    }

    /// Every history that a real register makes is accepted: the answers come from one.
    #[test]
    fn what_a_register_does_is_linearizable() {
        let mut state = 1_u64;
        let mut draw = |bound: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) % bound
        };
        for _ in 0..200 {
            let mut register = None;
            let mut cases = Vec::new();
            for at in 0..40 {
                let point = at * 10 + 5;
                // Asked before it is answered, as the book's moments are.
                let (called, returned) = (point - 1 - draw(25).min(point - 1), point + draw(25));
                let op = match draw(4) {
                    0 => set(draw(3) as u8),
                    1 => unset(),
                    2 => Op::ClearIf(draw(3) as u8),
                    _ => register.map_or(NOTHING, saw),
                };
                let event = |outcome| Event { called, returned, op, outcome };
                let outcome = match event(Done).apply(register) {
                    Some(after) => {
                        register = after;
                        Done
                    }
                    None => Refused,
                };
                let unanswered = draw(8) == 0 && !matches!(op, Op::See(_)) && outcome == Done;
                cases.push((called, returned, op, if unanswered { Unknown } else { outcome }));
            }
            assert_eq!(verdict(&cases), Ok(()), "{cases:?}");
        }
    }
}
