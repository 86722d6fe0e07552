//! `[admin]`: the listener for operators and their tools.

use std::net::SocketAddr;

use super::section;

section! {
    /// The listener for operators and their tools: `/livez`, `/readyz`, `/startupz`, `/metrics`.
    Admin = "admin";

    /// Address of the probes and metrics. Port 0 lets the system choose.
    listen: SocketAddr = "127.0.0.1:5002";

    /// Speak plain text, without asking who is there, on an address that other machines reach.
    /// Needed where probes and scrapes come from outside, as in Kubernetes; keep it to a network
    /// that only they are in.
    insecure: bool = "false";
}
