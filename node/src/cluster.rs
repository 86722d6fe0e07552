//! This node within its cluster: the view it holds, its lease, the ways to its peers.
//!
//! [`Cluster`] is the handle that everything above asks: who owns a digest, may this node say "404",
//! how is node 7 reached, is it suspected. It only holds facts; who finds them out is below:
//! consensus through group 0 ([`crate::coordination`]), gossip for suspicion. Why one handle: what a
//! request needs to know about the cluster must come from one view, not from three that were read
//! at three moments.
//!
//! - [`identity`]: which member this is, on disk; [`founding`], [`join`]: how it became one;
//! - [`registrar`]: its session, registration and lease, the views it hears of in group 0;
//! - [`pull`], [`gossip`]: the views it hears of elsewhere, and who seems to be in trouble;
//! - [`keeper`]: at one node at a time, facts become views;
//! - [`relocation`]: a member that starts at another address; [`trust`]: whose certificates count;
//! - [`autopilot`]: at the leader of each Raft group, who belongs to it and who votes.

pub mod autopilot;
pub mod ca;
pub mod certificate;
pub mod founding;
pub mod gossip;
pub mod identity;
pub mod join;
pub mod keeper;
pub mod pull;
pub mod registrar;
pub mod relocation;
pub mod sync;
#[cfg(test)]
pub(crate) mod tests;
pub mod token;
pub mod trust;
pub mod znodes;

mod gate;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use atoll_core::view::{Epoch, Member, MemberState, NodeId, RingMode, View};
use tokio::sync::watch;
use tonic::Status;

use self::gate::Gate;
pub use self::gate::Publishing;
pub use self::registrar::SessionSlot;
use crate::{
    io::{Clock, plant::Plant},
    wire::{
        Channel, Security,
        channel::BadAddress,
        envelope::{Envelope, stale_view},
        peer::check_sender,
    },
};

/// How long a suspicion lasts when nothing renews it. Suspicion only reorders: it is a local hint.
pub const SUSPICION_TTL: Duration = Duration::from_secs(1);

/// How a node stands in its cluster: what it has applied is worth as much as this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It has not been a member since it started: its state may be older than what it last told.
    Newcomer,
    /// Its lease is valid. The number grows with every lease that began after one had ended, and
    /// with it everything that was acknowledged meanwhile without this node may be missing here.
    Member(u64),
    /// Its lease has run out.
    OutOfTouch,
}

/// The node's knowledge of its cluster. Clones share it.
#[derive(Clone, Debug)]
pub struct Cluster {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    me: NodeId,
    incarnation: u64,
    clock: Arc<dyn Clock>,
    view: watch::Sender<Arc<View>>,
    /// Monotonic time in microseconds until which this node may say what only a member may: strong
    /// acknowledgements, 404s. `u64::MAX` for a node that is alone.
    lease_until: AtomicU64,
    /// How many times the lease began.
    tenures: AtomicU64,
    suspected: Mutex<BTreeMap<NodeId, Duration>>,
    gate: Arc<Gate>,
    security: Security,
    /// The node that must answer there, if a certain one must; its address.
    channels: Mutex<BTreeMap<(Option<NodeId>, String), Channel>>,
    /// Is a newer view being fetched?
    pulling: AtomicBool,
    /// Hash of the view of an epoch, made when it was first asked for.
    hashed: Mutex<(Epoch, u64)>,
}

impl Cluster {
    /// A member that holds `view`, with a lease that has run out: who renews it says so.
    ///
    /// Its channels are plaintext; see [`Self::secured`].
    pub fn new(me: NodeId, incarnation: u64, clock: Arc<dyn Clock>, view: View) -> Cluster {
        Cluster::secured(me, incarnation, clock, view, Security::plaintext())
    }

    /// As [`Self::new`], with channels that are protected by `security`.
    pub fn secured(
        me: NodeId,
        incarnation: u64,
        clock: Arc<dyn Clock>,
        view: View,
        security: Security,
    ) -> Cluster {
        let view = watch::Sender::new(Arc::new(view));
        Cluster {
            inner: Arc::new(Inner {
                me,
                incarnation,
                clock,
                view,
                lease_until: AtomicU64::new(0),
                tenures: AtomicU64::new(0),
                suspected: Mutex::default(),
                security,
                channels: Mutex::default(),
                gate: Arc::default(),
                pulling: AtomicBool::new(false),
                hashed: Mutex::new((Epoch(0), 0)),
            }),
        }
    }

    /// A cluster of one that nobody else will ever join: its lease never ends.
    pub fn alone(clock: Arc<dyn Clock>) -> Cluster {
        let me = NodeId(1);
        let member = Member {
            name: "alone".to_owned(),
            incarnation: 1,
            http: String::new(),
            grpc: String::new(),
            zone: String::new(),
            weight: 1,
            state: MemberState::Up,
        };
        let mode = RingMode::Assigned { points: 2 };
        let view = View::first("alone".to_owned(), 1, mode, me, member);
        let cluster = Cluster::new(me, 1, clock, view);
        cluster.inner.lease_until.store(u64::MAX, Ordering::Relaxed);
        cluster.inner.tenures.store(1, Ordering::Relaxed);
        cluster
    }

    /// This node's number.
    pub fn me(&self) -> NodeId {
        self.inner.me
    }

    /// Which start of this node this is.
    pub fn incarnation(&self) -> u64 {
        self.inner.incarnation
    }

    /// The newest view this node has heard of.
    pub fn view(&self) -> Arc<View> {
        self.inner.view.borrow().clone()
    }

    /// Hash of the view: what would tell two views of one epoch apart, were there ever two.
    pub fn view_hash(&self) -> u64 {
        let view = self.view();
        let hashed = *self.inner.hashed.lock().unwrap_or_else(PoisonError::into_inner);
        if hashed.0 == view.epoch {
            return hashed.1;
        }
        let hash = view.hash();
        *self.inner.hashed.lock().unwrap_or_else(PoisonError::into_inner) = (view.epoch, hash);
        hash
    }

    /// The views as they come. A receiver sees the newest; some between may be skipped.
    pub fn views(&self) -> watch::Receiver<Arc<View>> {
        self.inner.view.subscribe()
    }

    /// Takes a view that is newer than the present one; answers whether it was.
    pub fn adopt(&self, view: View) -> bool {
        self.inner.view.send_if_modified(|present| {
            let newer = view.epoch > present.epoch;
            if newer {
                *present = Arc::new(view);
            }
            newer
        })
    }

    /// May this node say what only a member may (a strong acknowledgement, a 404, a tag)?
    pub fn lease_is_valid(&self) -> bool {
        let now = u64::try_from(self.inner.clock.monotonic().as_micros()).unwrap_or(u64::MAX);
        now < self.inner.lease_until.load(Ordering::Acquire) || Plant::LeaseNotFenced.is_planted()
    }

    /// Extends the lease to `until` on this node's monotonic clock: the moment the acknowledged
    /// heartbeat was *sent*, plus the session's time-out. Never shortens it.
    pub fn extend_lease(&self, until: Duration) {
        if !self.lease_is_valid() {
            // Before the lease, so that nobody sees the new lease with the old tenure.
            self.inner.tenures.fetch_add(1, Ordering::AcqRel);
        }
        let until = u64::try_from(until.as_micros()).unwrap_or(u64::MAX);
        self.inner.lease_until.fetch_max(until, Ordering::AcqRel);
    }

    /// How this node stands in its cluster now.
    pub fn standing(&self) -> Standing {
        let valid = self.lease_is_valid();
        match self.inner.tenures.load(Ordering::Acquire) {
            0 => Standing::Newcomer,
            tenure if valid => Standing::Member(tenure),
            _ => Standing::OutOfTouch,
        }
    }

    /// Ends the lease at once: the session is known to be gone.
    pub fn end_lease(&self) {
        self.inner.lease_until.store(0, Ordering::Release);
    }

    /// Until when the lease lasts, on this node's monotonic clock.
    pub fn lease_until(&self) -> Duration {
        Duration::from_micros(self.inner.lease_until.load(Ordering::Acquire))
    }

    /// What a message of this node begins with.
    pub fn envelope(&self) -> Envelope {
        let view = self.view();
        Envelope {
            cluster_id: view.cluster_id.clone(),
            sender: u32::from(self.inner.me.0),
            incarnation: self.inner.incarnation,
            epoch: view.epoch.0,
        }
    }

    /// Checks what a message began with: the same cluster, and a view in which the same nodes act for
    /// every digest as in this node's. A caller whose answer does not depend on the view uses [`Self::admit_any_epoch`].
    ///
    /// A sender with a newer view is let in, and the view is fetched from it in the background:
    /// whoever must know it first waits with [`Self::at_least`].
    ///
    /// # Errors
    /// `FAILED_PRECONDITION` for another cluster, [`stale_view`] when the owners have changed since.
    pub fn admit(&self, envelope: Option<&Envelope>) -> Result<Arc<View>, Status> {
        let view = self.admit_any_epoch(envelope)?;
        let theirs = Epoch(envelope.map_or(0, |envelope| envelope.epoch));
        if theirs < view.since {
            return Err(stale_view(view.epoch));
        }
        Ok(view)
    }

    /// As [`Self::admit`], whatever the sender's epoch.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` without an envelope, `FAILED_PRECONDITION` for another cluster,
    /// `PERMISSION_DENIED` when the sender's certificate is another node's.
    pub fn admit_any_epoch(&self, envelope: Option<&Envelope>) -> Result<Arc<View>, Status> {
        let envelope = envelope.ok_or_else(|| Status::invalid_argument("no envelope"))?;
        let view = self.view();
        if envelope.cluster_id != view.cluster_id {
            let (ours, theirs) = (&view.cluster_id, &envelope.cluster_id);
            return Err(Status::failed_precondition(format!(
                "this is cluster `{ours}`, the message is of cluster `{theirs}`"
            )));
        }
        let sender = u16::try_from(envelope.sender);
        let sender = NodeId(sender.map_err(|_| Status::invalid_argument("no such sender"))?);
        check_sender(sender)?;
        self.heard_of(Epoch(envelope.epoch), sender);
        Ok(view)
    }

    /// The view once it is at `epoch` or newer; `None` when it does not come `within`.
    pub async fn at_least(&self, epoch: Epoch, within: Duration) -> Option<Arc<View>> {
        let mut views = self.views();
        let newer = views.wait_for(|view| view.epoch >= epoch);
        let view = tokio::time::timeout(within, newer).await.ok()?.ok()?.clone();
        Some(view)
    }

    /// Does the view know of this start of the node?
    ///
    /// Until it does, the node may hold a view that is older than one it had adopted before it died,
    /// and must not take copies under it: it may have been scanned since.
    pub fn is_seated(&self) -> bool {
        let view = self.view();
        let member = view.members.get(&self.inner.me);
        member.is_some_and(|member| member.incarnation == self.inner.incarnation)
    }

    /// Begins to publish a copy. Whether this node may take it is to be checked against the view that
    /// is answered, not against one that was read before.
    pub fn begin_publish(&self) -> Publishing {
        self.inner.gate.begin(|| self.view())
    }

    /// Waits until every publication that was admitted under a view older than `epoch` has ended. A
    /// node that is at `epoch` and settled may be scanned for it.
    pub async fn settled(&self, epoch: Epoch) {
        self.inner.gate.settled(epoch).await;
    }

    /// The way to a member.
    ///
    /// # Errors
    /// It is no member, or its address is none.
    pub fn channel(&self, node: NodeId) -> Result<Channel, Status> {
        let view = self.view();
        let member = view.members.get(&node);
        let member =
            member.ok_or_else(|| Status::unavailable(format!("node {node} is no member")))?;
        let channel = self.channel_expecting(Some(node), &member.grpc);
        channel.map_err(|error| Status::unavailable(error.to_string()))
    }

    /// The way to whichever member is at an address.
    ///
    /// # Errors
    /// It is not `ip:port`.
    pub fn channel_to(&self, address: &str) -> Result<Channel, BadAddress> {
        self.channel_expecting(None, address)
    }

    fn channel_expecting(
        &self,
        node: Option<NodeId>,
        address: &str,
    ) -> Result<Channel, BadAddress> {
        let mut channels = self.inner.channels.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (node, address.to_owned());
        if let Some(channel) = channels.get(&key) {
            return Ok(channel.clone());
        }
        let security = &self.inner.security;
        let channel = match node {
            Some(node) => Channel::to_node(node, address, security)?,
            None => Channel::new(address, security)?,
        };
        channels.insert(key, channel.clone());
        Ok(channel)
    }

    /// How this node's connections are protected.
    pub fn security(&self) -> &Security {
        &self.inner.security
    }

    /// Notes that a peer did not answer as it should: for [`SUSPICION_TTL`] others are asked first.
    pub fn suspect(&self, node: NodeId) {
        let until = self.inner.clock.monotonic() + SUSPICION_TTL;
        self.suspected().insert(node, until);
    }

    /// Notes that a peer answered.
    pub fn trust(&self, node: NodeId) {
        self.suspected().remove(&node);
    }

    /// The peers that are suspected now.
    pub fn suspects(&self) -> BTreeSet<NodeId> {
        let now = self.inner.clock.monotonic();
        let mut suspected = self.suspected();
        suspected.retain(|_, until| *until > now);
        suspected.keys().copied().collect()
    }

    fn suspected(&self) -> std::sync::MutexGuard<'_, BTreeMap<NodeId, Duration>> {
        self.inner.suspected.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
