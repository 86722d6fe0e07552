//! How nodes reach each other: HTTP/2 for gRPC over the network seam.
//!
//! - [`channel`]: the caller's connection, reconnecting by itself;
//! - [`server`]: the listener;
//! - [`envelope`]: what every message begins with;
//! - [`security`]: plaintext, or mutual TLS ([`tls`]) under the cluster's CA;
//! - [`policy`]: which of the two;
//! - [`peer`]: who sends the call that is being answered.
//!
//! tonic brings the codec and the generated services; its own transport is not used, because it
//! names TCP and could not be simulated.

pub mod channel;
pub mod envelope;
pub mod peer;
pub mod policy;
mod replay;
pub mod security;
pub mod server;
pub mod tls;

pub use channel::Channel;
pub use policy::Protection;
pub use security::Security;

/// Pause between signs of life on an idle connection, and how long one may stay unanswered. A node
/// whose power was cut says nothing at all: this is how its connections end.
pub(crate) const KEEP_ALIVE_INTERVAL: std::time::Duration = std::time::Duration::from_secs(1);
pub(crate) const KEEP_ALIVE_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(2);
