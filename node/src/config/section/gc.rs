//! `[gc]`: collecting blobs that nothing needs.

use std::time::Duration;

use super::section;

section! {
    /// Collecting blobs that no manifest needs, such as the layers of images that were deleted. It
    /// goes on while the cluster serves, driven by one node; the same values belong on all.
    Gc = "gc";

    /// Whether unneeded blobs are collected. Otherwise they stay on the disks.
    enabled: bool = "true";

    /// Pause between two passes over everything.
    interval: Duration = "1h" in "1s" ..= "30d";

    /// How long an unneeded blob stays after it was last uploaded, mounted or asked for; the start of a
    /// node counts as that for every blob it has. Longer than the longest push.
    min_age: Duration = "24h" in "1s" ..= "365d";

    /// The most blobs that are collected at a time. Until a batch is through, its blobs cannot be
    /// pushed anew; and each makes pushes that are under way ask their owners once more.
    batch: usize = "1000" in "1" ..= "100000";
}
