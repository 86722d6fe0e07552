//! `[metadata]`: tags, manifests and links, in Raft groups.

use super::section;
use crate::config::ByteSize;

section! {
    /// Tags, manifests and links, in Raft groups.
    Metadata = "metadata";

    /// Number of metadata groups that repositories are spread over. Fixed at the first start; 16
    /// suits large installations.
    groups: u32 = "1" in "1" ..= "256";

    /// Entries of the Raft log after which a snapshot is taken and the log is cut. Fewer shorten
    /// the log and the time to catch up, more write less.
    snapshot_entries: u64 = "10000" in "100" ..= "10000000";

    /// The most commands in one entry of the log. Pushes that arrive together share one write to
    /// disk; the bound keeps an entry, and so the wait of the first in it, short.
    batch_commands_max: usize = "256" in "1" ..= "10000";

    /// The most bytes of commands in one entry of the log; a larger single command still goes
    /// through, alone.
    batch_bytes_max: ByteSize = "1MiB" in "64KiB" ..= "16MiB";
}
