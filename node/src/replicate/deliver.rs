//! Delivering the copies that are owed.

use std::time::Duration;

use atoll_core::{Digest, view::NodeId};
use futures_util::{StreamExt, stream};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use super::{
    Replicator,
    client::{DATA_BYTES, Peer},
    debts::Debts,
    outgoing::{Ack, Order, Outgoing},
    presence::Presence,
};
use crate::io::Sometimes;

/// How long a hint is kept. Then repair has long found the copy that is missing.
pub const HINT_AGE_MAX: Duration = Duration::from_secs(3600);

/// From what age on a debt is dropped when nobody has the blob any more: longer than a push takes from
/// its first note to its last copy.
const GONE_AGE_MIN: Duration = Duration::from_secs(60);

/// How often it is looked for copies to deliver.
const INTERVAL: Duration = Duration::from_millis(500);

/// Copies delivered at a time, and looked up at once.
const AT_ONCE: usize = 4;
const BATCH: usize = 64;

/// What became of one copy that is owed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Delivery {
    Done,
    /// Nobody waits for it any more.
    Moot,
    Later,
}

impl Replicator {
    /// Delivers what is owed until `stop`.
    pub async fn deliver_until(&self, stop: CancellationToken) {
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = tokio::time::sleep(INTERVAL) => {}
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = self.deliver_due() => {}
            }
        }
    }

    /// Delivers what is due now.
    pub async fn deliver_due(&self) {
        self.deliver(&self.inner.outbox, Duration::MAX).await;
        self.deliver(&self.inner.hints, HINT_AGE_MAX).await;
    }

    async fn deliver(&self, debts: &Debts, age_max: Duration) {
        let view = self.cluster().view();
        // A node that is no member any more is not down: what it was owed is dropped.
        let is_down = |node| view.members.contains_key(&node) && !view.is_up(node);
        let due = debts.due(BATCH, age_max, is_down);
        let deliveries = stream::iter(due).map(|(node, digest, age)| async move {
            let outcome = match age > age_max {
                true => Delivery::Moot,
                false => self.deliver_one(node, &digest, age).await,
            };
            match outcome {
                Delivery::Done => {
                    debts.settle(node, &digest).await;
                    self.counters().debts_paid.add(1);
                    Sometimes::HintDelivered.reached();
                    debug!(%node, %digest, "a copy that was owed is delivered");
                }
                Delivery::Moot => {
                    debts.settle(node, &digest).await;
                    info!(%node, %digest, "a copy that was owed is not needed any more");
                }
                Delivery::Later => debts.put_off(node, &digest),
            }
        });
        deliveries.buffer_unordered(AT_ONCE).collect::<()>().await;
    }

    async fn deliver_one(&self, node: NodeId, digest: &Digest, age: Duration) -> Delivery {
        let view = self.cluster().view();
        if !view.members.contains_key(&node) {
            return Delivery::Moot;
        }
        if !view.is_up(node) {
            return Delivery::Later;
        }
        let owns = view.acting(digest).contains(&node) || view.placement(digest).contains(&node);
        if !owns {
            return Delivery::Moot;
        }
        match self.tiers().store().stat(digest).await {
            Ok(Some(info)) if node != self.cluster().me() => {
                self.push(node, digest, info.size).await
            }
            Ok(Some(_)) => Delivery::Done,
            _ if node == self.cluster().me() => match self.pull(digest).await {
                Ok(_) => Delivery::Done,
                Err(_) => self.unless_gone(digest, age).await,
            },
            // The copy is at another owner: who lacks it gets it from there.
            _ => match Peer::new(self.cluster(), node).fetch(digest).await {
                Ok(_) => Delivery::Done,
                Err(_) => self.unless_gone(digest, age).await,
            },
        }
    }

    /// What was collected meanwhile is owed to nobody. A young debt may be noted before its copy is
    /// there.
    async fn unless_gone(&self, digest: &Digest, age: Duration) -> Delivery {
        if age >= GONE_AGE_MIN && self.find(digest).await == Presence::Absent {
            return Delivery::Moot;
        }
        Delivery::Later
    }

    /// Sends this node's copy to `node`, unless it has one.
    async fn push(&self, node: NodeId, digest: &Digest, size: u64) -> Delivery {
        let peer = Peer::new(self.cluster(), node);
        match peer.have(&[*digest]).await {
            Ok((held, _)) if matches!(held.first(), Some(super::Holding::Present(_))) => {
                return Delivery::Done;
            }
            Ok(_) => {}
            Err(_) => return Delivery::Later,
        }
        let Ok(Some(opened)) = self.tiers().open(digest).await else { return Delivery::Later };
        // Nobody relies on this copy yet; whoever will pins it.
        let stamp = self.stamps().newest().unwrap_or_default();
        let order = Order::new(&self.cluster().view(), digest, Some(size), vec![node], stamp);
        let mut outgoing = Outgoing::begin(self.cluster(), &order);
        let mut stream = opened.stream(0, size);
        loop {
            match stream.next().await {
                Ok(Some(bytes)) => {
                    debug_assert!(bytes.len() <= DATA_BYTES);
                    outgoing.data(bytes).await;
                }
                Ok(None) => break,
                Err(_) => return Delivery::Later,
            }
        }
        match outgoing.finish().await.into_iter().next() {
            Some((_, Ack::Durable)) => Delivery::Done,
            _ => Delivery::Later,
        }
    }
}
