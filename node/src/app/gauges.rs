//! What the parts of a node tell when metrics are scraped.

mod cluster;

pub use cluster::{add_cluster, add_repair};

use crate::{
    background::gc::Gc,
    metadata::Metadata,
    telemetry::{
        Metrics,
        metrics::{Scrape, family},
    },
    tiers::Tiers,
};

/// Adds the store, the memory tier and the metadata to the metrics.
pub fn add(metrics: &Metrics, tiers: Tiers, metadata: Metadata) {
    metrics.add_source(move |scrape: &mut Scrape<'_>| {
        scrape_tiers(&tiers, scrape);
        scrape_store(&tiers, scrape);
    });
    metrics.add_source(move |scrape: &mut Scrape<'_>| scrape_metadata(&metadata, scrape));
}

fn scrape_tiers(tiers: &Tiers, scrape: &mut Scrape<'_>) {
    let stats = tiers.stats();
    let of_both =
        |object, window| [([("cache", "object")], object), ([("cache", "window")], window)];
    scrape.labelled(&family::CACHE_HITS, of_both(stats.object_hits, stats.window_hits));
    scrape.labelled(&family::CACHE_MISSES, of_both(stats.object_misses, stats.window_misses));
    scrape.labelled(&family::CACHE_BYTES, of_both(stats.object_bytes, stats.window_bytes));
    scrape.labelled(&family::CACHE_ENTRIES, of_both(stats.objects, stats.windows));
    scrape.value(&family::CACHE_UNSHARED_READS, stats.unshared_reads);
}

fn scrape_store(tiers: &Tiers, scrape: &mut Scrape<'_>) {
    let stats = tiers.store().stats();
    scrape.value(&family::UPLOAD_SESSIONS, stats.sessions);
    scrape.value(&family::UPLOAD_BYTES, stats.session_bytes);
    scrape.value(&family::UPLOADS_REAPED, stats.sessions_expired);
    scrape.value(&family::BLOB_COMMITS, stats.commits);
    scrape.value(&family::BLOB_COMMIT_BYTES, stats.committed_bytes);
    scrape.value(&family::CORRUPT_BLOCKS, stats.corrupt_reads);
    scrape.value(&family::BLOBS_QUARANTINED, stats.damaged);
    scrape.value(&family::BLOBS_HEALED, stats.healed);
    scrape.value(&family::COPIES_DELETED, stats.deleted);
    scrape.value(&family::DISK_TOTAL_BYTES, stats.disk_total_bytes);
    scrape.value(&family::DISK_AVAILABLE_BYTES, stats.disk_available_bytes);
}

/// Adds collection, as far as this node drives it.
pub fn add_gc(metrics: &Metrics, gc: Gc) {
    metrics.add_source(move |scrape: &mut Scrape<'_>| {
        let stats = gc.stats();
        scrape.value(&family::GC_PASSES, stats.passes);
        scrape.value(&family::GC_BLOBS, stats.condemned);
        scrape.value(&family::GC_SPARED, stats.spared);
        scrape.value(&family::GC_COPIES, stats.copies);
        scrape.value(&family::GC_BYTES, stats.bytes);
        scrape.value(&family::GC_FAILED, stats.failed);
    });
}

fn scrape_metadata(metadata: &Metadata, scrape: &mut Scrape<'_>) {
    let groups = metadata.stats().groups;
    let sum = |count: fn(&crate::metadata::GroupStats) -> u64| groups.iter().map(count).sum();
    scrape.value(&family::METADATA_BATCHES, sum(|group| group.batches));
    scrape.value(&family::METADATA_COMMANDS, sum(|group| group.requests));
    scrape.value(&family::RAFT_APPLIED_INDEX, sum(|group| group.applied.unwrap_or(0)));
    scrape.value(&family::RAFT_LOG_INDEX, sum(|group| group.last_log.unwrap_or(0)));
    scrape.value(&family::RAFT_TERM, groups.iter().map(|group| group.term).max().unwrap_or(0));
    scrape.value(&family::METADATA_STOPPED, sum(|group| u64::from(group.stopped)));
}
