//! Watches on this node: what is applied here goes to who waits for it.
//!
//! One task takes the changes as they are applied and tells watchers in order. A read waits until
//! everything that its state holds has been told: so an event always comes before an answer that shows
//! its change. A watch is registered as of the state that was read for it, and only if nothing later
//! has been told yet; else it is read again.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use atoll_core::coordination::{
    Event, Path, SessionId, Zxid,
    watches::{WatchId, WatchKind, Watches},
};
use tokio::sync::watch;

use crate::{
    coordination::{EventQueue, EventSink, Liveness, SessionState, WatchEvent, event_queue},
    metadata::Applied,
};

/// Watches after which the ones whose watchers have gone are looked for; then twice as many as were
/// left.
const SWEEP_MIN: usize = 256;

/// The watches and the sessions held on this node.
#[derive(Debug)]
pub(super) struct Hub {
    state: Mutex<State>,
    told: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    watches: Watches,
    sinks: BTreeMap<WatchId, (SessionId, EventSink)>,
    sweep_at: usize,
    sessions: BTreeMap<SessionId, watch::Sender<Liveness>>,
}

impl Hub {
    /// Nobody watches, and everything up to entry `told` is known.
    pub fn new(told: u64) -> Self {
        let state = State { sweep_at: SWEEP_MIN, ..State::default() };
        Self { state: Mutex::new(state), told: watch::Sender::new(told) }
    }

    /// Registers a watch as of the state at entry `index`; `None` when more has been told already.
    pub fn register(
        &self,
        session: SessionId,
        path: Path<'_>,
        kind: WatchKind,
        index: u64,
    ) -> Option<EventQueue> {
        let mut state = self.lock();
        if *self.told.borrow() > index {
            return None;
        }
        state.sweep();
        let id = state.watches.register(path, kind, Zxid(index));
        let (sink, queue) = event_queue();
        state.sinks.insert(id, (session, sink));
        Some(queue)
    }

    /// Waits until everything up to entry `index` has been told. Answers whether it has.
    pub async fn told(&self, index: u64, within: Duration) -> bool {
        let mut told = self.told.subscribe();
        let enough = told.wait_for(|told| *told >= index);
        matches!(tokio::time::timeout(within, enough).await, Ok(Ok(_)))
    }

    /// Lets a session of this node know when it ends.
    pub fn hold(&self, session: SessionId, liveness: watch::Sender<Liveness>) {
        self.lock().sessions.insert(session, liveness);
    }

    /// The sessions of this node.
    pub fn held(&self) -> Vec<SessionId> {
        self.lock().sessions.keys().copied().collect()
    }

    /// Tells who waits for what was applied.
    pub fn handle_applied(&self, applied: Applied) {
        let upto = match applied {
            Applied::Entries { upto, effects } => {
                let mut state = self.lock();
                effects.events.iter().for_each(|event| state.tell(event));
                effects.ended.iter().for_each(|session| state.end(*session));
                upto
            }
            Applied::Replaced { upto } => {
                self.handle_gap();
                upto
            }
        };
        // Under no lock, and after the events: a reader may go on now.
        self.told.send_if_modified(|told| {
            let more = upto > *told;
            *told = upto.max(*told);
            more
        });
    }

    /// Events are lacking.
    pub fn handle_gap(&self) {
        let mut state = self.lock();
        for id in state.watches.handle_gap() {
            if let Some((_, sink)) = state.sinks.get(&id) {
                sink.tell(WatchEvent::Missed);
            }
        }
        state.drop_told();
    }

    /// A session has ended: its watches with it.
    pub fn handle_ended(&self, session: SessionId) {
        self.lock().end(session);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn tell(&mut self, event: &Event) {
        for id in self.watches.handle(event) {
            let Some((_, sink)) = self.sinks.get(&id) else { continue };
            let listens = sink.tell(WatchEvent::Changed(event.clone()));
            if !listens {
                self.watches.remove(id);
            }
            if !self.watches.contains(id) {
                self.sinks.remove(&id);
            }
        }
    }

    fn end(&mut self, session: SessionId) {
        let gone = self.sinks.iter().filter(|(_, (owner, _))| *owner == session);
        for id in gone.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.watches.remove(id);
            self.sinks.remove(&id);
        }
        if let Some(liveness) = self.sessions.remove(&session) {
            liveness.send_if_modified(|liveness| {
                let lived = !liveness.state.is_final();
                if lived {
                    liveness.state = SessionState::Expired;
                }
                lived
            });
        }
    }

    /// Forgets watches that nobody listens to any more, when there are many.
    fn sweep(&mut self) {
        if self.sinks.len() < self.sweep_at {
            return;
        }
        let idle = self.sinks.iter().filter(|(_, (_, sink))| sink.is_idle());
        for id in idle.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.watches.remove(id);
        }
        self.drop_told();
        self.sweep_at = SWEEP_MIN.max(self.sinks.len() * 2);
    }

    /// Ends the queues of watches that are over.
    fn drop_told(&mut self) {
        let watches = &self.watches;
        self.sinks.retain(|id, _| watches.contains(*id));
    }
}

#[cfg(test)]
mod tests {
    use atoll_core::coordination::{Effects, EventKind};

    use super::*;

    const ME: SessionId = SessionId(1);

    fn entries(upto: u64, paths: &[&str]) -> Applied {
        let event = |path: &&str| Event {
            zxid: Zxid(upto),
            kind: EventKind::DataChanged,
            path: (*path).to_owned(),
        };
        let events = paths.iter().map(event).collect();
        Applied::Entries { upto, effects: Effects { events, ..Effects::default() } }
    }

    fn path() -> Path<'static> {
        Path::parse("/a").unwrap()
    }

    #[tokio::test]
    async fn a_watch_stands_only_on_a_state_that_is_not_behind() {
        let hub = Hub::new(5);
        hub.handle_applied(entries(6, &["/a"]));
        assert!(hub.register(ME, path(), WatchKind::Data, 5).is_none());
        // Read from a state whose last changes have not been told yet: they are no news.
        let mut queue = hub.register(ME, path(), WatchKind::Data, 7).unwrap();
        hub.handle_applied(entries(7, &["/a"]));
        assert_eq!(queue.try_next(), None);
        hub.handle_applied(entries(8, &["/b", "/a", "/a"]));
        assert!(
            matches!(queue.next().await, Some(WatchEvent::Changed(event)) if event.zxid.0 == 8)
        );
        assert_eq!(queue.next().await, None);
        assert!(hub.told(8, Duration::ZERO).await);
        assert!(!hub.told(9, Duration::from_millis(1)).await);
    }

    #[tokio::test]
    async fn a_gap_and_an_end_are_told() {
        let hub = Hub::new(0);
        let mut once = hub.register(ME, path(), WatchKind::Exists, 0).unwrap();
        let mut stays = hub.register(ME, path(), WatchKind::Persistent, 0).unwrap();
        hub.handle_applied(Applied::Replaced { upto: 9 });
        for queue in [&mut once, &mut stays] {
            assert_eq!(queue.next().await, Some(WatchEvent::Missed));
        }
        assert_eq!(once.next().await, None);
        hub.handle_applied(entries(10, &["/a"]));
        assert!(matches!(stays.next().await, Some(WatchEvent::Changed(_))));
        let effects = Effects { ended: vec![ME], ..Effects::default() };
        hub.handle_applied(Applied::Entries { upto: 11, effects });
        assert_eq!(stays.next().await, None);
    }

    #[test]
    fn watches_that_nobody_listens_to_are_forgotten() {
        let hub = Hub::new(0);
        for _ in 0..10 * SWEEP_MIN {
            drop(hub.register(ME, path(), WatchKind::Data, 0));
        }
        assert!(hub.lock().sinks.len() <= SWEEP_MIN && hub.lock().watches.len() <= SWEEP_MIN);
    }
}
