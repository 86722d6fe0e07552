//! The agent: a registry on loopback, for docker, containerd and podman on this machine.
//!
//! Those programs cannot be taught the ring. The agent can: it is asked like any registry, goes to
//! the node that holds what is asked for, pulls large layers from several nodes at once, keeps what
//! was pulled, and never shows its callers that a node died. It owns no truth: a tag is always asked
//! of a node, and content leaves the cache only for a caller whom a node just allowed it.

pub mod api;
pub mod authority;
pub mod body;
pub mod cache;
pub mod config;
pub mod connections;
pub mod doctor;
pub mod fetch;
pub mod figures;
pub mod guard;
mod headers;
pub mod host;
pub mod install;
pub mod namespace;
pub mod placement;
pub mod refusal;
pub mod server;
pub mod upstream;

#[cfg(test)]
mod tests;
