//! Decisions about copies: whom to ask for a blob, whom to give one to, and when the answers so far
//! allow a "yes, it is safe" or a "no, it does not exist".
//!
//! All of it follows from one view and the answers of nodes; sending and waiting is the shell's. The
//! one rule behind it: any W owners that acknowledged a write and any R − W + 1 that deny it share a
//! node, so a blob that was acknowledged is never denied.

mod absence;
mod read;
#[cfg(test)]
mod tests;
mod write;

pub use absence::{AbsenceTally, AbsenceVerdict};
pub use read::{preferred, read_order};
pub use write::{STAND_INS_MAX, TooFewCopies, WritePlan, WriteTally, WriteVerdict, write_plan};
