//! Who has how much of the ring.

use std::collections::BTreeMap;

use atoll_core::{
    admin::{NodeShare, Shares, StagedPlan},
    ring::{Points, Position, Ring},
    view::{MemberState, NodeId, View},
};

/// The part of the circle for which each node is the first owner, in percent.
pub fn percent(ring: &Ring) -> BTreeMap<NodeId, f64> {
    let mut shares: BTreeMap<NodeId, f64> = ring.nodes().map(|node| (node, 0.0)).collect();
    match ring.points() {
        Points::Assigned { owners } => {
            for owner in owners {
                *shares.entry(*owner).or_default() += 100.0 / owners.len() as f64;
            }
        }
        Points::Paper { identities } => {
            let mut before = identities.last().map_or(0.0, |(place, _)| fraction(place) - 1.0);
            for (place, node) in identities {
                let here = fraction(place);
                *shares.entry(*node).or_default() += (here - before) * 100.0;
                before = here;
            }
        }
    }
    shares
}

/// A place as a part of the circle. Eight bytes are more than a float holds.
fn fraction(place: &Position) -> f64 {
    let mut head = [0; 8];
    head.copy_from_slice(&place[..8]);
    u64::from_be_bytes(head) as f64 / 2f64.powi(64)
}

/// The whole answer.
pub fn of(view: &View, plan: Option<StagedPlan>) -> Shares {
    let ring = &view.ring;
    let percents = percent(ring);
    let points = points(ring);
    let belongs = |node: &NodeId| {
        let joining = |member: &atoll_core::view::Member| member.state == MemberState::Joining;
        percents.contains_key(node) || view.members.get(node).is_some_and(joining)
    };
    let weights: u64 = view
        .members
        .iter()
        .filter(|(node, _)| percents.contains_key(node))
        .map(|(_, m)| u64::from(m.weight))
        .sum();
    let nodes: Vec<NodeShare> = view
        .members
        .iter()
        .filter(|(node, _)| belongs(node))
        .map(|(node, member)| NodeShare {
            id: node.0,
            name: member.name.clone(),
            zone: member.zone.clone(),
            weight: member.weight,
            points: points.get(node).copied().unwrap_or_default(),
            percent: percents.get(node).copied().unwrap_or_default(),
            target_percent: if percents.contains_key(node) {
                f64::from(member.weight) * 100.0 / weights.max(1) as f64
            } else {
                0.0
            },
        })
        .collect();
    let over = |node: &NodeShare| node.percent / node.target_percent;
    let entitled = nodes.iter().filter(|node| node.target_percent > 0.0);
    Shares {
        epoch: view.epoch.0,
        mode: mode(ring).to_owned(),
        points: ring.len() as u64,
        replicas: view.replicas,
        imbalance: entitled.map(over).fold(0.0, f64::max),
        nodes,
        plan,
    }
}

fn mode(ring: &Ring) -> &'static str {
    match ring.points() {
        Points::Assigned { .. } => "assigned",
        Points::Paper { .. } => "paper",
    }
}

fn points(ring: &Ring) -> BTreeMap<NodeId, u64> {
    let mut counts = BTreeMap::new();
    for point in 0..ring.len() {
        *counts.entry(ring.owner(point)).or_default() += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_of_hashed_identities_follow_the_circle() {
        let at = |first: u8, node: u16| {
            let mut place = [0; 32];
            place[0] = first;
            (place, NodeId(node))
        };
        // Node 1 owns (0xC0 … 0x40], half the circle, over its end; node 2 the other half.
        let identities = vec![at(0x40, 1), at(0xC0, 2)];
        let zones = [(NodeId(1), String::new()), (NodeId(2), String::new())].into();
        let shares = percent(&Ring::new(Points::Paper { identities }, zones));
        assert_eq!(shares, [(NodeId(1), 50.0), (NodeId(2), 50.0)].into());
    }
}
