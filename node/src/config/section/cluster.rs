//! `[cluster]`: the listener for the other nodes, and how this one belongs to them.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use serde_json::json;

use super::section;
use crate::config::{
    HostPort, Secret, Zone,
    value::{Raw, Value, quoted},
};

section! {
    /// The listener for the other nodes, and how this one belongs to them. A node without `join`
    /// founds a cluster at its first start, one with `join` enters a cluster that exists; later
    /// starts only go on.
    Cluster = "cluster";

    /// Address of the nodes' gRPC services. Port 0 lets the system choose.
    listen: SocketAddr = "127.0.0.1:5001";

    /// Where other nodes reach this one, when that is not `listen`: needed when `listen` is every
    /// address of the machine.
    advertise: Option<SocketAddr> = "";

    /// Members of the cluster to enter at the first start, tried in turn. Any member will do. Read
    /// at the first start only.
    join: Vec<HostPort> = "";

    /// The token that lets this node join. On the founding node: a token that lets others join for
    /// as long as it is configured there.
    token: Option<Secret> = "";

    /// File with the token.
    token_file: Option<PathBuf> = "";

    /// The failure domain of this node, such as a rack. Copies are spread over zones.
    zone: Option<Zone> = "";

    /// Share of the data that this node takes, relative to others.
    weight: u32 = "100" in "1" ..= "10000";

    /// Copies of every blob (R). A push is acknowledged when more than half of them are durable at
    /// their owners. Read by the founding node at its first start only.
    replicas: u8 = "3" in "1" ..= "9";

    /// How the ring is laid out: `assigned` spreads evenly spaced points by weight and zone, `paper`
    /// hashes fifty identities for each node, to reproduce published figures. Read by the founding
    /// node at its first start only.
    ring: RingLayout = "assigned";

    /// Points of an assigned ring, a power of two. More balance better, the view grows by two bytes
    /// for each. Read by the founding node at its first start only.
    points: u32 = "65536" in "16" ..= "65536";

    /// How long a node may be silent before it counts as down and others act for it.
    session_timeout: Duration = "3s" in "1s" ..= "60s";

    /// Servers of a ZooKeeper ensemble that coordinates the nodes, instead of the nodes themselves;
    /// the tree lies at `/atoll` there. The same at every node of a cluster, from its first start on.
    /// For builds with the feature `zookeeper`.
    zookeeper: Vec<HostPort> = "";

    /// Pause between two signs of life of a node.
    heartbeat: Duration = "500ms" in "50ms" ..= "10s";

    /// How long a node may be down before its data is copied elsewhere. Long enough for a restart:
    /// copies that are back soon need not be made again. 0 copies at once.
    down_out_interval: Duration = "10m" in "0" ..= "7d";

    /// How long a voter of a Raft group may be down before another node votes in its place.
    voter_out_interval: Duration = "30s" in "1s" ..= "1h";

    /// When nodes speak TLS with each other: `auto` unless `listen` and `advertise` are loopback
    /// addresses, `always` there too.
    tls: TlsPolicy = "auto";

    /// Speak plain text on an address that other machines reach.
    insecure: bool = "false";
}

/// How the ring of a new cluster is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RingLayout {
    /// Evenly spaced points with assigned owners.
    Assigned,
    /// Fifty hashed identities for each node.
    Paper,
}

/// When nodes speak TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsPolicy {
    /// Unless only this machine can listen.
    Auto,
    /// On loopback too.
    Always,
}

macro_rules! words {
    ($type:ident, $expected:literal, $($word:literal => $variant:ident),+) => {
        impl Value for $type {
            const EXPECTED: &'static str = $expected;

            fn from_raw(raw: &Raw) -> Option<Self> {
                match raw.text()? {
                    $($word => Some($type::$variant),)+
                    _ => None,
                }
            }

            fn to_toml(&self) -> Option<String> {
                Some(quoted(match self { $($type::$variant => $word),+ }))
            }

            fn schema() -> serde_json::Value {
                json!({ "type": "string", "enum": [$($word),+] })
            }
        }
    };
}
words!(RingLayout, "\"assigned\" or \"paper\"", "assigned" => Assigned, "paper" => Paper);
words!(TlsPolicy, "\"auto\" or \"always\"", "auto" => Auto, "always" => Always);
