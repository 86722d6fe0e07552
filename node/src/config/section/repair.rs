//! `[repair]`: what a node does when nobody asks.

use std::time::Duration;

use super::section;
use crate::config::ByteSize;

section! {
    /// Getting copies that are missing, finding rotten ones, giving back the room of those that others
    /// own now.
    Repair = "repair";

    /// Pause between two comparisons with the other owners. After a change of the cluster a node
    /// compares at once.
    interval: Duration = "60s" in "1s" ..= "1d";

    /// Bytes per second that background work may read and fetch. It is reduced down to a sixteenth
    /// while requests take longer than `latency_target`.
    bytes_per_second: ByteSize = "200 MiB" in "1 MiB" ..= "100 GiB";

    /// Copies that are fetched at a time.
    streams: usize = "4" in "1" ..= "64";

    /// How long requests of clients may take on average before background work gives way.
    latency_target: Duration = "100ms" in "1ms" ..= "1m";

    /// Every copy is read and compared with its checksums once in this time.
    scrub_interval: Duration = "30d" in "1m" ..= "365d";

    /// How long a copy that others own is kept before it is removed. They must all confirm theirs first.
    disowned_grace: Duration = "10m" in "1s" ..= "30d";
}
