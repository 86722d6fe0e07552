//! The time of the client: tokio's, which the simulator moves.

use tokio::time::Instant;

/// The time now.
pub(crate) fn now() -> Instant {
    Instant::now()
}
