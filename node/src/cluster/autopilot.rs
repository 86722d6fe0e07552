//! Who belongs to the Raft groups: at the leader of each, changed one step at a time ([`plan`]).
//!
//! The leader of a group looks every little while and whenever members change. It compares the group
//! with who belongs to the cluster and does the one next thing; a step that fails is looked at anew.

pub mod plan;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use atoll_core::view::{Intent, MemberRecord, NodeId, View};
use tokio_util::sync::CancellationToken;

use self::plan::{Change, GroupMembers, Situation, next_change};
use super::{
    Cluster, SessionSlot,
    keeper::{down::DownTimers, facts},
    znodes,
};
use crate::{
    coordination::{CoordinationError, EventQueue, Session, WatchMode},
    io::Io,
    metadata::{GroupMembership, Metadata},
};

/// How often groups are looked at without an event: voters that were down for long, learners that
/// have caught up.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// Entries that a learner may lack and still become a voter: a fraction of a second of work.
const LAG_MAX: u64 = 256;

/// Steps for one group in a row, so that one group cannot keep the others waiting.
const STEPS_IN_A_ROW: usize = 64;

/// What the autopilot works with.
#[derive(Debug)]
pub struct Autopilot {
    /// This node's cluster.
    pub cluster: Cluster,
    /// Time.
    pub io: Io,
    /// The way into group 0.
    pub session: SessionSlot,
    /// The groups.
    pub metadata: Metadata,
    /// How long a voter may be down before another takes its place.
    pub voter_out_interval: Duration,
}

impl Autopilot {
    /// Looks after the groups that this node leads, until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        while let Some(session) = self.session.wait(&stop).await {
            let failed = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                failed = self.look_after(session.as_ref()) => failed,
            };
            if let Err(error) = failed {
                tracing::debug!(%error, "groups are not looked after for a moment");
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    async fn look_after(&self, session: &dyn Session) -> Result<(), CoordinationError> {
        let mut members: EventQueue =
            session.watch(znodes::MEMBERS, WatchMode::PersistentRecursive).await?;
        let mut views = self.cluster.views();
        let mut timers = DownTimers::default();
        loop {
            let led: Vec<u16> = self.metadata.group_ids();
            let led: Vec<u16> =
                led.into_iter().filter(|group| self.metadata.is_leader(*group)).collect();
            if !led.is_empty() {
                let records = facts::members(session).await?;
                let view = views.borrow_and_update().clone();
                timers.handle_view(&view, self.io.clock.monotonic());
                let nodes = nodes(&view, &records);
                for group in led {
                    self.settle(group, &view, &nodes, &timers).await;
                }
            }
            tokio::select! {
                biased;
                event = members.next() => if event.is_none() { return Ok(()) },
                changed = views.changed() => if changed.is_err() { return Ok(()) },
                () = tokio::time::sleep(LOOK_INTERVAL) => {}
            }
            while members.try_next().is_some() {}
        }
    }

    /// Takes step after step until the group is as it should be, or a step fails.
    async fn settle(
        &self,
        group: u16,
        view: &View,
        nodes: &BTreeMap<NodeId, String>,
        timers: &DownTimers,
    ) {
        for _ in 0..STEPS_IN_A_ROW {
            let Ok(membership) = self.metadata.membership(group) else { return };
            if membership.changing || !self.metadata.is_leader(group) {
                return;
            }
            let absent = timers.down_for(self.voter_out_interval, self.io.clock.monotonic());
            let ready = ready(self.cluster.me(), &membership);
            let members = group_members(&membership);
            let situation = Situation { view, nodes, absent: &absent, ready: &ready };
            let Some(change) = next_change(group, self.cluster.me(), &members, &situation) else {
                return;
            };
            if let Err(error) = self.change(group, &change).await {
                tracing::warn!(group, ?change, %error, "group not changed; it is tried again");
                return;
            }
            tracing::info!(group, ?change, "group changed");
        }
    }

    async fn change(
        &self,
        group: u16,
        change: &Change,
    ) -> Result<(), crate::metadata::MembershipError> {
        let metadata = &self.metadata;
        match change {
            Change::Add(node, address) => {
                metadata.add_learner(group, u64::from(node.0), address).await
            }
            Change::Readdress(node, address) => {
                metadata.set_address(group, u64::from(node.0), address).await
            }
            Change::Voters(voters) => {
                let voters = voters.iter().map(|node| u64::from(node.0)).collect();
                metadata.change_voters(group, voters).await
            }
            Change::Remove(node) => metadata.remove_member(group, u64::from(node.0)).await,
        }
    }
}

/// Everyone who should be in the groups, and where: members of the view, and who has joined and is
/// not in it yet.
fn nodes(view: &View, records: &BTreeMap<NodeId, MemberRecord>) -> BTreeMap<NodeId, String> {
    let joined = records.iter().filter(|(_, record)| record.intent != Intent::Removed);
    let mut nodes: BTreeMap<_, _> =
        joined.map(|(node, record)| (*node, record.grpc.clone())).collect();
    nodes.extend(view.members.iter().map(|(node, member)| (*node, member.grpc.clone())));
    nodes
}

fn ids(nodes: &BTreeSet<u64>) -> BTreeSet<NodeId> {
    nodes.iter().filter_map(|node| u16::try_from(*node).ok()).map(NodeId).collect()
}

fn group_members(membership: &GroupMembership) -> GroupMembers {
    let address = |(node, address): (&u64, &String)| {
        Some((NodeId(u16::try_from(*node).ok()?), address.clone()))
    };
    GroupMembers {
        voters: ids(&membership.voters),
        addresses: membership.addresses.iter().filter_map(address).collect(),
    }
}

/// Who has nearly all of the leader's log; the leader itself has.
fn ready(me: NodeId, membership: &GroupMembership) -> BTreeSet<NodeId> {
    let last = membership.last_log.unwrap_or_default();
    let close = membership
        .matched
        .iter()
        .filter(|(_, matched)| matched.is_some_and(|matched| matched + LAG_MAX >= last))
        .map(|(node, _)| *node)
        .collect();
    let mut ready = ids(&close);
    ready.insert(me);
    ready
}
