//! What a new leader grants; the window of expiry is in `coordination/tests.rs`.

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
