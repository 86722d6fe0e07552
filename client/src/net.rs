//! Connections: how they are made, kept and given back.

pub(crate) mod answer;
pub(crate) mod body;
pub(crate) mod pool;
pub(crate) mod tls;
pub mod transport;
