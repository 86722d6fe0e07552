//! Rumours: who seems to be in trouble, and that there is a newer view.
//!
//! A SWIM failure detector ([`detector`]) over unary gRPC calls. What it says is a hint for reads and
//! writes whom to ask first ([`Cluster::suspect`]), never more: who is a member, and who is up, is
//! decided by sessions in group 0. Rumours of thousand nodes with a few lost packets doubt dozens of
//! healthy ones; a ring that followed them would move terabytes.
//!
//! Each packet and each answer carries the epoch of the sender's view, so that a node that missed a
//! view hears of it within a probe and fetches it.

pub mod detector;

use std::{sync::Arc, time::Duration};

use atoll_core::view::{Epoch, MemberState, NodeId};
use atoll_proto::cluster::v1::{GossipPacket, gossip_client::GossipClient};
use bytes::Bytes;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use self::detector::{Detector, PROBE_PERIOD, Rumour};
use super::Cluster;
use crate::io::{Io, plant::Plant};

/// Packets that may wait to be handled. What comes beyond is lost, as on a network.
const WAITING_MAX: usize = 256;

/// Packets that may be on their way at once.
const SENDING_MAX: usize = 64;

/// How long a packet may be on its way. An answer that takes longer is worth nothing to a probe.
const SEND_TIMEOUT: Duration = Duration::from_millis(300);

/// The way into the detector, for the service that receives packets.
#[derive(Clone, Debug)]
pub struct GossipInbox {
    packets: mpsc::Sender<Bytes>,
}

impl GossipInbox {
    /// Hands a packet on, or loses it.
    pub fn receive(&self, packet: Bytes) {
        let _ = self.packets.try_send(packet);
    }
}

/// Starts the detector of this node; it ends with `stop`.
pub fn start(cluster: Cluster, io: &Io, stop: CancellationToken) -> GossipInbox {
    let (packets, inbox) = mpsc::channel(WAITING_MAX);
    let mut seed = [0; 8];
    io.entropy.fill(&mut seed);
    let detector = Detector::new(cluster.me(), cluster.incarnation(), u64::from_le_bytes(seed));
    let sending = Arc::new(Semaphore::new(SENDING_MAX));
    tokio::spawn(Task { cluster, io: io.clone(), detector, sending }.run(inbox, stop));
    GossipInbox { packets }
}

struct Task {
    cluster: Cluster,
    io: Io,
    detector: Detector,
    sending: Arc<Semaphore>,
}

impl Task {
    async fn run(mut self, mut inbox: mpsc::Receiver<Bytes>, stop: CancellationToken) {
        let mut views = self.cluster.views();
        views.mark_changed();
        loop {
            let now = self.io.clock.monotonic();
            let wake = self.detector.poll_timeout().unwrap_or(now + PROBE_PERIOD);
            let pause = wake.saturating_sub(now).min(PROBE_PERIOD);
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                Some(packet) = inbox.recv() => {
                    self.detector.handle_packet(&packet, self.io.clock.monotonic());
                }
                Ok(()) = views.changed() => {
                    let view = views.borrow_and_update().clone();
                    self.detector.handle_view(&view, self.io.clock.monotonic());
                }
                () = tokio::time::sleep(pause) => {}
            }
            self.detector.handle_timeout(self.io.clock.monotonic());
            self.tell();
            while let Some((to, packet)) = self.detector.poll_packet() {
                self.send(to, packet);
            }
        }
    }

    /// Doubts are renewed as long as they last: a suspicion ends by itself soon.
    fn tell(&self) {
        for (node, rumour) in self.detector.rumours() {
            if rumour == Rumour::Doubtful {
                self.cluster.suspect(node);
                if Plant::ViewFromGossip.is_planted() {
                    self.believe(node);
                }
            }
        }
    }

    /// What must never be done: only group 0 says who is up.
    fn believe(&self, node: NodeId) {
        let mut view = self.cluster.view().as_ref().clone();
        if let Some(member) = view.members.get_mut(&node).filter(|member| member.is_up()) {
            member.state = MemberState::Down;
            view.epoch = Epoch(view.epoch.0 + 1);
            self.cluster.adopt(view);
        }
    }

    fn send(&self, to: NodeId, packet: Bytes) {
        let Ok(channel) = self.cluster.channel(to) else { return };
        let Ok(permit) = self.sending.clone().try_acquire_owned() else { return };
        let cluster = self.cluster.clone();
        let packet = GossipPacket {
            envelope: Some(cluster.envelope()),
            view_hash: cluster.view_hash(),
            payload: packet,
        };
        tokio::spawn(async move {
            let mut client = GossipClient::new(channel);
            let sent = tokio::time::timeout(SEND_TIMEOUT, client.packet(packet)).await;
            if let Ok(Ok(reply)) = sent {
                cluster.heard_of(Epoch(reply.into_inner().epoch), to);
            }
            drop(permit);
        });
    }
}
