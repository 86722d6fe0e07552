//! foca's SWIM as a machine without a network: packets, timers and members in, packets out.
//!
//! foca brings the protocol; this file says who a member is, keeps its timers and hands its packets
//! on. Time comes in as an argument and randomness is drawn from a seed, so a simulation repeats.

use std::{collections::BTreeMap, convert::Infallible, num::NonZero, time::Duration};

use atoll_core::view::{NodeId, View};
use bytes::Bytes;
use foca::{Foca, Identity, NoCustomBroadcast, OwnedNotification, PeriodicParams, PostcardCodec};
use serde::{Deserialize, Serialize};

use crate::io::entropy::rng::SeededRng;

/// How often one member is probed.
pub const PROBE_PERIOD: Duration = Duration::from_millis(300);

/// Within which a probe is answered before others are asked to try.
const PROBE_RTT: Duration = Duration::from_millis(100);

/// How long a suspected member has to object.
const SUSPECT_TO_DOWN: Duration = Duration::from_millis(700);

/// Members asked to probe on one's behalf.
const INDIRECT_PROBES: usize = 3;

/// How often one piece of news is passed on: enough for a thousand members.
const TRANSMISSIONS: u8 = 10;

/// Largest packet. There is no datagram to fit into; this bounds what a sender can make us read.
pub const PACKET_BYTES_MAX: usize = 16 << 10;

/// How often members that seem down are asked whether they are back, and others whom they know.
const ANNOUNCE_PERIOD: Duration = Duration::from_secs(2);

/// A member as the rumours know it. A later start of a node replaces the earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Rumoured {
    node: u16,
    incarnation: u64,
    /// Grows each time the node learns that it was taken for down.
    renewals: u32,
}

impl Identity for Rumoured {
    type Addr = u16;

    fn renew(&self) -> Option<Self> {
        Some(Self { renewals: self.renewals.wrapping_add(1), ..*self })
    }

    fn addr(&self) -> u16 {
        self.node
    }

    fn win_addr_conflict(&self, adversary: &Self) -> bool {
        (self.incarnation, self.renewals) > (adversary.incarnation, adversary.renewals)
    }
}

/// foca's door to randomness.
#[derive(Debug)]
struct Random(SeededRng);

impl rand_core::TryRng for Random {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        // The high half: the better one of most generators.
        Ok((self.0.next_u64() >> 32) as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.0.next_u64())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.0.fill(bytes);
        Ok(())
    }
}

type Runtime = foca::AccumulatingRuntime<Rumoured>;

/// The failure detector of one node.
///
/// Call [`Self::handle_packet`], [`Self::handle_view`] and [`Self::handle_timeout`] with the present
/// time, then [`Self::poll_packet`] until it is empty; come back at [`Self::poll_timeout`].
pub struct Detector {
    foca: Foca<Rumoured, PostcardCodec, Random, NoCustomBroadcast>,
    runtime: Runtime,
    /// foca's timers by the time they are due; the number keeps the order of equal times.
    timers: BTreeMap<(Duration, u64), foca::Timer<Rumoured>>,
    timers_set: u64,
    outgoing: Vec<(NodeId, Bytes)>,
}

impl std::fmt::Debug for Detector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Detector").field("me", self.foca.identity()).finish_non_exhaustive()
    }
}

/// What the detector makes of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rumour {
    /// It answers.
    Alive,
    /// It does not answer, or has not for long.
    Doubtful,
}

impl Detector {
    /// A detector that knows nobody yet.
    pub fn new(me: NodeId, incarnation: u64, seed: u64) -> Detector {
        let me = Rumoured { node: me.0, incarnation, renewals: 0 };
        let random = Random(SeededRng::new(seed));
        Detector {
            foca: Foca::new(me, config(), random, PostcardCodec),
            runtime: Runtime::new(),
            timers: BTreeMap::new(),
            timers_set: 0,
            outgoing: Vec::new(),
        }
    }

    /// Takes a packet of another member. One that makes no sense is dropped, as on any network.
    pub fn handle_packet(&mut self, packet: &[u8], now: Duration) {
        let taken = self.foca.handle_data(packet, &mut self.runtime);
        self.after(taken, now);
    }

    /// Greets the members of a view that are up and not known yet.
    pub fn handle_view(&mut self, view: &View, now: Duration) {
        let known: Vec<u16> = self.foca.iter_members().map(|member| member.id().node).collect();
        let me = self.foca.identity().node;
        for (node, member) in &view.members {
            if node.0 == me || !member.is_up() || known.contains(&node.0) {
                continue;
            }
            let peer = Rumoured { node: node.0, incarnation: member.incarnation, renewals: 0 };
            let greeted = self.foca.announce(peer, &mut self.runtime);
            self.after(greeted, now);
        }
    }

    /// Lets everything happen that is due.
    pub fn handle_timeout(&mut self, now: Duration) {
        while let Some(entry) = self.timers.first_entry()
            && entry.key().0 <= now
        {
            let timer = entry.remove();
            let handled = self.foca.handle_timer(timer, &mut self.runtime);
            self.after(handled, now);
        }
    }

    /// When to call [`Self::handle_timeout`] next.
    pub fn poll_timeout(&self) -> Option<Duration> {
        self.timers.first_key_value().map(|((due, _), _)| *due)
    }

    /// A packet to send.
    pub fn poll_packet(&mut self) -> Option<(NodeId, Bytes)> {
        self.outgoing.pop()
    }

    /// What is known about every member that was ever heard of.
    pub fn rumours(&self) -> impl Iterator<Item = (NodeId, Rumour)> + '_ {
        self.foca.iter_membership_state().map(|member| {
            let rumour = match member.state() {
                foca::State::Alive => Rumour::Alive,
                foca::State::Suspect | foca::State::Down => Rumour::Doubtful,
            };
            (NodeId(member.id().node), rumour)
        })
    }

    fn after(&mut self, handled: Result<(), foca::Error>, now: Duration) {
        if let Err(error) = handled {
            tracing::debug!(%error, "gossip");
        }
        while let Some((to, packet)) = self.runtime.to_send() {
            self.outgoing.insert(0, (NodeId(to.node), packet));
        }
        while let Some((after, timer)) = self.runtime.to_schedule() {
            self.timers_set += 1;
            self.timers.insert((now + after, self.timers_set), timer);
        }
        while let Some(notification) = self.runtime.to_notify() {
            log(&notification);
        }
    }
}

fn log(notification: &OwnedNotification<Rumoured>) {
    match notification {
        OwnedNotification::MemberUp(peer) => {
            tracing::debug!(peer = peer.node, "gossip: a member answers");
        }
        OwnedNotification::MemberDown(peer) => {
            tracing::debug!(peer = peer.node, "gossip: a member does not answer");
        }
        _ => {}
    }
}

fn config() -> foca::Config {
    let one = NonZero::<usize>::MIN;
    let now_and_then = || Some(PeriodicParams { frequency: ANNOUNCE_PERIOD, num_members: one });
    foca::Config {
        probe_period: PROBE_PERIOD,
        probe_rtt: PROBE_RTT,
        num_indirect_probes: NonZero::new(INDIRECT_PROBES).unwrap_or(one),
        max_transmissions: NonZero::new(TRANSMISSIONS).unwrap_or(NonZero::<u8>::MIN),
        suspect_to_down_after: SUSPECT_TO_DOWN,
        // Node numbers are never used again, and a later start of a node replaces its earlier one:
        // what is remembered is bounded by the number of nodes there ever were.
        remove_down_after: None,
        max_packet_size: NonZero::new(PACKET_BYTES_MAX).unwrap_or(one),
        notify_down_members: true,
        periodic_announce: now_and_then(),
        periodic_announce_to_down_members: now_and_then(),
        periodic_gossip: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Some detectors, a network that loses nothing, and a clock.
    struct World {
        detectors: BTreeMap<NodeId, Detector>,
        now: Duration,
    }

    impl World {
        fn new(nodes: u16) -> World {
            let ids = (1..=nodes).map(NodeId);
            let mut detectors: BTreeMap<_, _> =
                ids.map(|id| (id, Detector::new(id, 1, u64::from(id.0)))).collect();
            let view = crate::cluster::tests::view_of(nodes);
            for detector in detectors.values_mut() {
                detector.handle_view(&view, Duration::ZERO);
            }
            World { detectors, now: Duration::ZERO }
        }

        fn run(&mut self, until: Duration) {
            while self.now < until {
                self.now += Duration::from_millis(10);
                let mut flying = Vec::new();
                for detector in self.detectors.values_mut() {
                    detector.handle_timeout(self.now);
                    flying.extend(std::iter::from_fn(|| detector.poll_packet()));
                }
                for (to, packet) in flying {
                    if let Some(detector) = self.detectors.get_mut(&to) {
                        detector.handle_packet(&packet, self.now);
                    }
                }
            }
        }

        fn doubted_by(&self, by: u16) -> Vec<u16> {
            let rumours = self.detectors[&NodeId(by)].rumours();
            let mut doubtful: Vec<_> = rumours
                .filter(|(_, rumour)| *rumour == Rumour::Doubtful)
                .map(|(id, _)| id.0)
                .collect();
            doubtful.sort_unstable();
            doubtful
        }
    }

    #[test]
    fn nobody_is_doubted_while_all_answer() {
        let mut world = World::new(5);
        world.run(Duration::from_secs(20));
        for node in 1..=5 {
            assert!(world.doubted_by(node).is_empty());
            assert_eq!(world.detectors[&NodeId(node)].rumours().count(), 4);
        }
    }

    #[test]
    fn a_silent_member_is_doubted_by_all_within_two_seconds_and_trusted_when_it_is_back() {
        let mut world = World::new(5);
        world.run(Duration::from_secs(5));
        world.detectors.remove(&NodeId(3));
        world.run(Duration::from_secs(8));
        for node in [1, 2, 4, 5] {
            assert_eq!(world.doubted_by(node), [3], "by {node}");
        }
        let mut back = Detector::new(NodeId(3), 2, 9);
        back.handle_view(&crate::cluster::tests::view_of(5), world.now);
        world.detectors.insert(NodeId(3), back);
        world.run(Duration::from_secs(10));
        for node in 1..=5 {
            assert!(world.doubted_by(node).is_empty(), "by {node}");
        }
    }

    #[test]
    fn bytes_that_are_no_packet_are_dropped() {
        let mut detector = Detector::new(NodeId(1), 1, 1);
        for packet in [&b""[..], b"x", &[0xff; 64], &[0; PACKET_BYTES_MAX + 1]] {
            detector.handle_packet(packet, Duration::ZERO);
        }
        assert_eq!(detector.rumours().count(), 0);
    }
}
