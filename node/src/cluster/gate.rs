//! What is being published under which view.
//!
//! Before a node is scanned it adopts the scanner's view, so that no write of an older view lands
//! behind the scan. A write that was admitted before and is still on its way to the disk would: the
//! scan waits for it. Writes that begin later begin under the newer view and wait for nobody.
//!
//! Not a lock around the view: it would be held across disk operations, and every adoption would
//! wait for every write.

use std::{
    collections::BTreeMap,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use atoll_core::view::{Epoch, View};
use tokio::sync::Notify;

/// Counts the publications under way, by the epoch they were admitted under.
#[derive(Debug, Default)]
pub(super) struct Gate {
    under_way: Mutex<BTreeMap<Epoch, usize>>,
    ended: Notify,
}

/// A publication under way. It ends when this is dropped.
#[derive(Debug)]
#[must_use = "the publication ends when this is dropped"]
pub struct Publishing {
    gate: Arc<Gate>,
    view: Arc<View>,
}

impl Publishing {
    /// The view it was admitted under: whoever publishes checks its owners against this one.
    pub fn view(&self) -> &Arc<View> {
        &self.view
    }
}

impl Gate {
    /// Begins a publication under the view that `present` answers. It is asked under the lock, so
    /// that an adoption is either seen by it or sees it.
    pub(super) fn begin(self: &Arc<Self>, present: impl FnOnce() -> Arc<View>) -> Publishing {
        let mut under_way = self.locked();
        let view = present();
        *under_way.entry(view.epoch).or_default() += 1;
        drop(under_way);
        Publishing { gate: self.clone(), view }
    }

    /// Waits until nothing is under way that was admitted before `epoch`.
    pub(super) async fn settled(&self, epoch: Epoch) {
        loop {
            let mut ended = pin!(self.ended.notified());
            ended.as_mut().enable();
            if self.locked().first_key_value().is_none_or(|(oldest, _)| *oldest >= epoch) {
                return;
            }
            ended.await;
        }
    }

    fn locked(&self) -> MutexGuard<'_, BTreeMap<Epoch, usize>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Publishing {
    fn drop(&mut self) {
        let mut under_way = self.gate.locked();
        if let Some(count) = under_way.get_mut(&self.view.epoch) {
            *count -= 1;
            if *count == 0 {
                under_way.remove(&self.view.epoch);
            }
        }
        drop(under_way);
        self.gate.ended.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use atoll_core::view::Epoch;

    use crate::{cluster::Cluster, io::clock::RealClock};

    #[tokio::test]
    async fn a_scan_waits_for_what_was_admitted_before_it() {
        let cluster = Cluster::alone(Arc::new(RealClock::new()));
        let old = cluster.begin_publish();
        let mut newer = cluster.view().as_ref().clone();
        newer.epoch = Epoch(2);
        assert!(cluster.adopt(newer));
        let new = cluster.begin_publish();
        assert_eq!((old.view().epoch, new.view().epoch), (Epoch(1), Epoch(2)));
        let settled = cluster.settled(Epoch(2));
        let waits = tokio::time::timeout(Duration::from_millis(20), settled).await;
        assert!(waits.is_err());
        drop(old);
        cluster.settled(Epoch(2)).await;
        drop(new);
    }
}
