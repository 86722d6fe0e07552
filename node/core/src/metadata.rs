//! The metadata state machine: tags, manifests, referrers and per-repository blob links.
//!
//! A metadata group is a Raft log of [`Command`]s applied in order to one ordered key space ([`Kv`]).
//! One command is one atomic change: the push of a manifest writes the record, its references, its
//! referrer row and its tags together or not at all (promise P4). Every command carries
//! `(client, sequence)`, so that a retry after an unknown outcome is applied once.
//!
//! Everything here is pure: the shell hands in a [`Kv`] over its own transaction.

pub mod apply;
pub mod command;
pub mod keys;
pub mod kv;
pub mod query;
pub mod record;

pub use apply::{apply, apply_at};
pub use command::{Command, Outcome, Precondition, PutManifest, Refusal, Request, RequestId};
pub use kv::{Kv, KvRead, MemoryKv};
