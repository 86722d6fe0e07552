//! `[cache]`: blobs in memory.

use super::section;
use crate::config::ByteSize;

section! {
    /// Blobs in memory.
    Cache = "cache";

    /// Memory for blobs that were just pushed or pulled. 0 turns the cache off.
    bytes: ByteSize = "256MiB" in "0" ..= "1TiB";

    /// The largest blob that is kept in memory whole. Larger ones are read in pieces. At most
    /// `bytes`.
    buffer_object_max: ByteSize = "1MiB" in "0" ..= "1GiB";

    /// Memory for pieces of larger blobs: many readers of one layer share one read of the disk, and
    /// what is sent was verified. It bounds what slow readers can hold.
    window_bytes: ByteSize = "128MiB" in "4MiB" ..= "1TiB";
}
