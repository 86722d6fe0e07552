//! HTTP: one accept loop for every listener, and the public registry API on top of it.
//!
//! There is no framework server underneath: the loop in [`listener`] owns each connection from the
//! first byte, so that it can refuse a TLS hello quickly, hold clients to a minimum pace, survive
//! running out of file descriptors, and drain under a deadline. The public API is one catch-all
//! route and one pure parser (`atoll_core::route`).

mod api;
mod blobs;
mod body;
mod connection;
mod forward;
mod framing;
mod headers;
pub mod listener;
mod listings;
mod manifests;
mod multipart;
mod pace;
mod request_id;
mod send;
mod uploads;

pub use api::Api;
pub use connection::Connection;
pub use forward::add_handed_on;
pub use listener::{Answers, Limits, Serving, serve};
pub use pace::Patience;
