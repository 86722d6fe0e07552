//! What a simulated node is told: sizes small enough for everything to happen within a minute.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use atoll_node::{
    app::node::NodeSettings,
    background::{gc::GcSettings, repair::RepairSettings},
    cluster::token::Token,
    config::{Config, HostPort, NodeName, Secret},
    io::entropy::SimEntropy,
};

/// Points of the ring: few, for a view is encoded and compared often.
const RING_POINTS: u32 = 256;

/// Where users are answered.
const HTTP_PORT: u16 = 5000;
/// Where other nodes are answered.
const CLUSTER_PORT: u16 = 5001;
/// Where operators are answered.
const ADMIN_PORT: u16 = 5002;

/// What a scenario chooses about its nodes.
#[derive(Clone, Copy, Debug)]
pub struct Tuning {
    /// Log entries between two snapshots: small, so that purges happen within a run.
    pub snapshot_interval: u64,
    /// Bytes of a batch on its way to the disk: small, so that an upload takes several.
    pub batch_bytes: usize,
    /// Largest blob kept in memory; 0 keeps none, so that every read meets the disk.
    pub object_bytes_max: u64,
}

/// What a cluster is told, the same at every node.
#[derive(Clone, Copy, Debug)]
pub struct Rates {
    /// Copies of every blob.
    pub replicas: u8,
    /// Groups that the repositories are spread over.
    pub groups: u16,
    /// The time-out of the nodes' sessions.
    pub session_timeout: Duration,
    /// Pause between two heartbeats of a session; it outlasts two.
    pub heartbeat: Duration,
    /// How long a node may be down before it leaves the ring.
    pub down_out: Duration,
    /// How long a voter may be down.
    pub voter_out: Duration,
    /// Pause between two comparisons of copies.
    pub repair: Duration,
    /// Every copy is read again in this time.
    pub scrub: Duration,
    /// How long copies that others own are kept.
    pub disowned_grace: Duration,
    /// Pause between two collections, if there are any.
    pub gc: Option<Duration>,
    /// How long a blob must not have been touched to be collected.
    pub gc_min_age: Duration,
    /// Blobs collected at a time.
    pub gc_batch: usize,
}

/// How a machine's node comes to its cluster.
#[derive(Clone, Debug)]
pub struct Belonging {
    /// The address of a member to join; `None` founds a cluster.
    join: Option<IpAddr>,
    token: Secret,
    rates: Rates,
}

impl Belonging {
    /// That of the founder.
    pub fn founder(rates: Rates, seed: u64) -> Belonging {
        let token = Token::draw(None, &SimEntropy::new(seed)).reveal();
        let token = Secret::parse(&token).expect("a token is a secret");
        Belonging { join: None, token, rates }
    }

    /// That of one who joins the machine of that number.
    pub fn joining(&self, number: u8) -> Belonging {
        Belonging { join: Some(address(number)), ..self.clone() }
    }
}

/// The address of a machine.
pub fn address(number: u8) -> IpAddr {
    IpAddr::from([10, 0, 0, number])
}

/// What the node of a machine is called.
pub fn name(number: u8) -> String {
    format!("n{number}")
}

/// Everything that a node is told; one without a cluster is alone.
pub fn settings(number: u8, tuning: &Tuning, belonging: Option<&Belonging>) -> NodeSettings {
    let ip = address(number);
    let mut settings = NodeSettings::from(&Config::default());
    settings.cluster.points = Some(RING_POINTS);
    settings.cluster.listen = SocketAddr::new(ip, CLUSTER_PORT);
    settings.cluster.insecure = true;
    if let Some(belonging) = belonging {
        settings.id = NodeName::parse(&name(number));
        belong(&mut settings, belonging);
    }
    settings.http = SocketAddr::new(ip, HTTP_PORT);
    settings.admin = SocketAddr::new(ip, ADMIN_PORT);
    settings.admin_allow_remote = true;
    settings.metadata.snapshot_interval = tuning.snapshot_interval;
    settings.metadata.entries_kept = tuning.snapshot_interval / 4;
    settings.metadata.log_cache_bytes = 1 << 20;
    settings.metadata.state_cache_bytes = 1 << 20;
    settings.store.batch_bytes = tuning.batch_bytes;
    settings.tiers.object_bytes_max = tuning.object_bytes_max;
    settings.tiers.object_cache_bytes = 4 << 20;
    settings.tiers.window_cache_bytes = 4 << 20;
    settings
}

fn belong(settings: &mut NodeSettings, belonging: &Belonging) {
    let Belonging { join, token, rates } = belonging;
    let member = |ip| HostPort::parse(&SocketAddr::new(ip, CLUSTER_PORT).to_string());
    settings.cluster.join = join.and_then(member).into_iter().collect();
    settings.cluster.token = Some(token.clone());
    settings.cluster.replicas = rates.replicas;
    settings.cluster.session_timeout = rates.session_timeout;
    settings.cluster.heartbeat = rates.heartbeat;
    settings.cluster.down_out_interval = rates.down_out;
    settings.cluster.voter_out_interval = rates.voter_out;
    settings.metadata.groups = rates.groups;
    let streams = settings.upkeep.repair.streams;
    settings.upkeep.repair = RepairSettings { interval: rates.repair, streams };
    settings.upkeep.scrub_interval = rates.scrub;
    settings.upkeep.disowned_grace = rates.disowned_grace;
    settings.upkeep.gc = GcSettings {
        enabled: rates.gc.is_some(),
        interval: rates.gc.unwrap_or(settings.upkeep.gc.interval),
        min_age: rates.gc_min_age,
        batch: rates.gc_batch,
    };
}
