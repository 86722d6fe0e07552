//! Sessions: time-outs, ends, and the window in which a dead owner's znodes go.

use std::time::Instant;

use super::*;
use atoll_node::coordination::SessionState;

/// What a busy machine may add to when an event is seen.
const SLACK: Duration = Duration::from_millis(700);

pub async fn time_outs_are_clamped(bench: &Bench, _root: &str) {
    let server = &bench.servers[0];
    for (asked, granted) in [
        (Duration::from_millis(1), bench.tick * 2),
        (Duration::from_secs(3), Duration::from_secs(3)),
        (Duration::from_secs(3600), bench.tick * 20),
    ] {
        let session = server.open_session(asked).await.unwrap();
        assert_eq!(session.timeout(), granted, "{asked:?}");
        session.close().await.unwrap();
    }
}

pub async fn a_closed_session_is_over_at_once(bench: &Bench, root: &str) {
    let (session, other) = (bench.session_at(0).await, bench.session_at(1).await);
    let path = format!("{root}/e");
    session.create(&path, b"", CreateMode::EPHEMERAL).await.unwrap();
    other.sync(&path).await.unwrap();
    let (_, mut seen) = other.exists_watch(&path).await.unwrap();
    let (_, mut own) = session.exists_watch(root).await.unwrap();
    let mut liveness = session.liveness();
    assert_eq!(liveness.borrow_and_update().state, SessionState::Connected);
    let began = Instant::now();
    session.close().await.unwrap();
    expect(&mut seen, EventKind::Deleted, &path).await;
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    expect_end(&mut own).await;
    assert_eq!(liveness.borrow_and_update().state, SessionState::Closed);
    assert_eq!(liveness.borrow().lease_until(), Duration::ZERO);
    assert_eq!(session.get(root).await.unwrap_err(), CoordinationError::Ended);
    assert_eq!(session.set(root, b"", None).await.unwrap_err(), CoordinationError::Ended);
    assert_eq!(session.exists_watch(root).await.unwrap_err(), CoordinationError::Ended);
}

pub async fn heartbeats_are_acknowledged(bench: &Bench, _root: &str) {
    let session = bench.session_at(2).await;
    let mut liveness = session.liveness();
    let first = liveness.borrow_and_update().acknowledged;
    let began = Instant::now();
    // Twice, so that the first is not the opening's own.
    for _ in 0..2 {
        liveness.changed().await.unwrap();
    }
    let now = *liveness.borrow_and_update();
    assert_eq!((now.state, now.timeout), (SessionState::Connected, session.timeout()));
    assert!(now.acknowledged > first);
    assert!(began.elapsed() < bench.heartbeat * 3 + SLACK, "{:?}", began.elapsed());
    // Earlier than the time-out, but not so early that a heartbeat that is late ends it.
    let lease = now.lease_until() - now.acknowledged;
    assert!(lease < session.timeout() && lease > session.timeout() * 3 / 4, "{lease:?}");
    session.close().await.unwrap();
}

pub async fn an_idle_session_lives(bench: &Bench, root: &str) {
    let session = bench.servers[0].open_session(bench.tick * 2).await.unwrap();
    let path = format!("{root}/e");
    session.create(&path, b"", CreateMode::EPHEMERAL).await.unwrap();
    tokio::time::sleep(session.timeout() * 4).await;
    assert_eq!(session.liveness().borrow().state, SessionState::Connected);
    assert!(session.exists(&path).await.unwrap().is_some());
    session.close().await.unwrap();
}

/// The three-second window: heartbeats stop, and the owner's znodes are seen to go no earlier than
/// the time-out after the last of them, and no later than a tick after that.
pub async fn a_dead_owner_is_gone_within_the_window(bench: &Bench, root: &str) {
    let other = bench.session_at(0).await;
    for round in 0..3_u32 {
        let owner = bench.session_at(1).await;
        let path = format!("{root}/e{round}");
        owner.create(&path, b"", CreateMode::EPHEMERAL).await.unwrap();
        other.sync(&path).await.unwrap();
        let (_, mut queue) = other.exists_watch(&path).await.unwrap();
        // At different moments between two heartbeats.
        tokio::time::sleep(bench.heartbeat * 2 + Duration::from_millis(170) * round).await;
        let timeout = owner.timeout();
        drop(owner);
        let died = Instant::now();
        expect(&mut queue, EventKind::Deleted, &path).await;
        let took = died.elapsed();
        eprintln!("  the owner's znode was seen to go after {took:?}");
        assert!(took >= timeout - bench.heartbeat - Duration::from_millis(50), "{took:?}");
        assert!(took <= timeout + bench.tick + SLACK, "{took:?}");
    }
    other.close().await.unwrap();
}
