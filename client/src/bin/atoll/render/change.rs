//! Answers to commands that change something.

use std::fmt::Write as _;

use atoll_core::admin::{ChangeAnswer, Collected, JoinToken, Movement, NodeChange, StagedPlan};

use super::notes;
use crate::human;

/// What a change does, and whether it was only shown.
pub fn text(answer: &ChangeAnswer) -> String {
    let state = match (answer.committed, answer.staged) {
        (true, _) => "committed",
        (false, true) => "staged",
        (false, false) => "shown only",
    };
    let mut text = format!("{state}: {}\n", changes(&answer.changes));
    text.push_str(&movement(&answer.movement));
    text.push_str(&notes(&answer.notes));
    if answer.staged {
        text.push_str(
            "`atoll ctl plan commit` carries it out, `atoll ctl plan discard` does not\n",
        );
    }
    text
}

/// The staged plan, if there is one.
pub fn plan(plan: &Option<StagedPlan>) -> String {
    let Some(plan) = plan else { return "no plan is staged\n".to_owned() };
    let mut text = format!("staged at epoch {}: {}\n", plan.base_epoch, changes(&plan.changes));
    text.push_str(&movement(&plan.movement));
    text
}

fn changes(changes: &[NodeChange]) -> String {
    let changes: Vec<String> =
        changes.iter().map(|change| format!("{} node {}", change.change, change.node)).collect();
    changes.join(", ")
}

fn movement(movement: &Movement) -> String {
    if movement.arcs_moved == 0 {
        return "no copies move\n".to_owned();
    }
    let mut text = format!(
        "{:.1} % of all copies move ({} arcs; the least possible is {})\n",
        movement.percent_moved,
        human::count(movement.arcs_moved),
        human::count(movement.arcs_moved_min)
    );
    let shares: Vec<String> = movement
        .shares_after
        .iter()
        .map(|(node, share)| format!("node {node} {share:.1} %"))
        .collect();
    let _ = writeln!(text, "shares afterwards: {}", shares.join(", "));
    text
}

/// What garbage collection would take, or that it has begun.
pub fn collection(answer: &Collected) -> String {
    if answer.started {
        return "collection has begun; `atoll ctl status` tells what it has freed\n".to_owned();
    }
    format!(
        "{} blobs would be collected, {}: {} copies, {}\n",
        human::count(answer.blobs),
        human::bytes(answer.bytes),
        human::count(answer.copies),
        human::bytes(answer.copies_bytes)
    )
}

/// The token, and what to do with it.
pub fn token(token: &JoinToken) -> String {
    format!(
        "{}\n\nIt works once, within {}. On the new machine:\n  atolld serve --config FILE --join {} \
         --token TOKEN\n",
        token.token,
        human::seconds(token.ttl_seconds),
        token.join
    )
}

/// Who compares its copies now.
pub fn repair(answer: &serde_json::Value) -> String {
    let list = |key: &str| {
        let nodes = answer.get(key).and_then(serde_json::Value::as_array);
        let nodes = nodes.into_iter().flatten().filter_map(serde_json::Value::as_u64);
        nodes.map(|node| node.to_string()).collect::<Vec<_>>().join(", ")
    };
    let mut text = format!("repair has begun at nodes {}\n", list("started"));
    let silent = list("silent");
    if !silent.is_empty() {
        let _ = writeln!(text, "note: nodes {silent} did not answer");
    }
    text
}

#[cfg(test)]
mod tests {
    use atoll_core::admin::Change;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_change_says_what_moves() {
        let answer = ChangeAnswer {
            committed: true,
            changes: vec![NodeChange { node: 3, change: Change::Drain }],
            movement: Movement {
                points: 65_536,
                points_changed: 16_384,
                arcs_moved: 49_152,
                arcs_moved_min: 49_000,
                percent_moved: 25.0,
                shares_after: vec![(1, 33.4), (2, 33.3)],
            },
            notes: vec!["2 nodes are left for 3 copies".into()],
            ..ChangeAnswer::default()
        };
        assert_eq!(
            text(&answer),
            "committed: drain node 3\n\
             25.0 % of all copies move (49,152 arcs; the least possible is 49,000)\n\
             shares afterwards: node 1 33.4 %, node 2 33.3 %\n\
             note: 2 nodes are left for 3 copies\n"
        );
        let shown = ChangeAnswer { changes: answer.changes, ..ChangeAnswer::default() };
        assert_eq!(text(&shown), "shown only: drain node 3\nno copies move\n");
        assert_eq!(plan(&None), "no plan is staged\n");
    }

    #[test]
    fn short_answers_are_sentences() {
        let looked = Collected {
            blobs: 7,
            bytes: 2048,
            copies: 21,
            copies_bytes: 6144,
            ..Collected::default()
        };
        assert_eq!(
            collection(&looked),
            "7 blobs would be collected, 2.0 KiB: 21 copies, 6.0 KiB\n"
        );
        assert!(collection(&Collected { started: true, ..looked }).contains("has begun"));
        let answer = json!({"started": [1, 3], "silent": [2]});
        assert_eq!(
            repair(&answer),
            "repair has begun at nodes 1, 3\nnote: nodes 2 did not answer\n"
        );
    }
}
