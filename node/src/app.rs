//! The application: a configuration in, a running node out.

pub mod cli;
pub mod dev;
pub mod node;
pub mod shutdown;
