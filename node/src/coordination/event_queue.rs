//! The way of events to one watcher: in order, bounded, and honest about gaps.
//!
//! Who tells never waits. A watcher that does not keep up loses what waits for it and finds
//! [`WatchEvent::Missed`] instead: it must read everything anyway, so old events are worth nothing.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures_util::{FutureExt, StreamExt, stream::BoxStream};
use tokio::sync::Notify;

use super::WatchEvent;

/// Events that may wait for one watcher.
const WAITING_MAX: usize = 1024;

/// The watcher's end. Dropping it ends the watch.
pub struct EventQueue {
    source: Source,
}

/// Where events come from.
enum Source {
    /// A sink of this node.
    Sink(Arc<Shared>),
    /// A queue that somebody else keeps.
    Stream(BoxStream<'static, WatchEvent>),
}

impl fmt::Debug for EventQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventQueue").finish_non_exhaustive()
    }
}

/// The teller's end. When all clones are gone the queue ends.
#[derive(Debug)]
pub struct EventSink {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    events: VecDeque<WatchEvent>,
    sink_gone: bool,
    watcher_gone: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A new watch's two ends.
pub fn event_queue() -> (EventSink, EventQueue) {
    let shared = Arc::new(Shared::default());
    (EventSink { shared: shared.clone() }, EventQueue { source: Source::Sink(shared) })
}

impl EventQueue {
    /// A queue that is kept elsewhere, such as in a client library.
    pub fn from_stream(events: BoxStream<'static, WatchEvent>) -> Self {
        Self { source: Source::Stream(events) }
    }

    /// The next event; `None` when no more will come: a one-shot watch has fired, or the session has
    /// ended. May be dropped at any time without losing one.
    pub async fn next(&mut self) -> Option<WatchEvent> {
        match &mut self.source {
            Source::Sink(shared) => shared.next().await,
            Source::Stream(events) => events.next().await,
        }
    }

    /// The next event if it is there already.
    pub fn try_next(&mut self) -> Option<WatchEvent> {
        match &mut self.source {
            Source::Sink(shared) => shared.lock().events.pop_front(),
            Source::Stream(events) => events.next().now_or_never().flatten(),
        }
    }
}

impl Shared {
    async fn next(&self) -> Option<WatchEvent> {
        loop {
            let changed = {
                let mut waiting = self.lock();
                if let Some(event) = waiting.events.pop_front() {
                    return Some(event);
                }
                if waiting.sink_gone {
                    return None;
                }
                self.changed.notified()
            };
            // One watcher, so a permit that was stored between the look and the wait is ours.
            changed.await;
        }
    }
}

impl Drop for EventQueue {
    fn drop(&mut self) {
        if let Source::Sink(shared) = &self.source {
            shared.lock().watcher_gone = true;
        }
    }
}

impl EventSink {
    /// Tells the watcher. Answers whether there still is one.
    pub fn tell(&self, event: WatchEvent) -> bool {
        {
            let mut waiting = self.shared.lock();
            if waiting.watcher_gone {
                return false;
            }
            if waiting.events.len() >= WAITING_MAX {
                waiting.events.clear();
                waiting.events.push_back(WatchEvent::Missed);
            }
            waiting.events.push_back(event);
        }
        self.shared.changed.notify_one();
        true
    }

    /// Has the watcher gone?
    pub fn is_idle(&self) -> bool {
        self.shared.lock().watcher_gone
    }
}

impl Drop for EventSink {
    fn drop(&mut self) {
        self.shared.lock().sink_gone = true;
        self.shared.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use atoll_core::coordination::{Event, EventKind, Zxid};

    use super::*;

    fn changed(zxid: u64) -> WatchEvent {
        let (kind, path) = (EventKind::DataChanged, "/a".to_owned());
        WatchEvent::Changed(Event { zxid: Zxid(zxid), kind, path })
    }

    #[tokio::test]
    async fn events_come_in_order_and_then_the_end() {
        let (sink, mut queue) = event_queue();
        let teller = tokio::spawn(async move {
            for zxid in 0..10 {
                assert!(sink.tell(changed(zxid)));
                tokio::task::yield_now().await;
            }
        });
        for zxid in 0..10 {
            assert_eq!(queue.next().await, Some(changed(zxid)));
        }
        assert_eq!(queue.next().await, None);
        teller.await.unwrap();
    }

    #[tokio::test]
    async fn a_slow_watcher_learns_that_it_has_missed_some() {
        let (sink, mut queue) = event_queue();
        for zxid in 0..=WAITING_MAX as u64 {
            sink.tell(changed(zxid));
        }
        assert_eq!(queue.next().await, Some(WatchEvent::Missed));
        assert_eq!(queue.next().await, Some(changed(WAITING_MAX as u64)));
        drop(queue);
        assert!(!sink.tell(changed(0)));
    }
}
