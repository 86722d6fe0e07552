//! One word for the whole cluster, and the sentences behind it.
//!
//! The judgement is a pure function of the facts in a status, so that every node and every tool
//! judges alike, and a test can put each failure before it. A problem says what is so and what to do;
//! it does not guess at causes.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::status::{NodeState, NodeStatus, Status};

/// Free room of a device in percent below which an operator should act: some way before the node
/// stops taking copies by itself.
const DISK_FREE_PERCENT_LOW: u64 = 15;

/// How the cluster does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// Everything is as it should be. A problem of this kind is a note: worth knowing, and no reason
    /// to wait or to hurry.
    Ok,
    /// Something is under way and ends by itself: copies move, a node takes up a view.
    Working,
    /// Everything is served, with less in reserve than there should be.
    Degraded,
    /// Something is not served.
    Critical,
    /// A word that this version does not know.
    #[default]
    #[serde(other)]
    Unknown,
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Health::Ok => "ok",
            Health::Working => "working",
            Health::Degraded => "degraded",
            Health::Critical => "critical",
            Health::Unknown => "unknown",
        })
    }
}

/// Something that is not as it should be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Problem {
    /// How bad it is.
    pub health: Health,
    /// What kind, for programs.
    pub code: String,
    /// What is so, and what to do.
    pub message: String,
}

impl Status {
    /// Judges the facts: fills in `problems`, the worst first, and `health`.
    pub fn judge(&mut self) {
        let mut found = Vec::new();
        self.judge_coordination(&mut found);
        self.judge_nodes(&mut found);
        self.judge_copies(&mut found);
        // Stable: problems of one kind stay in the order of their nodes.
        found.sort_by_key(|problem: &Problem| std::cmp::Reverse(problem.health));
        self.health = found.first().map_or(Health::Ok, |worst| worst.health);
        self.problems = found;
    }

    /// Adds a problem that is none of the facts here.
    pub fn add_problem(&mut self, code: &str, message: String) {
        self.problems.push(problem(Health::Degraded, code, message));
        self.problems.sort_by_key(|problem| std::cmp::Reverse(problem.health));
        self.health = self.health.max(Health::Degraded);
    }

    fn judge_coordination(&self, found: &mut Vec<Problem>) {
        if self.coordination.leader.is_none() {
            found.push(problem(
                Health::Critical,
                "no_leader",
                "the coordination group has no leader: nodes cannot join or be declared down, and \
                 tags cannot be written; bring back a majority of its voters"
                    .to_owned(),
            ));
        }
        let down = self.voters_down();
        if !down.is_empty() && self.coordination.leader.is_some() {
            found.push(problem(
                Health::Degraded,
                "voter_down",
                format!("voters of the coordination group are down: {}", listed(&down)),
            ));
        }
    }

    fn voters_down(&self) -> Vec<u16> {
        let is_down = |node: &&NodeStatus| node.voter && node.state == NodeState::Down;
        self.nodes.iter().filter(is_down).map(|node| node.id).collect()
    }

    fn judge_nodes(&self, found: &mut Vec<Problem>) {
        for node in &self.nodes {
            judge_node(node, self.epoch, found);
        }
        let in_ring: Vec<_> = self.nodes.iter().filter(|node| node.in_ring).collect();
        let down = in_ring.iter().filter(|node| node.state == NodeState::Down).count();
        if in_ring.len() < usize::from(self.replicas) {
            found.push(problem(
                Health::Degraded,
                "few_nodes",
                format!(
                    "{} node(s) hold copies and {} copies are wanted: add nodes",
                    in_ring.len(),
                    self.replicas
                ),
            ));
        }
        if down > 0 && down as u64 > (in_ring.len() as u64).saturating_sub(self.write_quorum) {
            found.push(problem(
                Health::Critical,
                "no_quorum",
                format!("{down} nodes that hold copies are down: some pushes are refused"),
            ));
        }
    }

    fn judge_copies(&self, found: &mut Vec<Problem>) {
        let reports = self.nodes.iter().filter_map(|node| node.report.as_ref());
        let lacking: u64 = reports.map(|report| report.repair.under_replicated).sum();
        if lacking > 0 {
            found.push(problem(
                Health::Degraded,
                "under_replicated",
                format!("{lacking} blob(s) lack a copy; repair is under way by itself"),
            ));
        }
        if let Some(open) = self.open.iter().find(|open| open.ring_differs) {
            let waiting = match open.waiting_for.as_slice() {
                [] => "the next view will drop the old ring".to_owned(),
                nodes => format!("waiting for {}", listed(nodes)),
            };
            let message = format!("copies are moving to the present ring; {waiting}");
            found.push(problem(Health::Working, "moving", message));
        }
        if let Some(plan) = &self.plan {
            let changes = plan.changes.len();
            let message =
                format!("a plan with {changes} change(s) is staged: commit or discard it");
            found.push(problem(Health::Ok, "plan_staged", message));
        }
    }
}

fn judge_node(node: &NodeStatus, epoch: u64, found: &mut Vec<Problem>) {
    let id = node.id;
    if node.state == NodeState::Down {
        let message = if node.in_ring {
            format!("node {id} is down: start it, or `replace` or `remove` it")
        } else {
            format!("node {id} is down and holds nothing any more: start it, or `remove` it")
        };
        let health = if node.in_ring { Health::Degraded } else { Health::Ok };
        found.push(problem(health, "node_down", message));
        return;
    }
    let Some(report) = &node.report else {
        if let Some(why) = &node.unreachable {
            let message = format!("node {id} is up and did not answer: {why}");
            found.push(problem(Health::Degraded, "node_silent", message));
        }
        return;
    };
    if !report.lease_valid {
        let message = format!(
            "node {id} has lost its session: it acknowledges nothing and denies nothing until it \
             reaches the coordination group again"
        );
        found.push(problem(Health::Degraded, "fenced", message));
    }
    if report.epoch < epoch {
        let message = format!("node {id} is at epoch {} and not at {epoch}", report.epoch);
        found.push(problem(Health::Working, "behind", message));
    }
    let disk = &report.disk;
    if disk.full {
        let message = format!(
            "the disk of node {id} is full: its copies go to other nodes; free space or add nodes"
        );
        found.push(problem(Health::Degraded, "disk_full", message));
    } else if disk.available_bytes < disk.total_bytes / 100 * DISK_FREE_PERCENT_LOW {
        let message = format!("the disk of node {id} is nearly full: free space or add nodes");
        found.push(problem(Health::Ok, "disk_low", message));
    }
    if report.scrub.damaged > 0 {
        let message =
            format!("node {id} found {} damaged copies: look at its disk", report.scrub.damaged);
        found.push(problem(Health::Degraded, "damage", message));
    }
}

fn problem(health: Health, code: &str, message: String) -> Problem {
    Problem { health, code: code.to_owned(), message }
}

fn listed(nodes: &[u16]) -> String {
    let nodes: Vec<String> = nodes.iter().map(|node| format!("node {node}")).collect();
    nodes.join(", ")
}

#[cfg(test)]
mod tests;
