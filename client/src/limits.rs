//! Every bound of the client, with its reason.

use std::{path::PathBuf, time::Duration};

/// What a client may use, and how long it waits. `Limits::default()` suits a host that pulls images;
/// all of it may be changed field by field.
///
/// Memory: at most [`Self::bytes_in_flight_max`] for bytes on their way, and for every [`crate::Blob`]
/// that is held at most [`Self::memory_per_blob`].
#[derive(Clone, Debug)]
pub struct Limits {
    /// Larger blobs wait in a file until they are verified. Most config blobs and small layers are
    /// below.
    pub memory_per_blob: u64,
    /// Where these files are; they have no name, so nothing is left behind by a crash. The system's
    /// temporary folder unless it is said: name another where that one is in memory.
    pub spool_dir: PathBuf,
    /// A blob longer than this is fetched in pieces of this many bytes. Large enough that the time
    /// of a round trip does not count, small enough that several of them fit into memory.
    pub range_bytes: u64,
    /// Pieces of one blob that are on their way at a time, from different replicas.
    pub ranges_in_flight: usize,
    /// Replicas that the pieces of one blob come from in turn. With 1 all come from the preferred
    /// one: slower for one pull, but a hot layer is then in one memory only.
    pub replicas_per_blob: usize,
    /// Bytes of all blobs that are on their way or wait to be hashed. Further pieces wait.
    pub bytes_in_flight_max: u64,
    /// Connections to one node, beyond which requests wait.
    pub connections_per_node: usize,
    /// An unused connection is closed after this. Below the 60 s after which nodes do it, or both
    /// would at the same moment.
    pub idle_connection: Duration,
    /// A connection that is not there by then will not come.
    pub connect_timeout: Duration,
    /// How long a node may take to begin its answer. Nodes fetch what they lack meanwhile.
    pub first_byte_timeout: Duration,
    /// How long a body may stand still, either way, before it is taken up elsewhere.
    pub stall_timeout: Duration,
    /// How long a node may take to acknowledge a push after its last byte.
    pub acknowledge_timeout: Duration,
    /// An operation that makes no progress for so long fails. Longer than a session of a node that
    /// died (3 s), a vote and a new view together.
    pub patience: Duration,
    /// The least time before a second replica is asked as well; above it counts what 95 % of the
    /// last answers took.
    pub hedge_after_min: Duration,
    /// Second requests in a hundred: they help the slowest few, and must not double the load when
    /// everything is slow.
    pub hedges_per_hundred: u32,
    /// The first pause when nobody could answer; it doubles, with jitter.
    pub backoff_min: Duration,
    /// The longest pause.
    pub backoff_max: Duration,
    /// Retries in a hundred requests without the longest pause: beyond it the cluster is in
    /// trouble, and haste would add to it.
    pub retries_per_hundred: u32,
    /// A node that failed is asked last for so long.
    pub suspect_for: Duration,
    /// A view older than this is checked in the background when the client is used.
    pub view_age_max: Duration,
    /// How long only the seeds are asked after the addresses of the view were out of reach.
    pub behind_seeds_for: Duration,
    /// The longest listing that is gathered, in entries.
    pub listing_entries_max: usize,
    /// Blobs of one image that are copied at a time.
    pub copies_in_flight: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            memory_per_blob: 4 << 20,
            spool_dir: std::env::temp_dir(),
            range_bytes: 4 << 20,
            ranges_in_flight: 4,
            replicas_per_blob: 3,
            bytes_in_flight_max: 128 << 20,
            connections_per_node: 64,
            idle_connection: Duration::from_secs(20),
            connect_timeout: Duration::from_secs(1),
            first_byte_timeout: Duration::from_secs(10),
            stall_timeout: Duration::from_secs(10),
            acknowledge_timeout: Duration::from_secs(60),
            patience: Duration::from_secs(60),
            hedge_after_min: Duration::from_millis(30),
            hedges_per_hundred: 5,
            backoff_min: Duration::from_millis(50),
            backoff_max: Duration::from_secs(2),
            retries_per_hundred: 20,
            suspect_for: Duration::from_secs(5),
            view_age_max: Duration::from_secs(30),
            behind_seeds_for: Duration::from_secs(60),
            listing_entries_max: 1_000_000,
            copies_in_flight: 3,
        }
    }
}

impl Limits {
    /// The same with what cannot work put right: no zero that would stop everything, and room for
    /// one piece.
    pub(crate) fn sane(mut self) -> Limits {
        self.range_bytes = self.range_bytes.max(64 << 10);
        self.ranges_in_flight = self.ranges_in_flight.max(1);
        self.replicas_per_blob = self.replicas_per_blob.max(1);
        self.bytes_in_flight_max = self.bytes_in_flight_max.max(self.range_bytes);
        self.connections_per_node = self.connections_per_node.max(1);
        self.copies_in_flight = self.copies_in_flight.max(1);
        self.backoff_min = self.backoff_min.max(Duration::from_millis(1));
        self.backoff_max = self.backoff_max.max(self.backoff_min);
        self
    }
}
