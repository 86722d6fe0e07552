//! `[admin]`: the listener for operators and their tools.

use std::net::SocketAddr;

use super::section;

section! {
    /// The listener for operators and their tools: `/livez`, `/readyz`, `/startupz`, `/metrics`,
    /// and the admin API that `atoll ctl` uses.
    Admin = "admin";

    /// Address of the probes and metrics. Port 0 lets the system choose.
    listen: SocketAddr = "127.0.0.1:5002";

    /// Speak plain text, without asking who is there, on an address that other machines reach.
    /// Needed where probes and scrapes come from outside, as in Kubernetes; keep it to a network
    /// that only they are in.
    insecure: bool = "false";

    /// Take changes of the cluster (drain, remove, join tokens, …) from other machines too. Without it
    /// they are taken from this machine only, while everyone who reaches the listener may look.
    allow_remote: bool = "false";
}
