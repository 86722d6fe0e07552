//! Looking again and again, until something is so.
//!
//! On a terminal the page is drawn over the one before; elsewhere a line is written whenever
//! something has changed, so that a log shows the course and not one line a second. A node that does
//! not answer for a while is waited for: whoever watches a rolling restart watches exactly that.

use std::{io::IsTerminal as _, time::Duration};

use atoll_core::admin::{Change, Health, NodeChange, NodeState, Status};
use tokio::time::{Instant, sleep};

use crate::{
    admin::Answer,
    cli::Output,
    ctl::Tool,
    human, print,
    problem::Problem,
    render::{self, progress},
};

/// How long the node that is asked may be away before watching ends.
const AWAY_MAX: Duration = Duration::from_secs(60);

/// Pause between two looks while a change is waited for.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Puts the cursor to the top and clears what is below.
const CLEAR: &str = "\x1b[H\x1b[J";

/// Clears the line that the cursor is on.
const LINE: &str = "\r\x1b[K";

/// Least time between two lines of progress in a log.
const SAY_INTERVAL: Duration = Duration::from_secs(5);

/// Shows the status until the process is ended.
pub async fn status(tool: &Tool, interval: Duration) -> Result<(), Problem> {
    let terminal = std::io::stdout().is_terminal();
    loop {
        let answer = patiently(tool).await?;
        match tool.output {
            // One document a line, so that a reader can take them apart.
            Output::Json => print(&format!("{}\n", answer.json))?,
            Output::Table if terminal => {
                print(&format!("{CLEAR}{}", render::status::text(&answer.value)))?;
            }
            Output::Table => print(&format!("{}\n", render::status::text(&answer.value)))?,
        }
        sleep(interval).await;
    }
}

/// Waits until the cluster is well and nothing moves.
pub async fn until_well(tool: &Tool, interval: Duration, limit: Duration) -> Result<(), Problem> {
    let begun = Instant::now();
    loop {
        let status = patiently(tool).await?.value;
        if status.health == Health::Ok {
            return Ok(());
        }
        if begun.elapsed() >= limit {
            let worst = status.problems.first().map_or("", |problem| problem.message.as_str());
            return Err(Problem::Failed(format!(
                "the cluster is {} after {limit:?}: {worst}",
                status.health
            )));
        }
        sleep(interval).await;
    }
}

/// Shows progress until every one of `changes` has been carried out.
pub async fn until_moved(tool: &Tool, changes: &[NodeChange]) -> Result<(), Problem> {
    let terminal = std::io::stdout().is_terminal();
    let (mut said, mut said_at) = (String::new(), Instant::now());
    loop {
        let answer = patiently(tool).await?;
        let left: Vec<String> =
            changes.iter().filter_map(|change| unfinished(change, &answer.value)).collect();
        let line = if left.is_empty() { "done".to_owned() } else { course(&answer.value, &left) };
        let is_due =
            terminal || left.is_empty() || said.is_empty() || said_at.elapsed() >= SAY_INTERVAL;
        if line != said && is_due {
            match tool.output {
                Output::Table if terminal => print(&format!("{LINE}{line}"))?,
                Output::Table => print(&format!("{line}\n"))?,
                Output::Json => print(&format!("{}\n", answer.json))?,
            }
            (said, said_at) = (line, Instant::now());
        }
        if left.is_empty() {
            return if terminal && tool.output == Output::Table { print("\n") } else { Ok(()) };
        }
        sleep(LOOK_INTERVAL).await;
    }
}

/// What is still to come of a change; `None` when it has been carried out.
fn unfinished(change: &NodeChange, status: &Status) -> Option<String> {
    let node = status.nodes.iter().find(|node| node.id == change.node);
    let moving = status.open.iter().any(|open| open.ring_differs);
    let id = change.node;
    match (change.change, node) {
        (Change::Remove, None) => None,
        (Change::Remove, Some(_)) => Some(format!("node {id} leaves")),
        (Change::Drain, Some(node)) if !node.safe_to_stop => Some(format!("node {id} drains")),
        (Change::Undrain, Some(node))
            if !node.in_ring || moving || node.state == NodeState::Joining =>
        {
            Some(format!("node {id} fetches its copies"))
        }
        (Change::Drain | Change::Undrain, _) => None,
    }
}

/// How far it is, in one line.
fn course(status: &Status, left: &[String]) -> String {
    let line = format!("epoch {}: {}", status.epoch, left.join(", "));
    let work = progress::together(status);
    if work.blobs_total == 0 { line } else { format!("{line}; {}", progress::fetched(&work)) }
}

/// A status, even when the node that is asked is away for a while.
async fn patiently(tool: &Tool) -> Result<Answer<Status>, Problem> {
    let begun = Instant::now();
    let mut said = false;
    loop {
        match tool.admin.get::<Status>("/v1/status").await {
            Err(Problem::Unreachable(_)) if begun.elapsed() < AWAY_MAX => {
                if !said {
                    let limit = human::seconds(AWAY_MAX.as_secs());
                    eprintln!("the node does not answer; waiting up to {limit} for it");
                    said = true;
                }
                sleep(LOOK_INTERVAL).await;
            }
            answered => return answered,
        }
    }
}

#[cfg(test)]
mod tests {
    use atoll_core::admin::{NodeStatus, OpenConfiguration};

    use super::*;

    fn status(node: NodeStatus) -> Status {
        Status { epoch: 4, nodes: vec![node], ..Status::default() }
    }

    #[test]
    fn a_change_ends_when_its_node_is_where_it_should_be() {
        let node = NodeStatus { id: 3, in_ring: true, ..NodeStatus::default() };
        let asked = |change| NodeChange { node: 3, change };
        let drained = NodeStatus { safe_to_stop: true, ..node.clone() };
        assert!(unfinished(&asked(Change::Drain), &status(node.clone())).is_some());
        assert!(unfinished(&asked(Change::Drain), &status(drained.clone())).is_none());
        assert!(unfinished(&asked(Change::Remove), &status(drained)).is_some());
        assert!(unfinished(&asked(Change::Remove), &Status::default()).is_none());

        let mut back = status(node);
        assert!(unfinished(&asked(Change::Undrain), &back).is_none());
        back.open.push(OpenConfiguration { ring_differs: true, ..OpenConfiguration::default() });
        let left = unfinished(&asked(Change::Undrain), &back).expect("copies still move");
        assert_eq!(course(&back, &[left]), "epoch 4: node 3 fetches its copies");
    }
}
