//! The coordination state machine: a tree of znodes, and the sessions that hold parts of it.
//!
//! What nodes must agree on that is not a tag lives here: who is up, which view is current, what an
//! operator has asked for. The semantics are ZooKeeper's, because they are known to suffice and known
//! to operators: versioned znodes, ephemeral ones that end with their session, sequential ones that
//! get a number, atomic `multi`, and watches whose events come in the order of the changes. A change
//! is named by its *zxid*: its position in the log of group 0.
//!
//! - [`apply()`] changes the tree, one [`Command`] at a time, over any [`Kv`](crate::metadata::Kv);
//! - [`query`] reads it;
//! - [`Sessions`](sessions::Sessions) decides on the leader when a silent session has expired;
//! - [`Watches`](watches::Watches) decides who is told about which change.
//!
//! All of it is pure. Heartbeats do not enter the log: they only move deadlines on the leader.
//!
//! Why not ZooKeeper's wire protocol too: nobody but Atoll's nodes needs it, and a real ensemble can
//! be used instead through the other backend.

pub mod apply;
pub mod command;
pub mod event;
pub mod keys;
mod octets;
pub mod path;
pub mod query;
pub mod record;
pub mod sessions;
pub mod stat;
#[cfg(test)]
mod tests;
pub mod watches;

pub use apply::{Position, apply};
pub use command::{
    Change, Command, CreateMode, Effects, Op, OpOutcome, Outcome, Refusal, SessionId, Verdict,
};
pub use event::{Event, EventKind};
pub use path::Path;
pub use stat::{Stat, Zxid};
