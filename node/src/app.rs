//! The composition of a node: a configuration in, a running node out; and the command line around it.

pub mod belonging;
#[cfg(not(madsim))]
pub mod cli;
#[cfg(not(madsim))]
pub mod dev;
mod gauges;
mod identity;
pub mod node;
mod operating;
pub mod shutdown;
pub mod upkeep;
