//! From facts to the next view.
//!
//! One function without memory: the same view and facts always give the same answer, so whoever
//! leads group 0 may compute it, twice if need be, and a compare-and-set on the view decides.
//!
//! The rules:
//! - a session that appears makes its node Up, or Joining while it has no points; a session that
//!   ends makes it Down. Neither moves a point;
//! - points move when a member should be in the ring and is not, or the other way round, or when
//!   its weight or zone was changed. One such plan at a time: while the owners of an earlier ring
//!   are not finalised, nothing new comes in. Leaving is never delayed;
//! - a node that is down for too long leaves the ring, but only while R others remain there: with
//!   fewer nobody could take over its copies, and W would shrink behind the operator's back;
//! - whenever anyone's acting owners change, the configuration until now is kept as *open*. It is
//!   dropped when every acting node has reported that it is synced, for this very configuration or
//!   a later view of it (`synced >= view.since`): a report made for an earlier one does not know
//!   the sets that were opened after it;
//! - a configuration with fewer nodes up than W takes no writes, so it need not be kept open; and it
//!   finalises nothing, since what was acknowledged must stay at W owners at least.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    Configuration, Epoch, Facts, Intent, Member, MemberRecord, MemberState, NodeId, RingMode, View,
    write_quorum,
};
use crate::ring::{
    Points, Ring,
    allocator::{self, Share},
    paper,
};

/// Open configurations beyond which nodes neither come into the ring nor come up: every one is
/// asked for each absence and each sync, and the view must stay below a megabyte. Going down is
/// never held back.
pub const OPEN_MAX: usize = 32;

/// The view that follows from the facts; `None` when it is the present one.
pub fn next(view: &View, facts: &Facts) -> Option<View> {
    let mut new = view.clone();
    new.epoch = Epoch(view.epoch.0 + 1);
    finalise(&mut new, facts);
    take_in_members(&mut new, facts);
    change_ring(&mut new, facts);
    set_states(&mut new, facts);
    open_configuration(view, &mut new);
    drop_removed(&mut new, facts);
    let is_same = View { epoch: view.epoch, ..new.clone() } == *view;
    (!is_same).then_some(new)
}

/// Drops the open configurations once every acting node has caught up with this one.
fn finalise(view: &mut View, facts: &Facts) {
    let acting = view.ring_up();
    let all_synced =
        acting.iter().all(|node| facts.synced.get(node).is_some_and(|at| *at >= view.since));
    if all_synced && acting.len() >= view.write_quorum() {
        view.open.clear();
    }
}

/// New members, and what sessions and records say of known ones. Weights and zones are left to
/// [`change_ring`]: the view shows those its ring was made with.
fn take_in_members(view: &mut View, facts: &Facts) {
    for (node, record) in &facts.members {
        let is_new = !view.members.contains_key(node);
        if is_new && facts.registered.contains_key(node) && record.intent != Intent::Removed {
            view.members.insert(*node, joining(record));
        }
        let after = node.0.saturating_add(1);
        view.next_node = view.next_node.max(NodeId(after));
    }
    for (node, member) in &mut view.members {
        if let Some(record) = facts.members.get(node) {
            member.name.clone_from(&record.name);
            member.http.clone_from(&record.http);
            member.grpc.clone_from(&record.grpc);
        }
        if let Some(registration) = facts.registered.get(node) {
            member.incarnation = registration.incarnation;
            member.http.clone_from(&registration.http);
            member.grpc.clone_from(&registration.grpc);
        }
    }
}

fn joining(record: &MemberRecord) -> Member {
    Member {
        name: record.name.clone(),
        incarnation: 0,
        http: record.http.clone(),
        grpc: record.grpc.clone(),
        zone: record.zone.clone(),
        weight: record.weight,
        state: MemberState::Joining,
    }
}

/// Gives the ring the nodes it should have, as far as that may happen now.
fn change_ring(view: &mut View, facts: &Facts) {
    let is_moving = view.open.iter().any(|open| open.ring != view.ring);
    let may_come = !is_moving && view.open.len() < OPEN_MAX;
    let nodes = wanted(view, facts, may_come);
    let leaves = view.ring.nodes().any(|node| !nodes.contains(&node));
    if nodes.is_empty() {
        return;
    }
    let changes = if may_come { reshaped(view, facts, &nodes) } else { BTreeMap::new() };
    if !leaves && changes.is_empty() && nodes.iter().all(|node| view.ring.contains(*node)) {
        return;
    }
    for (node, (weight, zone)) in changes {
        if let Some(member) = view.members.get_mut(&node) {
            (member.weight, member.zone) = (weight, zone);
        }
    }
    view.ring = Arc::new(make_ring(view, &nodes));
}

/// The nodes that should be in the ring now: of those who are in it already, and of the others if they
/// `may_come`. Who has to wait outside takes nobody's place.
fn wanted(view: &View, facts: &Facts, may_come: bool) -> BTreeSet<NodeId> {
    let intent = |node: &NodeId| facts.members.get(node).map_or(Intent::In, |record| record.intent);
    let weight = |node: &NodeId| match facts.members.get(node) {
        Some(record) => record.weight,
        None => view.members.get(node).map_or(0, |member| member.weight),
    };
    let may_be_in = |node: &NodeId| {
        let comes = may_come && facts.registered.contains_key(node);
        let is_here = view.ring.contains(*node) || comes;
        is_here && intent(node) == Intent::In && weight(node) > 0
    };
    let mut wanted: BTreeSet<NodeId> = view.members.keys().copied().filter(may_be_in).collect();
    let lost =
        |node: &NodeId| facts.down_too_long.contains(node) && !facts.registered.contains_key(node);
    let kept: BTreeSet<NodeId> = wanted.iter().copied().filter(|node| !lost(node)).collect();
    if kept.len() >= usize::from(view.replicas) {
        wanted = kept;
    }
    wanted
}

/// Members of the ring-to-be whose weight or zone an operator has changed, with the new ones.
fn reshaped(
    view: &View,
    facts: &Facts,
    nodes: &BTreeSet<NodeId>,
) -> BTreeMap<NodeId, (u32, String)> {
    let mut changes = BTreeMap::new();
    for node in nodes {
        let (Some(member), Some(record)) = (view.members.get(node), facts.members.get(node)) else {
            continue;
        };
        if (member.weight, &member.zone) != (record.weight, &record.zone) {
            changes.insert(*node, (record.weight, record.zone.clone()));
        }
    }
    changes
}

fn make_ring(view: &View, nodes: &BTreeSet<NodeId>) -> Ring {
    let members = nodes.iter().filter_map(|node| Some((*node, view.members.get(node)?)));
    match view.mode {
        RingMode::Assigned { points } => {
            let share =
                |member: &Member| Share { weight: member.weight, zone: member.zone.clone() };
            let shares = members.map(|(node, member)| (node, share(member))).collect();
            let replicas = usize::from(view.replicas);
            allocator::allocate(Some(&view.ring), &shares, points as usize, replicas)
        }
        RingMode::Paper { identities } => {
            let members: BTreeMap<NodeId, &Member> = members.collect();
            paper_ring(&view.ring, &members, identities)
        }
    }
}

/// Hashed identities: a node that stays keeps those it has, whatever its address is now.
fn paper_ring(current: &Ring, members: &BTreeMap<NodeId, &Member>, count: u16) -> Ring {
    let mut identities = match current.points() {
        Points::Paper { identities } => identities.clone(),
        Points::Assigned { .. } => Vec::new(),
    };
    identities.retain(|(_, node)| members.contains_key(node));
    let staying: BTreeSet<NodeId> = identities.iter().map(|(_, node)| *node).collect();
    for (node, member) in members {
        if !staying.contains(node) {
            identities.extend(paper::identities(&member.http, count).map(|place| (place, *node)));
        }
    }
    let zones = members.iter().map(|(node, member)| (*node, member.zone.clone())).collect();
    paper::of_identities(identities, zones)
}

/// What each member is doing now.
fn set_states(view: &mut View, facts: &Facts) {
    let is_full = view.open.len() >= OPEN_MAX;
    for (node, member) in &mut view.members {
        let intent = facts.members.get(node).map_or(Intent::In, |record| record.intent);
        let is_in_ring = view.ring.contains(*node);
        let is_held_back = is_full && is_in_ring && !member.is_up();
        member.state = match (facts.registered.contains_key(node), is_in_ring, intent) {
            (false, _, _) => MemberState::Down,
            (true, true, _) if is_held_back => MemberState::Down,
            (true, true, _) => MemberState::Up,
            (true, false, Intent::In) => MemberState::Joining,
            (true, false, _) => MemberState::Draining,
        };
    }
}

/// Keeps the configuration of `old` open when the new one differs.
fn open_configuration(old: &View, new: &mut View) {
    let (up_before, up_now) = (old.ring_up(), new.ring_up());
    if old.ring == new.ring && up_before == up_now {
        return;
    }
    new.since = new.epoch;
    let took_writes = up_before.len() >= write_quorum(old.copies());
    let is_known = new.open.iter().any(|open| open.ring == old.ring && open.up == up_before);
    if took_writes && !is_known {
        new.open.push(Configuration { since: old.since, ring: old.ring.clone(), up: up_before });
    }
    // Back to a configuration that was still open: it is not an earlier one any more.
    new.open.retain(|open| open.ring != new.ring || open.up != up_now);
}

/// Forgets members that are to be removed and that no owner set names any more.
fn drop_removed(view: &mut View, facts: &Facts) {
    let is_removed =
        |node: &NodeId| facts.members.get(node).is_some_and(|r| r.intent == Intent::Removed);
    let (ring, open) = (&view.ring, &view.open);
    let is_needed = |node: &NodeId| {
        ring.contains(*node) || open.iter().any(|configuration| configuration.up.contains(node))
    };
    view.members.retain(|node, _| !is_removed(node) || is_needed(node));
}
