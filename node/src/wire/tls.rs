//! TLS 1.3 among the nodes of one cluster.
//!
//! - [`name`]: what a certificate says about its node;
//! - [`identity`]: a node's certificate, key, and the CAs it believes;
//! - [`verify`]: who is believed;
//! - [`config`]: rustls, set up with these;
//! - [`connect`]: the caller's side of a handshake;
//! - [`reason`]: why a connection did not come about, in words for an operator.
//!
//! A certificate names a node and not a host: addresses change, numbers do not. Nothing is resumed:
//! every connection proves anew who stands at its ends, and connections are few and long.

pub(super) mod config;
pub(super) mod connect;
pub mod identity;
pub mod name;
pub mod reason;
pub mod verify;

use std::time::Duration;

pub use identity::{BadIdentity, Fingerprint, Identity};
pub use name::PeerIdentity;

/// How long a handshake may take: some round trips and a few milliseconds of work.
pub(super) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
