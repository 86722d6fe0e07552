//! How a node belongs to its cluster, as it was told; and where it is reached.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use crate::{
    config::{Config, HostPort, RingLayout, Secret, TlsPolicy},
    wire::policy::Protection,
};

/// How a node belongs to its cluster, as it was told.
#[derive(Clone, Debug)]
pub struct ClusterSettings {
    /// Where other nodes are answered.
    pub listen: SocketAddr,
    /// Where they reach this node, if not there.
    pub advertise: Option<SocketAddr>,
    /// Where clients reach it, if not where it listens for them.
    pub http_advertise: Option<SocketAddr>,
    /// Members to join at the first start; none for a founder.
    pub join: Vec<HostPort>,
    /// The token for that; at a founder, one that lets others in.
    pub token: Option<Secret>,
    /// The failure domain, or nothing.
    pub zone: String,
    /// The share of the data.
    pub weight: u32,
    /// Copies of every blob, for a founder.
    pub replicas: u8,
    /// Points of the ring, for a founder; `None` for the ring of the paper.
    pub points: Option<u32>,
    /// The time-out of the node's session.
    pub session_timeout: Duration,
    /// Servers of the ZooKeeper ensemble that coordinates; none when the nodes do it themselves.
    pub zookeeper: Vec<HostPort>,
    /// Pause between its heartbeats.
    pub heartbeat: Duration,
    /// How long a node may be down before it leaves the ring.
    pub down_out_interval: Duration,
    /// How long a voter may be down before another takes its place.
    pub voter_out_interval: Duration,
    /// Is TLS spoken on loopback too?
    pub tls: TlsPolicy,
    /// May plain text leave the machine?
    pub insecure: bool,
}

impl From<&Config> for ClusterSettings {
    fn from(config: &Config) -> Self {
        let cluster = &config.cluster;
        ClusterSettings {
            listen: cluster.listen,
            advertise: cluster.advertise,
            http_advertise: config.http.advertise,
            join: cluster.join.clone(),
            token: cluster.token.clone(),
            zone: cluster.zone.as_ref().map(|zone| zone.as_str().to_owned()).unwrap_or_default(),
            weight: cluster.weight,
            replicas: cluster.replicas,
            points: match cluster.ring {
                RingLayout::Assigned => Some(cluster.points),
                RingLayout::Paper => None,
            },
            session_timeout: cluster.session_timeout,
            zookeeper: cluster.zookeeper.clone(),
            heartbeat: cluster.heartbeat,
            down_out_interval: cluster.down_out_interval,
            voter_out_interval: cluster.voter_out_interval,
            tls: cluster.tls,
            insecure: cluster.insecure,
        }
    }
}

/// Where a node is reached.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    /// By nodes.
    pub grpc: SocketAddr,
    /// By clients.
    pub http: SocketAddr,
}

impl Addresses {
    /// What is told to others, given where this node really listens. A listener on every address of
    /// the machine has none that could be told: then only this machine reaches the node.
    pub fn of(settings: &ClusterSettings, grpc: SocketAddr, http: SocketAddr) -> Addresses {
        let reachable = |told: Option<SocketAddr>, listens: SocketAddr, key: &str| {
            told.unwrap_or_else(|| {
                if !listens.ip().is_unspecified() {
                    return listens;
                }
                tracing::warn!(%listens, "{key} is not set: only this machine reaches the node");
                SocketAddr::from((Ipv4Addr::LOCALHOST, listens.port()))
            })
        };
        let grpc = reachable(settings.advertise, grpc, "cluster.advertise");
        let http = match (settings.http_advertise, http.ip().is_unspecified()) {
            (None, true) => SocketAddr::new(grpc.ip(), http.port()),
            (told, _) => reachable(told, http, "http.advertise"),
        };
        Addresses { grpc, http }
    }
}

impl ClusterSettings {
    /// How connections with other nodes are protected.
    pub fn protection(&self, addresses: Addresses) -> Protection {
        let always = self.tls == TlsPolicy::Always;
        Protection::of(self.listen, Some(addresses.grpc), always, self.insecure)
    }
}
