//! Nodes of the embedded coordinator within this process.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    sync::Arc,
    time::Duration,
};

use atoll_node::{
    coordination::embedded::{Embedded, EmbeddedSettings},
    io::{Clock, Io, clock::RealClock, disk::real::RealDisk, entropy::SimEntropy, net},
    metadata::{COORDINATION, Metadata, MetadataSettings, NodeId},
    rpc::{
        coordination::CoordinationService,
        raft::{RaftPeers, RaftService},
    },
    wire::{Security, server::serve},
};
use tokio_util::sync::CancellationToken;

const CLUSTER: &str = "test";

/// A node that can be stopped and started again on its folder and address.
pub struct Node {
    pub id: NodeId,
    pub address: SocketAddr,
    folder: tempfile::TempDir,
    voters: BTreeMap<NodeId, String>,
    found: bool,
    life: Option<Life>,
}

struct Life {
    metadata: Metadata,
    coordinator: Embedded,
    stop: CancellationToken,
}

/// The seams over a folder, once an earlier life has let go of it.
async fn real_io(folder: &Path, seed: u64) -> Io {
    let mut opened = RealDisk::open(folder);
    for _ in 0..100 {
        if opened.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        opened = RealDisk::open(folder);
    }
    let disk = Arc::new(opened.unwrap());
    Io { clock: Arc::new(RealClock::new()), disk, entropy: Arc::new(SimEntropy::new(seed)) }
}

impl Node {
    pub async fn start(&mut self) {
        let peers = Arc::new(RaftPeers::new(CLUSTER, self.id, Security::plaintext()));
        let io = real_io(self.folder.path(), self.id).await;
        let clock: Arc<dyn Clock> = io.clock.clone();
        let settings = MetadataSettings {
            node: self.id,
            voters: self.voters.clone(),
            found: self.found,
            cluster_id: CLUSTER.to_owned(),
            // The machine that runs the tests may be busy.
            heartbeat_interval: Duration::from_millis(100),
            election_timeout_min: Duration::from_millis(600),
            election_timeout_max: Duration::from_millis(1200),
            snapshot_interval: 64,
            entries_kept: 8,
            ..Default::default()
        };
        let metadata = Metadata::open_among(io, settings, peers).await.unwrap();
        let stop = CancellationToken::new();
        let node = u16::try_from(self.id).unwrap();
        let settings = EmbeddedSettings { node, ..Default::default() };
        let security = Security::plaintext();
        let coordinator =
            Embedded::start(metadata.clone(), clock, security.clone(), settings, stop.clone());
        let coordinator = coordinator.unwrap();
        let mut routes = tonic::service::Routes::builder();
        routes.add_service(RaftService::server(metadata.clone()));
        routes.add_service(CoordinationService::server(coordinator.clone()));
        let listener = net::listen(self.address, net::BACKLOG).await.unwrap();
        tokio::spawn(serve(listener, routes.routes(), security, stop.clone()));
        self.life = Some(Life { metadata, coordinator, stop });
    }

    pub async fn stop(&mut self) {
        let life = self.life.take().unwrap();
        life.stop.cancel();
        life.metadata.shutdown().await;
    }

    pub fn is_up(&self) -> bool {
        self.life.is_some()
    }

    pub fn metadata(&self) -> &Metadata {
        &self.life.as_ref().unwrap().metadata
    }

    pub fn coordinator(&self) -> &Embedded {
        &self.life.as_ref().unwrap().coordinator
    }
}

/// Addresses nobody uses now.
async fn addresses(count: usize) -> Vec<SocketAddr> {
    let mut listeners = Vec::new();
    for _ in 0..count {
        listeners.push(net::listen((Ipv4Addr::LOCALHOST, 0).into(), 1).await.unwrap());
    }
    listeners.iter().map(|listener| listener.local_addr().unwrap()).collect()
}

fn node(id: NodeId, address: SocketAddr, voters: BTreeMap<NodeId, String>, found: bool) -> Node {
    Node { id, address, folder: tempfile::tempdir().unwrap(), voters, found, life: None }
}

/// Three voters, and a leader among them.
pub async fn three() -> Vec<Node> {
    let addresses = addresses(3).await;
    let voters: BTreeMap<_, _> =
        (1..).zip(&addresses).map(|(id, address)| (id, address.to_string())).collect();
    let mut nodes = Vec::new();
    for (id, address) in (1..).zip(addresses) {
        let mut node = node(id, address, voters.clone(), true);
        node.start().await;
        nodes.push(node);
    }
    leader(&nodes).await;
    nodes
}

/// A node that is no member of anything yet.
pub async fn joiner(id: NodeId) -> Node {
    let address = addresses(1).await[0];
    let mut node = node(id, address, BTreeMap::new(), false);
    node.start().await;
    node
}

/// The place of the node that leads group 0, confirmed by a quorum.
pub async fn leader(nodes: &[Node]) -> usize {
    for _ in 0..600 {
        for (at, node) in nodes.iter().enumerate() {
            if node.is_up()
                && node.metadata().is_leader(COORDINATION)
                && matches!(node.metadata().led_term(COORDINATION).await, Ok(Some(_)))
            {
                return at;
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("nobody leads");
}

pub async fn stop_all(mut nodes: Vec<Node>) {
    for node in nodes.iter_mut().filter(|node| node.is_up()) {
        node.stop().await;
    }
}
