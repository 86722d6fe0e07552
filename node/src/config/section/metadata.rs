//! `[metadata]`: tags, manifests and links, in Raft groups.

use super::section;

section! {
    /// Tags, manifests and links, in Raft groups.
    Metadata = "metadata";

    /// Number of metadata groups that repositories are spread over. Fixed at the first start; 16
    /// suits large installations.
    groups: u16 = "1" in "1" ..= "256";

    /// Entries of the Raft log after which a snapshot is taken and the log is cut. Fewer shorten
    /// the log and the time to catch up, more write less.
    snapshot_entries: u64 = "10000" in "100" ..= "10000000";
}
