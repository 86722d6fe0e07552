//! `[http]`: the public listener, which clients push to and pull from.

use std::{net::SocketAddr, time::Duration};

use super::section;
use crate::config::ByteSize;

section! {
    /// The public listener, which clients push to and pull from. A request has no time limit as a
    /// whole, because a layer may take hours on a slow line; what stalls is cut by the limits here.
    Http = "http";

    /// Address of the registry API (HTTP/1.1 and HTTP/2). Port 0 lets the system choose.
    listen: SocketAddr = "127.0.0.1:5000";

    /// Where clients reach this node, when that is not `listen`. Other members list it, and clients
    /// that know the ring go there.
    advertise: Option<SocketAddr> = "";

    /// Serve plain text on an address that other machines reach. Without it only loopback
    /// addresses are allowed: credentials and images would cross the network readable.
    insecure: bool = "false";

    /// Threads that serve connections; each connection stays on one. 0 means one for each processor.
    threads: usize = "0" in "0" ..= "1024";

    /// The longest wait for the whole header of a request. Stops connections that send it byte by
    /// byte.
    header_timeout: Duration = "10s" in "100ms" ..= "10m";

    /// How long a connection without a request is kept. Longer than the 60 seconds for which most
    /// load balancers keep theirs, so that they close first and never send into a closed one.
    idle_timeout: Duration = "75s" in "1s" ..= "1h";

    /// Bytes per second that a body must move, in either direction, averaged over
    /// `min_rate_grace`; slower connections are cut. 0 turns the limit off.
    min_rate_bytes_per_second: u64 = "1024" in "0" ..= "1073741824";

    /// The span over which the rate of a body is averaged, and so the longest full stall of it.
    min_rate_grace: Duration = "20s" in "100ms" ..= "10m";

    /// The most connections at once; further ones wait in the system's backlog. Each open one
    /// takes a file descriptor and some kilobytes.
    connections_max: usize = "20000" in "1" ..= "1000000";

    /// The most connections at once from one address. 0 turns the limit off, which is right behind
    /// a proxy, where all clients share its address.
    connections_per_address_max: usize = "0" in "0" ..= "1000000";

    /// The most bytes of a request's header. Room for a token with many scopes; longer ones are
    /// answered 431.
    header_bytes_max: ByteSize = "32KiB" in "8KiB" ..= "1MiB";

    /// The most header fields of a request; more are answered 431.
    header_fields_max: usize = "100" in "16" ..= "1000";

    /// The most concurrent HTTP/2 streams of one connection.
    streams_max: u32 = "128" in "1" ..= "10000";

    /// How long running requests may take to end after the signal to stop. What is left then is
    /// cut off. Keep the grace period of the supervisor longer.
    drain_timeout: Duration = "30s" in "0" ..= "1h";
}
