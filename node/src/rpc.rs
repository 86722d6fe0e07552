//! What nodes say to each other: gRPC over the network seam.
//!
//! - [`raft`]: the messages of the metadata groups, both sides;
//! - [`channel`]: the client's connection, reconnecting by itself;
//! - [`server`]: the listener.
//!
//! tonic brings the codec and the generated services; its own transport is not used, because it
//! names TCP and could not be simulated.

pub mod channel;
pub mod raft;
pub mod server;

/// Pause between signs of life on an idle connection, and how long one may stay unanswered. A voter
/// whose power was cut says nothing at all: this is how its connections end.
pub(crate) const KEEP_ALIVE_INTERVAL: std::time::Duration = std::time::Duration::from_secs(1);
pub(crate) const KEEP_ALIVE_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(2);
