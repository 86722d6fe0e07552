//! The application: a configuration in, a running node out.

mod gauges;
pub mod node;
