//! What both sides of every seam must do: one suite per seam, run on the real and on the simulated
//! side.
//!
//! A simulated side that is kinder or stricter than the real one makes every simulation above it
//! worthless, in silence. These suites are how the two are kept alike. They fail by panicking and
//! are compiled with the library because two test crates of two builds share them.

#![allow(clippy::unwrap_used, reason = "a suite fails by panicking")]

pub mod clock;
pub mod disk;
pub mod disk_pair;
pub mod entropy;
pub mod net;
pub mod net_script;
