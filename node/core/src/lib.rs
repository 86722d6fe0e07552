//! The pure core of Atoll: everything that can be decided without a clock, a disk, a socket or a
//! random number.
//!
//! Parsers take bytes from a wire and answer a typed value or an error that says what was received
//! and what is allowed; they never panic. State machines take events and `now`, and answer
//! commands; the shell (`atoll-node`) runs them. The list of dependencies in `Cargo.toml` is the
//! boundary: no runtime, no file system and no network may appear there.
#![forbid(unsafe_code)]

pub mod access;
pub mod admin;
pub mod content_range;
pub mod coordination;
pub mod digest;
pub mod etag;
pub mod gc;
pub mod manifest;
pub mod metadata;
pub mod name;
pub mod pagination;
pub mod range;
pub mod repair;
pub mod replication;
pub mod ring;
pub mod route;
pub mod upload;
pub mod view;

pub use digest::{Algorithm, Digest};
pub use name::{Reference, RepoName, Tag};
