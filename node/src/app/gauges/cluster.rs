//! What a node tells of its cluster, of copies elsewhere, and of its background work.

use std::sync::Arc;

use atoll_core::view::MemberState;

use crate::{
    background::status::{Phase, RepairStatus},
    cluster::Cluster,
    io::Clock,
    metadata::{COORDINATION, Metadata},
    replicate::Replicator,
    telemetry::{
        Metrics,
        metrics::{Scrape, family},
    },
};

/// Adds the view, the coordination group, and copies on other nodes to the metrics.
pub fn add_cluster(metrics: &Metrics, blobs: Replicator, metadata: Metadata) {
    metrics.add_source(move |scrape: &mut Scrape<'_>| {
        scrape_view(blobs.cluster(), scrape);
        scrape_coordination(&metadata, scrape);
        scrape_copies(&blobs, scrape);
    });
}

/// Adds repair, scrub and what they deleted to the metrics.
pub fn add_repair(metrics: &Metrics, status: Arc<RepairStatus>, clock: Arc<dyn Clock>) {
    metrics.add_source(move |scrape: &mut Scrape<'_>| {
        scrape_repair(&status, clock.as_ref(), scrape);
    });
}

fn scrape_view(cluster: &Cluster, scrape: &mut Scrape<'_>) {
    let view = cluster.view();
    let count = |state| view.members.values().filter(|it| it.state == state).count() as u64;
    scrape.labelled(
        &family::CLUSTER_MEMBERS,
        [
            ([("state", "joining")], count(MemberState::Joining)),
            ([("state", "up")], count(MemberState::Up)),
            ([("state", "down")], count(MemberState::Down)),
            ([("state", "draining")], count(MemberState::Draining)),
        ],
    );
    scrape.value(&family::CLUSTER_EPOCH, view.epoch.0);
    scrape.value(&family::CLUSTER_LEASE, u64::from(cluster.lease_is_valid()));
    scrape.value(&family::CLUSTER_SUSPECTS, cluster.suspects().len() as u64);
    scrape.value(&family::CLUSTER_OPEN, view.open.len() as u64);
}

fn scrape_coordination(metadata: &Metadata, scrape: &mut Scrape<'_>) {
    let leader = metadata.leader(COORDINATION).unwrap_or_default();
    let members = metadata.membership(COORDINATION).unwrap_or_default();
    scrape.value(&family::COORDINATION_LEADER, u64::from(leader.here));
    scrape.value(&family::COORDINATION_TERM, leader.term);
    scrape.value(&family::COORDINATION_VOTERS, members.voters.len() as u64);
}

fn scrape_copies(blobs: &Replicator, scrape: &mut Scrape<'_>) {
    let stats = blobs.stats();
    scrape.value(&family::REPLICATION_WRITES, stats.writes);
    scrape.value(&family::REPLICATION_WRITES_FAILED, stats.writes_failed);
    scrape.value(&family::STAND_INS, stats.stand_ins);
    scrape.value(&family::STALE_VIEWS, stats.stale_views);
    scrape.value(&family::COPIES_RECEIVED, stats.copies_received);
    scrape.value(&family::COPIES_REFUSED, stats.copies_refused);
    scrape.value(&family::REMOTE_READS, stats.remote_reads);
    scrape.value(&family::HEDGES, stats.hedges);
    scrape.value(&family::FAILOVERS, stats.failovers);
    scrape.value(&family::RESUMES, stats.resumes);
    scrape.value(&family::MISMATCHES, stats.mismatches);
    scrape.value(&family::FETCHES, stats.fetches);
    scrape.value(&family::FETCHES_FAILED, stats.fetches_failed);
    scrape.value(&family::READ_REPAIRS, stats.read_repairs);
    scrape.value(&family::DEBTS_PAID, stats.debts_paid);
    scrape.value(&family::HINTS, stats.hints);
    scrape.value(&family::OUTBOX, stats.outbox);
    scrape.value(&family::FENCES, stats.fenced);
}

fn scrape_repair(status: &RepairStatus, clock: &dyn Clock, scrape: &mut Scrape<'_>) {
    let (progress, stats) = (status.progress(clock.monotonic()), status.stats());
    scrape.value(&family::UNDER_REPLICATED, stats.missing);
    scrape.value(&family::SYNC_ACTIVE, u64::from(progress.phase != Phase::Idle));
    scrape.value(&family::SYNCED_EPOCH, progress.synced_epoch);
    scrape.value(&family::SYNC_BYTES_LEFT, progress.bytes.saturating_sub(progress.bytes_done));
    scrape.value(&family::REPAIR_PASSES, stats.passes);
    scrape.value(&family::REPAIR_COPIES, stats.copies_fetched);
    scrape.value(&family::REPAIR_BYTES, stats.bytes_fetched);
    scrape.value(&family::REPAIR_FAILED, stats.fetches_failed);
    scrape.value(&family::SCRUB_COPIES, stats.scrubbed);
    scrape.value(&family::SCRUB_BYTES, stats.scrubbed_bytes);
    scrape.value(&family::SCRUB_DAMAGED, stats.scrub_found_bad);
    scrape.value(&family::DISOWNED_COPIES, stats.disowned_removed);
    scrape.value(&family::DISOWNED_BYTES, stats.disowned_bytes);
}
