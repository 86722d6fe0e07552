//! `[storage]`: blobs and uploads on disk.

use std::time::Duration;

use super::section;
use crate::config::ByteSize;

section! {
    /// Blobs and uploads on disk.
    Storage = "storage";

    /// The largest blob. A larger one is answered 413 as soon as that is known, and its space is
    /// freed.
    blob_bytes_max: ByteSize = "100GiB" in "1MiB" ..= "16TiB";

    /// The most open upload sessions; more are answered 429 until some end.
    upload_sessions_max: usize = "10000" in "1" ..= "1000000";

    /// The most bytes in all open upload sessions together; more are answered 503. At least
    /// `blob_bytes_max`, or the largest blob could never be pushed.
    upload_bytes_max: ByteSize = "1TiB" in "1MiB" ..= "1024TiB";

    /// How long an upload session may rest before it is removed with its bytes. Long enough to
    /// take up a broken push the next morning.
    upload_idle_timeout: Duration = "24h" in "1s" ..= "30d";

    /// Percent of the device that stay free: pushes are refused below it, pulls and deletes go on.
    reserve_percent: u8 = "5" in "0" ..= "50";
}
