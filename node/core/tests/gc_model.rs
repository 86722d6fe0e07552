//! Collection, tried in every order of events.
//!
//! One blob, two copies that are both needed, pushers that may stop between any two of their steps, and
//! deletes that arrive at any time, any number of times. The search visits every state there is.
//!
//! - `one_group` is the protocol as it was first written down: it shows what each rule is for.
//! - `links` is the protocol as it is built: two metadata groups, links, mounts, epochs read from a
//!   node that lags, drivers that forget everything, and a round that need not wait for every copy.
//!
//! What the groups decide is not modelled: it is asked of the real state machine (`groups`).
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "gc_model/groups.rs"]
mod groups;
#[path = "gc_model/links.rs"]
mod links;
#[path = "gc_model/one_group.rs"]
mod one_group;
#[path = "gc_model/search.rs"]
mod search;
