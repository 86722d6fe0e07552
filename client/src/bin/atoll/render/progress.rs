//! Copies that move: how far each node is, in one line.

use atoll_core::admin::{Status, Synchronisation};

use super::nodes;
use crate::human;

/// One line for the movement as a whole and one for each node that works.
pub fn lines(status: &Status) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(open) = status.open.iter().find(|open| open.ring_differs) {
        let epoch = open.since_epoch;
        lines.push(match open.waiting_for.as_slice() {
            [] => format!("moving copies from the ring of epoch {epoch}: about to be finalised"),
            waiting => {
                format!(
                    "moving copies from the ring of epoch {epoch}: waiting for {}",
                    nodes(waiting)
                )
            }
        });
    }
    for node in &status.nodes {
        if let Some(report) = &node.report
            && report.synchronisation.active
        {
            lines.push(format!("  node {}: {}", node.id, fetched(&report.synchronisation)));
        }
    }
    lines
}

/// `12 of 40 blobs, 1.2 GiB of 3.4 GiB, 1 of 3 nodes compared, 2m 5s left`.
pub fn fetched(work: &Synchronisation) -> String {
    let eta = match work.eta_seconds {
        Some(eta) => format!("{} left", human::seconds(eta)),
        None => "time left not known yet".to_owned(),
    };
    format!(
        "{} of {} blobs, {} of {}, {} of {} nodes compared, {eta}",
        human::count(work.blobs_done),
        human::count(work.blobs_total),
        human::bytes(work.bytes_done),
        human::bytes(work.bytes_total),
        work.sources_done,
        work.sources_total
    )
}
