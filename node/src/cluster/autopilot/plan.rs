//! Which nodes belong to a Raft group, and which of them vote: one change at a time, as pure code.
//!
//! Every node is at least a learner of every group, so that each has the state at hand. Voters are
//! few: one while there are one or two nodes (a second voter would only add a second way to stop),
//! three up to four nodes, five beyond. More would slow every commit and survive nothing likely.

use std::collections::{BTreeMap, BTreeSet};

use atoll_core::view::{MemberState, NodeId, View};

/// A group as its leader sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupMembers {
    /// Who votes.
    pub voters: BTreeSet<NodeId>,
    /// Everyone in it, with the address it is reached at.
    pub addresses: BTreeMap<NodeId, String>,
}

/// The next thing to do about a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Take a node in as a learner.
    Add(NodeId, String),
    /// A member is reached elsewhere now.
    Readdress(NodeId, String),
    /// These shall vote.
    Voters(BTreeSet<NodeId>),
    /// Let a learner go.
    Remove(NodeId),
}

/// Voters of a cluster of `nodes` nodes.
fn voters_wanted(nodes: usize) -> usize {
    match nodes {
        0..=2 => 1,
        3..=4 => 3,
        _ => 5,
    }
}

/// What the plan is made from, beside the group.
#[derive(Clone, Debug)]
pub struct Situation<'a> {
    /// The newest view.
    pub view: &'a View,
    /// Everyone who belongs to the cluster with the address it is reached at, also who has just
    /// joined and is in no view yet: it must hear from the groups before it can register.
    pub nodes: &'a BTreeMap<NodeId, String>,
    /// Members that have been down for so long that another should vote in their place.
    pub absent: &'a BTreeSet<NodeId>,
    /// Members that are close behind the leader's log: only they become voters, because a voter
    /// that lags holds up every commit.
    pub ready: &'a BTreeSet<NodeId>,
}

/// The next change of group `group` whose leader is `leader`; `None` when all is as it should be.
pub fn next_change(
    group: u16,
    leader: NodeId,
    members: &GroupMembers,
    situation: &Situation<'_>,
) -> Option<Change> {
    for (node, address) in situation.nodes {
        match members.addresses.get(node) {
            None => return Some(Change::Add(*node, address.clone())),
            Some(known) if known != address && !address.is_empty() => {
                return Some(Change::Readdress(*node, address.clone()));
            }
            Some(_) => {}
        }
    }
    let voters = choose(group, leader, members, situation);
    if voters != members.voters {
        return Some(Change::Voters(voters));
    }
    let gone = members.addresses.keys().find(|node| !situation.nodes.contains_key(node));
    gone.map(|node| Change::Remove(*node))
}

fn choose(
    group: u16,
    leader: NodeId,
    members: &GroupMembers,
    situation: &Situation<'_>,
) -> BTreeSet<NodeId> {
    let view = situation.view;
    let stays = |node: &NodeId| {
        view.members.get(node).is_some_and(|member| member.state != MemberState::Draining)
    };
    let wanted = voters_wanted(view.members.keys().filter(|node| stays(node)).count());
    let present = members.voters.iter().filter(|node| stays(node));
    let mut chosen: BTreeSet<NodeId> =
        present.clone().filter(|node| !situation.absent.contains(node)).copied().collect();
    let mut candidates: BTreeSet<NodeId> = view
        .members
        .keys()
        .filter(|node| stays(node) && view.is_up(**node) && situation.ready.contains(node))
        .filter(|node| members.addresses.contains_key(node) && !chosen.contains(node))
        .copied()
        .collect();
    while chosen.len() < wanted
        && let Some(best) = best(&candidates, &chosen, group, view)
    {
        candidates.remove(&best);
        chosen.insert(best);
    }
    // Who is absent keeps its vote until somebody can take it.
    let missing = wanted.saturating_sub(chosen.len());
    chosen.extend(present.filter(|node| situation.absent.contains(node)).take(missing));
    // An even number of voters survives no more than one less.
    while (chosen.len() > wanted || chosen.len().is_multiple_of(2))
        && let Some(worst) = worst(&chosen, leader, view)
    {
        chosen.remove(&worst);
    }
    if chosen.is_empty() { members.voters.clone() } else { chosen }
}

/// How many of `chosen` are in the zone of `node`. No zone is a zone of its own.
fn neighbours(node: NodeId, chosen: &BTreeSet<NodeId>, view: &View) -> usize {
    let zone = |node: &NodeId| view.members.get(node).map_or("", |member| member.zone.as_str());
    let own = zone(&node);
    chosen.iter().filter(|other| **other != node && zone(other) == own).count()
}

/// The candidate in the emptiest zone; of several, groups begin at different ones, so that sixteen
/// groups do not all burden the first five nodes.
fn best(
    candidates: &BTreeSet<NodeId>,
    chosen: &BTreeSet<NodeId>,
    group: u16,
    view: &View,
) -> Option<NodeId> {
    // Group 0 has the highest number there is, and begins at the first node.
    let first = group.wrapping_add(1);
    let rank = |node: NodeId| {
        let count = u16::try_from(view.members.len()).unwrap_or(u16::MAX).max(1);
        (node.0 % count).wrapping_sub(first % count).rem_euclid(count)
    };
    candidates
        .iter()
        .copied()
        .min_by_key(|node| (neighbours(*node, chosen, view), rank(*node), *node))
}

/// The voter to give up first: one that is down, then one of a crowded zone, the leader last.
fn worst(chosen: &BTreeSet<NodeId>, leader: NodeId, view: &View) -> Option<NodeId> {
    chosen.iter().copied().max_by_key(|node| {
        (*node != leader, !view.is_up(*node), neighbours(*node, chosen, view), *node)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::tests::view_of;

    fn set(nodes: &[u16]) -> BTreeSet<NodeId> {
        nodes.iter().copied().map(NodeId).collect()
    }

    /// A group of the members of `view` with these voters.
    fn group(view: &View, voters: &[u16]) -> GroupMembers {
        let addresses =
            view.members.iter().map(|(node, member)| (*node, member.grpc.clone())).collect();
        GroupMembers { voters: set(voters), addresses }
    }

    fn change(view: &View, members: &GroupMembers, absent: &[u16]) -> Option<Change> {
        change_of(u16::MAX, view, members, absent, &view.members.keys().copied().collect())
    }

    fn change_of(
        group: u16,
        view: &View,
        members: &GroupMembers,
        absent: &[u16],
        ready: &BTreeSet<NodeId>,
    ) -> Option<Change> {
        let addresses =
            view.members.iter().map(|(node, member)| (*node, member.grpc.clone())).collect();
        let absent = set(absent);
        let situation = Situation { view, nodes: &addresses, absent: &absent, ready };
        next_change(group, *members.voters.first().unwrap(), members, &situation)
    }

    /// Applies changes until there is none; answers the voters.
    fn settle(view: &View, mut members: GroupMembers, absent: &[u16]) -> GroupMembers {
        for _ in 0..3 * view.members.len() + 10 {
            match change(view, &members, absent) {
                None => return members,
                Some(Change::Add(node, address) | Change::Readdress(node, address)) => {
                    members.addresses.insert(node, address);
                }
                Some(Change::Voters(voters)) => members.voters = voters,
                Some(Change::Remove(node)) => {
                    assert!(!members.voters.contains(&node), "a voter is not removed");
                    members.addresses.remove(&node);
                }
            }
        }
        panic!("no end of changes: {members:?}");
    }

    #[test]
    fn one_voter_for_two_nodes_three_for_four_five_beyond() {
        let alone = group(&view_of(1), &[1]);
        for (nodes, voters) in [(1, 1), (2, 1), (3, 3), (4, 3), (5, 5), (9, 5)] {
            let view = view_of(nodes);
            let settled = settle(&view, alone.clone(), &[]);
            assert_eq!(settled.voters.len(), voters, "{nodes} nodes");
            assert_eq!(settled.addresses.len(), usize::from(nodes), "all are in the group");
            assert!(settled.voters.contains(&NodeId(1)), "the leader stays");
        }
        let shrunk = settle(&view_of(2), group(&view_of(5), &[1, 2, 3, 4, 5]), &[]);
        assert_eq!((shrunk.voters, shrunk.addresses.len()), (set(&[1]), 2));
    }

    #[test]
    fn a_voter_is_replaced_only_when_it_is_absent_and_there_is_another() {
        let mut view = view_of(4);
        view.members.get_mut(&NodeId(2)).unwrap().state = MemberState::Down;
        let members = group(&view, &[1, 2, 3]);
        assert_eq!(change(&view, &members, &[]), None, "down for a moment");
        assert_eq!(change(&view, &members, &[2]), Some(Change::Voters(set(&[1, 3, 4]))));
        let mut three = view_of(3);
        three.members.get_mut(&NodeId(2)).unwrap().state = MemberState::Down;
        assert_eq!(change(&three, &group(&three, &[1, 2, 3]), &[2]), None, "nobody else is there");
    }

    #[test]
    fn a_draining_voter_gives_up_its_vote_and_a_removed_one_leaves() {
        let mut view = view_of(4);
        view.members.get_mut(&NodeId(1)).unwrap().state = MemberState::Draining;
        let members = group(&view, &[1, 2, 3]);
        assert_eq!(change(&view, &members, &[]), Some(Change::Voters(set(&[2, 3, 4]))));
        view.members.remove(&NodeId(1));
        assert_eq!(
            change(&view, &group(&view_of(4), &[2, 3, 4]), &[]),
            Some(Change::Remove(NodeId(1)))
        );
    }

    #[test]
    fn a_new_address_is_followed_and_a_laggard_does_not_vote() {
        let mut view = view_of(3);
        let members = group(&view, &[1]);
        let ready = set(&[1, 2]);
        let none = change_of(0, &view, &members, &[], &ready);
        assert_eq!(none, None, "two would be an even number, the third lags");
        view.members.get_mut(&NodeId(3)).unwrap().grpc = "10.0.0.9:1".to_owned();
        let moved = Change::Readdress(NodeId(3), "10.0.0.9:1".to_owned());
        assert_eq!(change_of(0, &view, &members, &[], &ready), Some(moved));
    }

    #[test]
    fn voters_are_spread_over_zones_and_groups_begin_at_different_nodes() {
        let mut view = view_of(6);
        for (node, zone) in [(1, "a"), (2, "a"), (3, "a"), (4, "b"), (5, "b"), (6, "c")] {
            view.members.get_mut(&NodeId(node)).unwrap().zone = zone.to_owned();
        }
        view.members.remove(&NodeId(2));
        view.members.remove(&NodeId(5));
        let settled = settle(&view, group(&view, &[1]), &[]);
        assert_eq!(settled.voters, set(&[1, 4, 6]), "one of each zone");
        let view = view_of(9);
        let of = |id: u16| {
            let ready = view.members.keys().copied().collect();
            change_of(id, &view, &group(&view, &[1]), &[], &ready)
        };
        assert_ne!(of(0), of(5));
    }
}
