//! `[cluster]`: the listener for the other nodes.

use std::net::SocketAddr;

use super::section;

section! {
    /// The listener for the other nodes.
    Cluster = "cluster";

    /// Address of the nodes' gRPC services. Port 0 lets the system choose.
    listen: SocketAddr = "127.0.0.1:5001";

    /// Speak plain text on an address that other machines reach.
    insecure: bool = "false";
}
