//! The composition of a node: configuration in, running node out; and the command line around it.

#[cfg(not(madsim))]
pub mod cli;
#[cfg(not(madsim))]
pub mod dev;
pub mod node;
pub mod shutdown;
