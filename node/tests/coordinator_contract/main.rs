//! One suite for every coordinator: what [`atoll_node::coordination`] promises, whoever keeps it.
//!
//! The embedded one runs as three nodes in this process, over real gRPC on loopback. With the cargo
//! feature `zookeeper` the same suite runs against Debian's ZooKeeper, started by the test: the
//! executable definition of "ZooKeeper's semantics".

#![allow(clippy::unwrap_used, reason = "a test panics when something is wrong")]
#![allow(clippy::disallowed_methods, reason = "a test times with the real clock")]

mod client;
mod embedded;
mod nodes;
mod suite;
#[cfg(feature = "zookeeper")]
mod zookeeper;
