//! The suite, and what a backend has to give it.

mod sessions;
mod watches;
mod znodes;

use std::{fmt::Debug, sync::Arc, time::Duration};

use atoll_node::coordination::{
    CoordinationError, Coordinator, CreateMode, Event, EventKind, EventQueue, Refusal, Session,
    WatchEvent,
};

/// A coordination service under test.
pub struct Bench {
    /// Its servers; one or more.
    pub servers: Vec<Arc<dyn Coordinator>>,
    /// Its tick.
    pub tick: Duration,
    /// How often its sessions are heard of at least.
    pub heartbeat: Duration,
}

impl Bench {
    /// A session at one of the servers.
    async fn session_at(&self, server: usize) -> Arc<dyn Session> {
        let server = &self.servers[server % self.servers.len()];
        server.open_session(Duration::from_secs(3)).await.unwrap()
    }
}

/// Runs everything, one after the other, each below a znode of its own.
pub async fn run(bench: &Bench) {
    macro_rules! each {
        ($($test:path),* $(,)?) => {$(
            let name = stringify!($test).replace("::", "-");
            eprintln!("{name}");
            let root = format!("/{name}");
            let session = bench.session_at(0).await;
            session.create(&root, b"", CreateMode::PERSISTENT).await.unwrap();
            session.close().await.unwrap();
            tokio::time::timeout(Duration::from_secs(60), $test(bench, &root)).await.unwrap();
        )*};
    }
    each!(
        znodes::versions_guard_what_they_are_asked_to,
        znodes::what_is_refused_is_refused_by_name,
        znodes::ephemeral_znodes_belong_to_their_session,
        znodes::numbers_count_every_child_there_ever_was,
        znodes::a_multi_is_all_or_nothing,
        znodes::a_session_sees_what_it_wrote_and_sync_what_others_did,
        znodes::one_of_many_writers_of_a_version_wins,
        watches::a_one_shot_watch_fires_once,
        watches::each_kind_hears_what_concerns_it,
        watches::a_persistent_watch_hears_everything_in_order,
        watches::a_recursive_watch_hears_everything_below,
        watches::an_event_comes_before_what_it_announces,
        sessions::time_outs_are_clamped,
        sessions::a_closed_session_is_over_at_once,
        sessions::heartbeats_are_acknowledged,
        sessions::an_idle_session_lives,
        sessions::a_dead_owner_is_gone_within_the_window,
    );
}

/// The refusal that must have come.
#[track_caller]
fn refusal<T: Debug>(result: Result<T, CoordinationError>) -> Refusal {
    match result {
        Err(CoordinationError::Refused { at: 0, refusal }) => refusal,
        other => panic!("not a refusal: {other:?}"),
    }
}

async fn next(queue: &mut EventQueue) -> Event {
    let next = tokio::time::timeout(Duration::from_secs(10), queue.next()).await;
    match next.unwrap() {
        Some(WatchEvent::Changed(event)) => event,
        other => panic!("{other:?}"),
    }
}

async fn expect(queue: &mut EventQueue, kind: EventKind, path: &str) {
    let event = next(queue).await;
    assert_eq!((event.kind, event.path.as_str()), (kind, path));
}

/// The queue is over: no more will come.
async fn expect_end(queue: &mut EventQueue) {
    let next = tokio::time::timeout(Duration::from_secs(10), queue.next()).await;
    assert_eq!(next.unwrap(), None);
}

/// Nothing is in the queue, nor comes soon.
async fn expect_silence(queue: &mut EventQueue) {
    let next = tokio::time::timeout(Duration::from_millis(200), queue.next()).await;
    assert!(next.is_err(), "{next:?}");
}
