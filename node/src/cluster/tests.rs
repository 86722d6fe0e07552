//! What the tests of this folder share.

use atoll_core::{
    ring::{NodeId, Points, Ring},
    view::{Epoch, Member, MemberState, RingMode, View},
};

/// A view of nodes 1 to `nodes`, all up, the points dealt out in turn.
pub(crate) fn view_of(nodes: u16) -> View {
    let ids: Vec<NodeId> = (1..=nodes).map(NodeId).collect();
    let member = |id: &NodeId| Member {
        name: format!("node-{id}"),
        incarnation: 1,
        http: format!("10.0.0.{id}:5000"),
        grpc: format!("10.0.0.{id}:5001"),
        zone: String::new(),
        weight: 100,
        state: MemberState::Up,
    };
    let owners = ids.iter().cycle().take(16).copied().collect();
    let zones = ids.iter().map(|id| (*id, String::new())).collect();
    View {
        cluster_id: "test".to_owned(),
        epoch: Epoch(1),
        since: Epoch(1),
        replicas: 3,
        mode: RingMode::Assigned { points: 16 },
        members: ids.iter().map(|id| (*id, member(id))).collect(),
        ring: Ring::new(Points::Assigned { owners }, zones).into(),
        open: Vec::new(),
        next_node: NodeId(nodes + 1),
    }
}
