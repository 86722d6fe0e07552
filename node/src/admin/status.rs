//! The whole cluster, put together from this node's view, the ledger and every node's own account.

use std::collections::BTreeMap;

use atoll_core::{
    admin::{Health, Intent, NodeReport, NodeState, NodeStatus, OpenConfiguration, Status},
    view::{self, Configuration, Member, MemberRecord, NodeId, View},
};

use super::{
    changes,
    pieces::{Page, Pieces},
    shares,
};

/// A node's own account, or why there is none.
pub type Account = Result<NodeReport, String>;

/// What a status is made of, beside what [`Pieces`] tells.
#[derive(Debug)]
pub struct Facts<'a> {
    /// The node that answers.
    pub me: NodeId,
    /// Its view.
    pub view: &'a View,
    /// Peers it suspects.
    pub suspects: &'a std::collections::BTreeSet<NodeId>,
    /// What operators want.
    pub page: &'a Page,
    /// What the nodes say of themselves.
    pub accounts: BTreeMap<NodeId, Account>,
}

/// The status, judged.
pub fn of(pieces: &dyn Pieces, mut facts: Facts<'_>) -> Status {
    let view = facts.view;
    let coordination = pieces.coordination();
    let percents = shares::percent(&view.ring);
    let collector = pieces.collector();
    let collection = collector.and_then(|node| {
        let account = facts.accounts.get(&node)?.as_ref().ok()?;
        account.collection.clone()
    });
    let nodes = view.members.iter().map(|(node, member)| {
        let voter = coordination.voters.contains(&node.0);
        let safe_to_stop = is_free(view, *node) && !voter;
        let intent = intent(facts.page.members.get(node).map(|(record, _)| record));
        let account = facts.accounts.remove(node);
        let (report, unreachable) = match account {
            Some(Ok(report)) => (Some(report), None),
            Some(Err(why)) => (None, Some(why)),
            None => (None, None),
        };
        NodeStatus {
            state: NodeState::of(member.state, safe_to_stop),
            intent,
            in_ring: percents.contains_key(node),
            share_percent: percents.get(node).copied().unwrap_or_default(),
            voter,
            leader: coordination.leader == Some(node.0),
            suspected: facts.suspects.contains(node),
            safe_to_stop: safe_to_stop && intent != Intent::In,
            report,
            unreachable,
            ..of_member(*node, member)
        }
    });
    let mut status = Status {
        cluster_id: view.cluster_id.clone(),
        node: facts.me.0,
        epoch: view.epoch.0,
        health: Health::Unknown,
        problems: Vec::new(),
        replicas: view.replicas,
        write_quorum: view.write_quorum() as u64,
        open: view.open.iter().map(|open| open_configuration(view, open, facts.page)).collect(),
        plan: facts.page.plan.as_ref().map(|(plan, _)| changes::staged(view, facts.page, plan)),
        collection,
        nodes: nodes.collect(),
        coordination,
    };
    status.judge();
    status
}

fn of_member(node: NodeId, member: &Member) -> NodeStatus {
    NodeStatus {
        id: node.0,
        name: member.name.clone(),
        incarnation: member.incarnation,
        http: member.http.clone(),
        grpc: member.grpc.clone(),
        zone: member.zone.clone(),
        weight: member.weight,
        ..NodeStatus::default()
    }
}

/// Does no owner set, present or open, name the node? Then nothing that is asked of it now or later
/// depends on its copies.
pub fn is_free(view: &View, node: NodeId) -> bool {
    let is_open = |open: &Configuration| open.up.contains(&node);
    !view.ring.contains(node) && !view.open.iter().any(is_open)
}

fn intent(record: Option<&MemberRecord>) -> Intent {
    match record.map_or(view::Intent::In, |record| record.intent) {
        view::Intent::In => Intent::In,
        view::Intent::Draining => Intent::Draining,
        view::Intent::Removed => Intent::Removed,
    }
}

fn open_configuration(view: &View, open: &Configuration, page: &Page) -> OpenConfiguration {
    let lacks = |node: &NodeId| page.synced.get(node).is_none_or(|at| *at < view.since);
    let acting = view.ring.nodes().filter(|node| view.is_up(*node));
    OpenConfiguration {
        since_epoch: open.since.0,
        ring_differs: open.ring != view.ring,
        waiting_for: acting.filter(lacks).map(|node| node.0).collect(),
    }
}
