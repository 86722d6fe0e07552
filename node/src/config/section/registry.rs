//! `[registry]`: what clients may do.

use super::section;
use crate::config::{ByteSize, Consistency, TagPattern};

section! {
    /// What clients may do.
    Registry = "registry";

    /// Allow deleting tags, manifests and blobs. Without it a delete is answered 405.
    delete_enabled: bool = "true";

    /// Refuse every write, by tag and by digest; pulls go on. For maintenance.
    read_only: bool = "false";

    /// Tags that are written once: a tag that matches and exists is neither moved nor deleted.
    /// `*` stands for any text; `repository:tag` limits a pattern to repositories.
    protected_tags: Vec<TagPattern> = "";

    /// Whether manifests are accepted whose config or layers are not in the repository (sparse
    /// images). Refused otherwise: a pull of such an image fails.
    sparse_manifests: bool = "false";

    /// When a pushed blob is acknowledged: `strong`, when a quorum of its owners and as many nodes as
    /// it should have copies hold it durably; `eventual`, when one owner does and the others are to
    /// follow, so that the loss of one disk in between loses the blob.
    consistency: Consistency = "strong";

    /// Whether a tag is answered when the quorum is out of reach: with the last value that this node
    /// knows, and a `Warning: 299` header. Refused with 503 otherwise.
    stale_pulls: bool = "false";

    /// The largest manifest. Clients rely on 4 MiB; containerd reads no larger ones. A larger one
    /// is answered 413.
    manifest_bytes_max: ByteSize = "4MiB" in "4MiB" ..= "64MiB";

    /// The most entries of one page of tags or repositories; a client that asks for more, or for
    /// no number, gets this many and a link to the next page.
    page_size_max: usize = "1000" in "1" ..= "100000";

    /// The most tags that one push of a manifest may set. The specification asks for 10 at least;
    /// all of them change in one step.
    tags_per_push_max: usize = "64" in "10" ..= "1000";
}
