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

/// `12 of 40 blobs, 1.2 GiB of 3.4 GiB, 2m 5s left`, or that it only looks.
pub fn fetched(work: &Synchronisation) -> String {
    if work.blobs_total == 0 {
        return format!("has compared with {} of {} nodes", work.sources_done, work.sources_total);
    }
    let eta = match work.eta_seconds {
        Some(eta) => format!("{} left", human::seconds(eta)),
        None => "time left not known yet".to_owned(),
    };
    format!(
        "{} of {} blobs, {} of {}, {eta}",
        human::count(work.blobs_done),
        human::count(work.blobs_total),
        human::bytes(work.bytes_done),
        human::bytes(work.bytes_total)
    )
}

/// What all nodes together fetch; the time left is that of the slowest.
pub fn together(status: &Status) -> Synchronisation {
    let reports = status.nodes.iter().filter_map(|node| node.report.as_ref());
    let active = reports.map(|report| &report.synchronisation).filter(|work| work.active);
    active.fold(Synchronisation::default(), |sum, work| Synchronisation {
        active: true,
        synced_epoch: 0,
        sources_done: sum.sources_done + work.sources_done,
        sources_total: sum.sources_total + work.sources_total,
        blobs_done: sum.blobs_done + work.blobs_done,
        blobs_total: sum.blobs_total + work.blobs_total,
        bytes_done: sum.bytes_done + work.bytes_done,
        bytes_total: sum.bytes_total + work.bytes_total,
        eta_seconds: sum.eta_seconds.max(work.eta_seconds),
    })
}
