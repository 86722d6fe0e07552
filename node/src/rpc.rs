//! The services that nodes offer each other: gRPC in, the parts of this node out.
//!
//! - [`blobs`]: copies of blobs;
//! - [`cluster`]: joining, views, gossip;
//! - [`coordination`]: sessions, znodes and watches for other nodes and clients;
//! - [`gc`]: what the driver of a collection asks;
//! - [`raft`]: the messages of the Raft groups, both sides.
//!
//! How the messages travel is [`crate::wire`].

pub mod blobs;
pub mod cluster;
pub mod coordination;
pub mod gc;
pub mod raft;
pub mod repair;
