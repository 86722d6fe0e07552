//! What clients do to the registry.

pub mod aware;
pub mod content;
pub mod finish;
mod pull;
pub mod push;
mod remove;
mod resume;
pub mod user;
pub mod walk;
