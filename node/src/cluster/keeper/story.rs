//! What changed from one view to the next, in a line that an operator reads.

use std::collections::BTreeSet;

use atoll_core::view::{MemberState, NodeId, View};

/// The changes, such as `node 3 down; ring 1,2,4`.
pub fn tell(before: &View, after: &View) -> String {
    let mut told: Vec<String> = Vec::new();
    for (node, member) in &after.members {
        match before.members.get(node) {
            None => {
                told.push(format!("node {node} ({}) enters, {}", member.name, word(member.state)))
            }
            Some(was) => {
                if was.state != member.state {
                    told.push(format!("node {node} {}", word(member.state)));
                }
                // A founder's first view is older than its first registration.
                if was.incarnation != member.incarnation && was.incarnation > 0 {
                    told.push(format!("node {node} restarted (start {})", member.incarnation));
                }
                if (&was.http, &was.grpc) != (&member.http, &member.grpc) {
                    told.push(format!("node {node} moved to {}", member.grpc));
                }
                if (&was.zone, was.weight) != (&member.zone, member.weight) {
                    told.push(format!(
                        "node {node} weight {} zone `{}`",
                        member.weight, member.zone
                    ));
                }
            }
        }
    }
    for node in before.members.keys().filter(|node| !after.members.contains_key(node)) {
        told.push(format!("node {node} leaves"));
    }
    if before.ring != after.ring {
        let nodes = |view: &View| view.ring.nodes().collect::<BTreeSet<_>>();
        if nodes(before) == nodes(after) {
            told.push("points of the ring move".to_owned());
        } else {
            told.push(format!("ring {}", list(&nodes(after))));
        }
    }
    match (before.open.len(), after.open.len()) {
        (before, 0) if before > 0 => told.push("all synchronised".to_owned()),
        (before, after) if after > before => {
            told.push(format!("{after} earlier configuration(s) open"));
        }
        _ => {}
    }
    if told.is_empty() { "nothing that shows".to_owned() } else { told.join("; ") }
}

fn word(state: MemberState) -> &'static str {
    match state {
        MemberState::Joining => "joining",
        MemberState::Up => "up",
        MemberState::Down => "down",
        MemberState::Draining => "draining",
    }
}

fn list(nodes: &BTreeSet<NodeId>) -> String {
    let nodes: Vec<_> = nodes.iter().map(NodeId::to_string).collect();
    nodes.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::tests::view_of;

    #[test]
    fn a_change_is_told_in_one_line() {
        let before = view_of(3);
        let mut after = view_of(4);
        after.members.remove(&NodeId(1));
        let two = after.members.get_mut(&NodeId(2)).unwrap();
        (two.state, two.incarnation) = (MemberState::Down, 7);
        assert_eq!(
            tell(&before, &after),
            "node 2 down; node 2 restarted (start 7); node 4 (node-4) enters, up; node 1 leaves; \
             ring 1,2,3,4"
        );
        assert_eq!(tell(&before, &before), "nothing that shows");
    }
}
