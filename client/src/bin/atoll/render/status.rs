//! `atoll ctl status`.

use std::fmt::Write as _;

use atoll_core::admin::{Collection, Health, NodeStatus, Status};

use super::{NOTHING, nodes, progress};
use crate::{
    human,
    table::{
        Column::{Left, Right},
        Table,
    },
};

/// The whole page.
pub fn text(status: &Status) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = writeln!(
        text,
        "cluster {}  epoch {}  {}  (as node {} sees it)",
        status.cluster_id, status.epoch, status.health, status.node
    );
    let coordination = &status.coordination;
    let leader = coordination.leader.map_or("none".to_owned(), |leader| format!("node {leader}"));
    let _ = writeln!(
        text,
        "leader {leader}, term {}, voters {}; {} copies, {} before a push is acknowledged",
        coordination.term,
        nodes(&coordination.voters),
        status.replicas,
        status.write_quorum
    );
    for problem in &status.problems {
        let word = match problem.health {
            Health::Ok => "note".to_owned(),
            health => health.to_string(),
        };
        let _ = writeln!(text, "{word}: {}", problem.message);
    }
    text.push('\n');
    text.push_str(&members(status));
    let mut below = progress::lines(status);
    below.extend(status.collection.as_ref().map(collected));
    for (at, line) in below.iter().enumerate() {
        let gap = if at == 0 { "\n" } else { "" };
        let _ = writeln!(text, "{gap}{line}");
    }
    text
}

fn members(status: &Status) -> String {
    let mut table = Table::new(&[
        Right("ID"),
        Left("NAME"),
        Left("STATE"),
        Left("ROLE"),
        Left("HTTP"),
        Left("ZONE"),
        Right("SHARE"),
        Right("BLOBS"),
        Right("DISK FREE"),
        Right("EPOCH"),
        Left("NOTES"),
    ]);
    for node in &status.nodes {
        let report = node.report.as_ref();
        let share =
            if node.in_ring { format!("{:.1} %", node.share_percent) } else { NOTHING.into() };
        let of_report = |text: Option<String>| text.unwrap_or_else(|| NOTHING.to_owned());
        table.row([
            node.id.to_string(),
            node.name.clone(),
            node.state.to_string(),
            role(node).to_owned(),
            node.http.clone(),
            if node.zone.is_empty() { NOTHING.to_owned() } else { node.zone.clone() },
            share,
            of_report(report.and_then(|report| report.blobs).map(human::count)),
            of_report(report.map(|report| {
                let disk = &report.disk;
                let part = human::part(disk.available_bytes, disk.total_bytes);
                format!("{} ({part})", human::bytes(disk.available_bytes))
            })),
            of_report(report.map(|report| report.epoch.to_string())),
            remarks(node).join(", "),
        ]);
    }
    table.text()
}

fn role(node: &NodeStatus) -> &'static str {
    match (node.leader, node.voter) {
        (true, _) => "leader",
        (false, true) => "voter",
        (false, false) => "learner",
    }
}

fn remarks(node: &NodeStatus) -> Vec<String> {
    let mut remarks = Vec::new();
    if node.safe_to_stop {
        remarks.push("safe to stop".to_owned());
    }
    if node.suspected {
        remarks.push("suspected".to_owned());
    }
    if let Some(why) = &node.unreachable {
        remarks.push(why.clone());
    }
    if let Some(report) = &node.report {
        if !report.lease_valid {
            remarks.push("fenced".to_owned());
        }
        if report.disk.full {
            remarks.push("disk full".to_owned());
        }
        if report.repair.under_replicated > 0 {
            let lacking = human::count(report.repair.under_replicated);
            remarks.push(format!("{lacking} under-replicated"));
        }
    }
    remarks
}

fn collected(collection: &Collection) -> String {
    if !collection.enabled {
        return "garbage collection is switched off".to_owned();
    }
    format!(
        "garbage collection: {} passes, {} blobs condemned, {} copies deleted, {} freed",
        human::count(collection.passes),
        human::count(collection.condemned),
        human::count(collection.copies),
        human::bytes(collection.bytes)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_that_drains_while_a_node_is_down() {
        let status = serde_json::from_str(include_str!("../../../../tests/admin/status.json"));
        let expected = include_str!("../../../../tests/admin/status.txt");
        assert_eq!(text(&status.unwrap()), expected);
    }

    #[test]
    fn an_empty_answer_is_still_a_page() {
        assert!(text(&Status::default()).contains("leader none"));
    }
}
