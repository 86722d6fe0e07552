//! `[cache]`: blobs in memory.

use super::section;
use crate::config::ByteSize;

section! {
    /// Blobs in memory.
    Cache = "cache";

    /// Memory for blobs that were just pushed or pulled. 0 turns the cache off.
    bytes: ByteSize = "256MiB" in "0" ..= "1TiB";

    /// The largest blob that is kept in memory. Larger ones are read from disk, where the page
    /// cache of the system serves them as well. At most `bytes`.
    buffer_object_max: ByteSize = "1MiB" in "0" ..= "1GiB";
}
