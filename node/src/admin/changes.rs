//! Changes of who belongs to the ring, judged before they are written down.
//!
//! A change is a new intent in a member's record; the view keeper does the rest. What this module
//! adds is the look ahead: the same pure rules that will make the next view are asked what they would
//! make of the change, so an operator sees what moves, and what cannot be meant is refused.

use std::collections::{BTreeMap, BTreeSet};

use atoll_core::{
    admin::{Change, ChangeAnswer, Movement, NodeChange, StagedPlan},
    view::{self, Facts, Intent, MemberRecord, NodeId, Registration, View, plan},
};

use super::{
    AdminError,
    pieces::{Page, Staged, Write},
    shares, status,
};

/// What a set of changes would do.
#[derive(Clone, Debug, PartialEq)]
pub struct Outlook {
    /// The view that follows from them.
    pub after: View,
    /// What moves.
    pub movement: Movement,
    /// What an operator should know.
    pub notes: Vec<String>,
}

/// The intent that a change writes down.
pub fn intent(change: Change) -> Intent {
    match change {
        Change::Drain => Intent::Draining,
        Change::Undrain => Intent::In,
        Change::Remove => Intent::Removed,
    }
}

/// The member that goes by a number or a name.
///
/// # Errors
/// There is none, or a name belongs to several.
pub fn member(view: &View, page: &Page, received: &str) -> Result<NodeId, AdminError> {
    let known: BTreeSet<NodeId> = view.members.keys().chain(page.members.keys()).copied().collect();
    let unknown = || AdminError::UnknownNode {
        received: received.to_owned(),
        known: known.iter().copied().collect(),
    };
    if let Ok(number) = received.parse() {
        let number = NodeId(number);
        return if known.contains(&number) { Ok(number) } else { Err(unknown()) };
    }
    let is_named = |node: &&NodeId| {
        let record = page.members.get(node).map(|(record, _)| &record.name);
        record
            .or(view.members.get(node).map(|member| &member.name))
            .is_some_and(|name| name == received)
    };
    let mut named = known.iter().filter(is_named);
    match (named.next(), named.next()) {
        (Some(node), None) => Ok(*node),
        _ => Err(unknown()),
    }
}

/// Looks ahead.
///
/// # Errors
/// The changes contradict each other, or name no member.
pub fn outlook(view: &View, page: &Page, changes: &[NodeChange]) -> Result<Outlook, AdminError> {
    let records = changed_records(view, page, changes)?;
    let facts = Facts {
        members: records,
        registered: registered(view),
        synced: BTreeMap::new(),
        down_too_long: BTreeSet::new(),
    };
    // Without the open configurations: the question is what this change moves, not when it may begin.
    let settled = View { open: Vec::new(), ..view.clone() };
    let after = view::next(&settled, &facts).unwrap_or_else(|| settled.clone());
    let movement = movement(view, &after);
    let notes = notes(view, &after, changes);
    Ok(Outlook { after, movement, notes })
}

/// What stands in the way of committing the changes now. `force` gives in where only movement or
/// data that may be given up is at stake.
///
/// # Errors
/// What stands in the way.
pub fn objections(
    view: &View,
    outlook: &Outlook,
    changes: &[NodeChange],
    force: bool,
) -> Result<(), AdminError> {
    if outlook.after.ring.nodes().next().is_none() || leaves_nobody(view, changes) {
        return Err(AdminError::NobodyLeft);
    }
    if force {
        return Ok(());
    }
    let leaving: Vec<NodeId> = view
        .ring
        .nodes()
        .filter(|node| !outlook.after.ring.nodes().any(|it| it == *node))
        .collect();
    let is_down = |node: &NodeId| !view.is_up(*node);
    let lost = leaving.iter().filter(|node| is_down(node)).count();
    let copies = view.copies();
    if lost >= copies && lost > 0 && copies > 1 {
        return Err(AdminError::MayLoseData { lost, copies });
    }
    // A node whose record says "removed" is not talked to any more.
    let is_needed = |change: &&NodeChange| {
        let node = NodeId(change.node);
        change.change == Change::Remove && view.is_up(node) && !status::is_free(view, node)
    };
    if let Some(change) = changes.iter().find(is_needed) {
        return Err(AdminError::NotDrained(NodeId(change.node)));
    }
    // A dead node is got rid of at any time: what moves may be waiting for it. One that comes in waits
    // by itself.
    let takes_away =
        |change: &NodeChange| change.change != Change::Undrain && view.is_up(NodeId(change.node));
    if is_moving(view) && changes.iter().any(takes_away) {
        return Err(AdminError::StillMoving);
    }
    Ok(())
}

/// Do copies move because the ring changed?
pub fn is_moving(view: &View) -> bool {
    view.open.iter().any(|open| open.ring != view.ring)
}

/// The writes that commit the changes; nothing for those that say what is so already.
///
/// # Errors
/// A node has no record.
pub fn writes(view: &View, page: &Page, changes: &[NodeChange]) -> Result<Vec<Write>, AdminError> {
    let records = changed_records(view, page, changes)?;
    let mut writes = Vec::new();
    for change in changes {
        let node = NodeId(change.node);
        let (Some(record), Some((present, version))) =
            (records.get(&node), page.members.get(&node))
        else {
            continue;
        };
        if record != present {
            writes.push(Write::Member(node, record.clone(), *version));
        }
    }
    Ok(writes)
}

/// The answer to a change that was committed, staged or only shown.
pub fn answer(outlook: &Outlook, changes: Vec<NodeChange>) -> ChangeAnswer {
    let Outlook { movement, notes, .. } = outlook.clone();
    ChangeAnswer { committed: false, staged: false, changes, movement, notes }
}

/// A staged plan with what it would move now.
pub fn staged(view: &View, page: &Page, staged: &Staged) -> StagedPlan {
    let movement = outlook(view, page, &staged.changes).map(|outlook| outlook.movement);
    StagedPlan {
        base_epoch: staged.base_epoch,
        changes: staged.changes.clone(),
        movement: movement.unwrap_or_default(),
    }
}

fn changed_records(
    view: &View,
    page: &Page,
    changes: &[NodeChange],
) -> Result<BTreeMap<NodeId, MemberRecord>, AdminError> {
    if changes.is_empty() {
        return Err(AdminError::BadPlan("it has no change".to_owned()));
    }
    let mut records: BTreeMap<NodeId, MemberRecord> =
        page.members.iter().map(|(node, (record, _))| (*node, record.clone())).collect();
    let mut seen = BTreeSet::new();
    for change in changes {
        let node = NodeId(change.node);
        if !seen.insert(node) {
            return Err(AdminError::BadPlan(format!("node {node} is named twice")));
        }
        let Some(record) = records.get_mut(&node) else {
            let known = view.members.keys().copied().collect();
            return Err(AdminError::UnknownNode { received: node.to_string(), known });
        };
        record.intent = intent(change.change);
    }
    Ok(records)
}

/// Everyone who is up, as their sessions would say it.
fn registered(view: &View) -> BTreeMap<NodeId, Registration> {
    let up = view.members.iter().filter(|(_, member)| member.is_up());
    let registration = |member: &view::Member| Registration {
        incarnation: member.incarnation,
        http: member.http.clone(),
        grpc: member.grpc.clone(),
    };
    up.map(|(node, member)| (*node, registration(member))).collect()
}

/// Do the changes take every node of the ring away and bring none?
fn leaves_nobody(view: &View, changes: &[NodeChange]) -> bool {
    let gone = |node: NodeId| {
        changes.iter().any(|change| change.node == node.0 && change.change != Change::Undrain)
    };
    view.ring.nodes().all(gone) && changes.iter().all(|change| change.change != Change::Undrain)
}

fn movement(before: &View, after: &View) -> Movement {
    let (old, new) = (&before.ring, &after.ring);
    let copies = after.copies();
    let counted = plan::movement(old, new, copies);
    let points = new.len() as u64;
    let arcs = (points * copies as u64).max(1);
    Movement {
        points,
        points_changed: counted.points_changed as u64,
        arcs_moved: counted.replica_arcs_moved as u64,
        arcs_moved_min: counted.lower_bound as u64,
        percent_moved: counted.replica_arcs_moved as f64 * 100.0 / arcs as f64,
        shares_after: shares::percent(new)
            .into_iter()
            .map(|(node, share)| (node.0, share))
            .collect(),
    }
}

fn notes(before: &View, after: &View, changes: &[NodeChange]) -> Vec<String> {
    let mut notes = Vec::new();
    for change in changes {
        let node = NodeId(change.node);
        let is_up = before.is_up(node);
        match change.change {
            Change::Undrain if !is_up => {
                notes.push(format!(
                    "node {node} is down: it comes back into the ring once it is up"
                ));
            }
            Change::Drain if is_up => notes.push(format!(
                "node {node} keeps serving until its copies are elsewhere; stop it only then"
            )),
            Change::Remove if is_up => {
                notes.push(format!("the others do not talk to node {node} any more: stop it"));
            }
            Change::Drain | Change::Remove | Change::Undrain => {}
        }
    }
    if after.copies() < before.copies() {
        notes.push(format!(
            "{} node(s) are left in the ring: each blob will have {} copies and not {}",
            after.ring.nodes().count(),
            after.copies(),
            before.copies()
        ));
    }
    if is_moving(before) {
        notes.push("copies still move for an earlier change of the ring".to_owned());
    }
    notes
}

#[cfg(test)]
mod tests;
