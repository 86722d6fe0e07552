//! The name and meaning of every metric, on one screen.
//!
//! Names of counters stand here without the `_total` that the exposition adds.

/// A family of metrics.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    /// Its name.
    pub name: &'static str,
    /// What it counts, without a full stop, as dashboards show it.
    pub help: &'static str,
    /// How it may change.
    pub kind: Kind,
}

/// How a metric may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only grows, from 0 at the start of the process.
    Counter,
    /// It goes up and down.
    Gauge,
    /// Counts of values by size.
    Histogram,
}

macro_rules! families {
    ($($family:ident: $kind:ident $name:literal $help:literal;)+) => {
        $(
            #[doc = $help]
            pub const $family: Family = Family { name: $name, help: $help, kind: Kind::$kind };
        )+

        /// Every family there is.
        pub const ALL: &[Family] = &[$($family,)+];
    };
}

families! {
    BUILD: Gauge "atoll_build" "Always 1, with version and commit of the binary";

    HTTP_REQUESTS: Counter "atoll_http_requests" "Requests answered";
    HTTP_REQUEST_SECONDS: Histogram "atoll_http_request_seconds" "Time from the header of a request to the end of its response";
    HTTP_CONNECTIONS: Gauge "atoll_http_connections" "Open connections of clients";
    HTTP_CONNECTIONS_ACCEPTED: Counter "atoll_http_connections_accepted" "Connections of clients accepted";
    HTTP_CONNECTIONS_CUT: Counter "atoll_http_connections_cut" "Connections of clients that the node ended";
    HTTP_ACCEPT_ERRORS: Counter "atoll_http_accept_errors" "Connections the system failed to hand over, mostly for want of file descriptors";
    BYTES_SENT: Counter "atoll_bytes_sent" "Bytes of bodies sent to clients";
    BYTES_RECEIVED: Counter "atoll_bytes_received" "Bytes of bodies received from clients";

    CACHE_HITS: Counter "atoll_cache_hits" "Blob reads served from memory";
    CACHE_MISSES: Counter "atoll_cache_misses" "Blob reads that were not in memory";
    CACHE_UNSHARED_READS: Counter "atoll_cache_unshared_reads" "Pieces of large blobs read past the cache, because it was full or little was asked for";
    CACHE_BYTES: Gauge "atoll_cache_bytes" "Bytes of blobs in memory";
    CACHE_ENTRIES: Gauge "atoll_cache_entries" "Blobs in memory";

    UPLOAD_SESSIONS: Gauge "atoll_upload_sessions" "Open upload sessions";
    UPLOAD_BYTES: Gauge "atoll_upload_bytes" "Bytes in open upload sessions";
    UPLOADS_REAPED: Counter "atoll_uploads_reaped" "Upload sessions removed because they rested too long";
    BLOB_COMMITS: Counter "atoll_blob_commits" "Blobs made durable";
    BLOB_COMMIT_BYTES: Counter "atoll_blob_commit_bytes" "Bytes of blobs made durable";
    CORRUPT_BLOCKS: Counter "atoll_corrupt_blocks" "Blocks whose checksum was wrong when they were read";
    BLOBS_QUARANTINED: Gauge "atoll_blobs_quarantined" "Damaged copies set aside";
    GC_PASSES: Counter "atoll_gc_passes" "Passes of collection that this node drove";
    GC_BLOBS: Counter "atoll_gc_blobs" "Unneeded blobs collected while this node drove";
    GC_SPARED: Counter "atoll_gc_spared" "Blobs that somebody came to need before they were collected";
    GC_COPIES: Counter "atoll_gc_copies" "Copies deleted on all nodes by those collections";
    GC_BYTES: Counter "atoll_gc_bytes" "Bytes freed on all nodes by those collections";
    GC_FAILED: Counter "atoll_gc_failed" "Collections that had to go on later";
    COPIES_DELETED: Counter "atoll_copies_deleted" "Copies that this node deleted because nobody needs them here";
    BLOBS_HEALED: Counter "atoll_blobs_healed" "Damaged copies replaced by a new push";
    DISK_TOTAL_BYTES: Gauge "atoll_disk_total_bytes" "Size of the device of the data folder";
    DISK_AVAILABLE_BYTES: Gauge "atoll_disk_available_bytes" "Bytes that may still be written to it";

    METADATA_BATCHES: Counter "atoll_metadata_batches" "Entries proposed to the metadata log";
    METADATA_COMMANDS: Counter "atoll_metadata_commands" "Commands in them";
    METADATA_STOPPED: Gauge "atoll_metadata_stopped" "Metadata groups of this node that stopped for good after a disk failed";
    RAFT_APPLIED_INDEX: Gauge "atoll_raft_applied_index" "Last applied entry of the metadata log";
    RAFT_LOG_INDEX: Gauge "atoll_raft_log_index" "Last durable entry of the metadata log";
    RAFT_TERM: Gauge "atoll_raft_term" "Raft term";

    CLUSTER_MEMBERS: Gauge "atoll_cluster_members" "Members of the cluster by what they do, as this node knows";
    CLUSTER_EPOCH: Gauge "atoll_cluster_epoch" "Epoch of the view this node holds";
    CLUSTER_LEASE: Gauge "atoll_cluster_lease_valid" "1 while this node may acknowledge writes and say that something does not exist";
    CLUSTER_SUSPECTS: Gauge "atoll_cluster_suspects" "Peers that this node asks last because they did not answer as they should";
    CLUSTER_OPEN: Gauge "atoll_cluster_open_configurations" "Earlier sets of owners whose copies the present ones may not all have yet";
    COORDINATION_LEADER: Gauge "atoll_coordination_leader" "1 at the node that leads the group that agrees on views";
    COORDINATION_TERM: Gauge "atoll_coordination_term" "Raft term of that group";
    COORDINATION_VOTERS: Gauge "atoll_coordination_voters" "Voters of that group, as this node knows";

    REPLICATION_WRITES: Counter "atoll_replication_writes" "Blobs that this node wrote to their owners";
    REPLICATION_WRITES_FAILED: Counter "atoll_replication_writes_failed" "Blobs refused for lack of copies";
    STAND_INS: Counter "atoll_stand_ins" "Copies written to a stand-in of an owner";
    STALE_VIEWS: Counter "atoll_stale_views" "Writes begun again because another node knew a newer view";
    COPIES_RECEIVED: Counter "atoll_copies_received" "Copies received from other nodes";
    COPIES_REFUSED: Counter "atoll_copies_refused" "Copies refused because this node does not own them";
    REMOTE_READS: Counter "atoll_remote_reads" "Reads answered with the bytes of another node";
    HEDGES: Counter "atoll_hedges" "Owners asked in addition because the first was slow";
    FAILOVERS: Counter "atoll_failovers" "Owners passed over because they did not answer";
    RESUMES: Counter "atoll_resumes" "Answers that went on from another owner after theirs broke off";
    MISMATCHES: Counter "atoll_mismatches" "Answers broken off because the bytes of a peer were not the blob";
    FETCHES: Counter "atoll_fetches" "Copies pulled from peers because somebody asked for them";
    FETCHES_FAILED: Counter "atoll_fetches_failed" "Copies that could not be pulled";
    READ_REPAIRS: Counter "atoll_read_repairs" "Owners told to pull a copy they should have had";
    DEBTS_PAID: Counter "atoll_debts_paid" "Copies delivered later to an owner that was out of reach";
    HINTS: Gauge "atoll_hints" "Copies owed to owners that this node stands in for";
    OUTBOX: Gauge "atoll_outbox" "Copies owed by pushes that were acknowledged early";
    FENCES: Counter "atoll_fences" "Times this node would not say what takes a lease";

    UNDER_REPLICATED: Gauge "atoll_under_replicated_blobs" "Copies this node should have and has not, as far as is known";
    SYNC_ACTIVE: Gauge "atoll_sync_active" "1 while this node compares or fetches copies";
    SYNCED_EPOCH: Gauge "atoll_synced_epoch" "Epoch up to which this node has reported to hold all it owns";
    SYNC_BYTES_LEFT: Gauge "atoll_sync_bytes_left" "Bytes of copies known to be missing here and not fetched yet";
    REPAIR_PASSES: Counter "atoll_repair_passes" "Comparisons with other owners that were completed";
    REPAIR_COPIES: Counter "atoll_repair_copies" "Copies fetched by repair and rebalancing";
    REPAIR_BYTES: Counter "atoll_repair_bytes" "Bytes of copies fetched by repair and rebalancing";
    REPAIR_FAILED: Counter "atoll_repair_failed" "Fetches of repair and rebalancing that failed and are tried again";
    SCRUB_COPIES: Counter "atoll_scrub_copies" "Copies read again to compare them with their digest";
    SCRUB_BYTES: Counter "atoll_scrub_bytes" "Bytes of copies read again";
    SCRUB_DAMAGED: Counter "atoll_scrub_damaged" "Copies that were not what their digest says";
    DISOWNED_COPIES: Counter "atoll_disowned_copies_deleted" "Copies deleted because other nodes own them and have them";
    DISOWNED_BYTES: Counter "atoll_disowned_bytes_deleted" "Bytes of those copies";

    PROCESS_CPU_SECONDS: Counter "process_cpu_seconds" "Processor time used, user and system";
    PROCESS_RESIDENT_BYTES: Gauge "process_resident_memory_bytes" "Resident memory";
    PROCESS_OPEN_FDS: Gauge "process_open_fds" "Open file descriptors";
    PROCESS_MAX_FDS: Gauge "process_max_fds" "Most file descriptors allowed";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_conventions_of_prometheus() {
        let mut names: Vec<_> = ALL.iter().map(|family| family.name).collect();
        for family in ALL {
            let name = family.name;
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
            assert!(!name.ends_with("_total"), "{name}: the exposition adds that");
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ALL.len(), "a name is used twice");
    }
}
