//! The window of expiry, and what a new leader grants.

use std::collections::BTreeMap;

use proptest::{collection::vec, prelude::*};

use super::*;

const TICK: Duration = Duration::from_millis(500);
const TIMEOUT: Duration = Duration::from_secs(3);

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[test]
fn time_outs_are_between_two_and_twenty_ticks() {
    assert_eq!(negotiate(ms(1), TICK), ms(1000));
    assert_eq!(negotiate(TIMEOUT, TICK), TIMEOUT);
    assert_eq!(negotiate(Duration::MAX, TICK), ms(10_000));
}

#[test]
fn a_new_leader_grants_a_full_time_out() {
    let ids = [SessionId(1), SessionId(2)];
    let mut sessions = Sessions::new(TICK, ids.map(|id| (id, TIMEOUT)), ms(60_100));
    assert_eq!(sessions.poll_timeout(), Some(ms(63_500)));
    sessions.handle_timeout(ms(63_499));
    assert_eq!(sessions.poll_expired(), None);
    assert_eq!(sessions.handle_heartbeat(ids[1], ms(63_499)), Heard::Lives);
    sessions.handle_timeout(ms(63_500));
    assert_eq!(sessions.poll_expired(), Some(vec![ids[0]]));
    assert_eq!(sessions.poll_timeout(), Some(ms(64_000)));
}

#[test]
fn an_end_that_was_not_decided_is_proposed_again() {
    let id = SessionId(9);
    let mut sessions = Sessions::new(TICK, [(id, TIMEOUT)], Duration::ZERO);
    sessions.handle_timeout(ms(3_500));
    assert_eq!(sessions.poll_expired(), Some(vec![id]));
    // Too late: whoever acknowledged this heartbeat would promise what is being taken away.
    assert_eq!(sessions.handle_heartbeat(id, ms(3_501)), Heard::Ending);
    sessions.handle_timeout(ms(3_600));
    assert_eq!(sessions.poll_expired(), None);
    sessions.handle_timeout(ms(4_100));
    assert_eq!(sessions.poll_expired(), Some(vec![id]));
    sessions.handle_ended(id);
    assert_eq!(sessions.handle_heartbeat(id, ms(4_200)), Heard::Unknown);
    sessions.handle_timeout(ms(9_000));
    assert_eq!((sessions.poll_expired(), sessions.poll_timeout()), (None, None));
    assert!(sessions.is_empty());
}

#[derive(Clone, Debug)]
enum Step {
    Open(u64),
    Close(u64),
    Beat(u64),
    Nothing,
}

fn any_step() -> impl Strategy<Value = Step> {
    let id = || 0..4_u64;
    prop_oneof![
        1 => id().prop_map(Step::Open),
        1 => id().prop_map(Step::Close),
        4 => id().prop_map(Step::Beat),
        2 => Just(Step::Nothing),
    ]
}

proptest! {
    /// Whatever happens when: a session is handed out in (timeout, timeout + tick] after its last
    /// heartbeat, if the clock is looked at whenever it is due, and nobody else is.
    #[test]
    fn who_was_silent_ends_within_a_tick(
        tick in 1..700_u64,
        timeout in 1..3000_u64,
        steps in vec((0..900_u64, any_step()), 0..60),
    ) {
        let (tick, timeout) = (ms(tick), ms(timeout));
        let mut sessions = Sessions::new(tick, [], Duration::ZERO);
        let mut heard: BTreeMap<SessionId, Duration> = BTreeMap::new();
        let mut now = Duration::ZERO;
        for (pause, step) in steps {
            let until = now + ms(pause);
            while let Some(due) = sessions.poll_timeout() && due <= until {
                now = now.max(due);
                sessions.handle_timeout(now);
                for id in sessions.poll_expired().unwrap_or_default() {
                    let silent = now - heard.remove(&id).unwrap();
                    prop_assert!(timeout < silent && silent <= timeout + tick, "{silent:?}");
                    sessions.handle_ended(id);
                }
            }
            now = until;
            match step {
                Step::Open(id) => {
                    sessions.handle_opened(SessionId(id), timeout, now);
                    heard.insert(SessionId(id), now);
                }
                Step::Close(id) => {
                    sessions.handle_ended(SessionId(id));
                    heard.remove(&SessionId(id));
                }
                Step::Beat(id) => {
                    let id = SessionId(id);
                    let expected = if heard.contains_key(&id) { Heard::Lives } else { Heard::Unknown };
                    prop_assert_eq!(sessions.handle_heartbeat(id, now), expected);
                    heard.entry(id).and_modify(|at| *at = now);
                }
                Step::Nothing => {}
            }
            prop_assert_eq!(sessions.len(), heard.len());
        }
    }
}
