//! What every message between nodes begins with, and the one refusal that all services share.

use atoll_core::view::Epoch;
pub use atoll_proto::wire::v1::Envelope;
use tonic::{Code, Status};

/// Metadata key of a [`stale_view`] refusal: the epoch of the refusing node's view.
const EPOCH: &str = "atoll-epoch";

/// The refusal of a message whose sender must take a newer view first. The view itself is fetched
/// with a call of its own: it is too large for a trailer.
pub fn stale_view(newer: Epoch) -> Status {
    let mut status = Status::new(Code::Aborted, format!("stale view: this node is at {newer}"));
    status.metadata_mut().insert(EPOCH, newer.0.into());
    status
}

/// The epoch that a [`stale_view`] refusal names; `None` for any other status.
pub fn newer_epoch(status: &Status) -> Option<Epoch> {
    if status.code() != Code::Aborted {
        return None;
    }
    status.metadata().get(EPOCH)?.to_str().ok()?.parse().ok().map(Epoch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_view_names_the_newer_epoch() {
        assert_eq!(newer_epoch(&stale_view(Epoch(7))), Some(Epoch(7)));
        assert_eq!(newer_epoch(&Status::aborted("other")), None);
    }
}
