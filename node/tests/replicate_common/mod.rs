//! What the tests of replication share: nodes in one process, over real disks and loopback, in a view
//! that the test decides.
#![allow(dead_code, reason = "each test binary uses its part")]
#![allow(clippy::unwrap_used, reason = "a test panics when something is wrong")]
#![allow(clippy::disallowed_methods, reason = "a test looks at the folders from outside")]

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use atoll_core::{
    Algorithm, Digest,
    gc::GcEpoch,
    ring::{Points, Ring},
    view::{Epoch, Member, MemberState, NodeId, RingMode, View},
};
use atoll_node::{
    auth::Policy,
    cluster::Cluster,
    http::{Api, add_handed_on},
    io::{Io, clock::RealClock, disk::real::RealDisk, entropy::OsEntropy, net},
    metadata::{Metadata, MetadataSettings},
    registry::{Registry, RegistrySettings},
    replicate::{FetchError, FoundBlob, ReplicateSettings, Replicator, Stamped},
    rpc::blobs::BlobService,
    store::{BlobStore, StoreSettings},
    telemetry::HttpMetrics,
    tiers::{TierSettings, Tiers},
    wire::{Security, server::serve},
};
use bytes::Bytes;
use tokio_util::sync::CancellationToken;

/// The cluster's name.
pub const CLUSTER: &str = "test";

/// A node that can be stopped and started again on its folder and address.
pub struct TestNode {
    pub id: NodeId,
    pub address: SocketAddr,
    pub folder: tempfile::TempDir,
    life: Option<Life>,
}

struct Life {
    blobs: Replicator,
    api: Arc<Api>,
    stop: CancellationToken,
}

/// Some nodes, and the view that all of them hold.
pub struct Fleet {
    pub nodes: Vec<TestNode>,
    pub view: View,
    pub settings: ReplicateSettings,
    metadata: Metadata,
    _metadata_folder: tempfile::TempDir,
}

impl Fleet {
    /// `count` nodes, of which every blob goes to `replicas`.
    pub async fn start(count: u16, replicas: u8) -> Fleet {
        Fleet::start_with(count, replicas, ReplicateSettings::default()).await
    }

    pub async fn start_with(count: u16, replicas: u8, settings: ReplicateSettings) -> Fleet {
        let mut nodes = Vec::new();
        for id in 1..=count {
            let probe = net::listen((Ipv4Addr::LOCALHOST, 0).into(), 1).await.unwrap();
            let address = probe.local_addr().unwrap();
            let folder = tempfile::tempdir().unwrap();
            nodes.push(TestNode { id: NodeId(id), address, folder, life: None });
        }
        let view = view_of(&nodes, replicas);
        // The metadata is not what is tested here: all nodes share one.
        let metadata_folder = tempfile::tempdir().unwrap();
        let metadata =
            Metadata::open(io(metadata_folder.path()), MetadataSettings::default()).await.unwrap();
        let mut fleet =
            Fleet { nodes, view, settings, metadata, _metadata_folder: metadata_folder };
        for index in 0..fleet.nodes.len() {
            fleet.start_node(index).await;
        }
        fleet
    }

    pub async fn start_node(&mut self, index: usize) {
        let io = io(self.nodes[index].folder.path());
        let node = &mut self.nodes[index];
        let opened = BlobStore::open(io.clone(), PathBuf::new(), StoreSettings::default()).await;
        let tiers = Tiers::new(opened.unwrap().0, &TierSettings::default());
        let cluster = Cluster::new(node.id, 1, io.clock.clone(), self.view.clone());
        cluster.extend_lease(Duration::from_secs(1 << 30));
        let stamps = Arc::new(Stamped::new(tiers.store().clone(), self.metadata.clone()));
        let blobs = Replicator::open(io.clone(), cluster, tiers, stamps, self.settings);
        let blobs = blobs.await.unwrap();
        let policy = Policy { read_only: false };
        let settings = RegistrySettings::default();
        let registry = Registry::new(blobs.clone(), self.metadata.clone(), policy, settings);
        let metrics = Arc::new(HttpMetrics::default());
        let api = Arc::new(Api::new(registry, io, metrics));
        let routes = tonic::service::Routes::new(BlobService::server(blobs.clone()));
        let routes = add_handed_on(routes, api.clone());
        let listener = net::listen(node.address, net::BACKLOG).await.unwrap();
        let stop = CancellationToken::new();
        tokio::spawn(serve(listener, routes, Security::plaintext(), stop.clone()));
        node.life = Some(Life { blobs, api, stop });
    }

    /// Ends a node as a crash does, but for its disk: its connections break.
    pub async fn kill(&mut self, id: NodeId) {
        let node = &mut self.nodes[usize::from(id.0) - 1];
        let life = node.life.take().unwrap();
        life.stop.cancel();
        drop(life);
        // The listener is gone when nobody takes connections any more.
        while net::connect(node.address, Duration::from_millis(100)).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Starts a killed node again.
    pub async fn revive(&mut self, id: NodeId) {
        // What the killed node still had open must be gone first: its disk is locked.
        for _ in 0..500 {
            let path = self.nodes[usize::from(id.0) - 1].folder.path();
            if RealDisk::open(path).is_ok() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.start_node(usize::from(id.0) - 1).await;
    }

    pub fn blobs(&self, id: NodeId) -> &Replicator {
        &self.node(id).life.as_ref().unwrap().blobs
    }

    pub fn api(&self, id: NodeId) -> Arc<Api> {
        self.node(id).life.as_ref().unwrap().api.clone()
    }

    pub fn node(&self, id: NodeId) -> &TestNode {
        &self.nodes[usize::from(id.0) - 1]
    }

    pub fn alive(&self) -> Vec<NodeId> {
        self.nodes.iter().filter(|node| node.life.is_some()).map(|node| node.id).collect()
    }

    /// Makes every living node adopt the next view, as `change` makes it.
    pub fn next_view(&mut self, change: impl FnOnce(&mut View)) {
        change(&mut self.view);
        self.view.epoch = Epoch(self.view.epoch.0 + 1);
        for node in &self.nodes {
            if let Some(life) = &node.life {
                assert!(life.blobs.cluster().adopt(self.view.clone()));
            }
        }
    }

    /// Says in the next view that a node is up or not.
    pub fn set_state(&mut self, id: NodeId, state: MemberState) {
        self.next_view(|view| view.members.get_mut(&id).unwrap().state = state);
    }

    /// The acting owners, the master first.
    pub fn owners(&self, digest: &Digest) -> Vec<NodeId> {
        self.view.acting(digest)
    }

    /// A node that is no owner.
    pub fn stranger(&self, digest: &Digest) -> NodeId {
        let owners = self.owners(digest);
        self.nodes.iter().map(|node| node.id).find(|id| !owners.contains(id)).unwrap()
    }

    /// The living nodes whose store has the blob.
    pub async fn holders(&self, digest: &Digest) -> Vec<NodeId> {
        let mut holders = Vec::new();
        for id in self.alive() {
            if let Ok(Some(_)) = self.blobs(id).tiers().store().stat(digest).await {
                holders.push(id);
            }
        }
        holders
    }

    /// Waits until exactly these nodes hold the blob.
    pub async fn until_held_by(&self, digest: &Digest, nodes: &[NodeId]) {
        let mut nodes = nodes.to_vec();
        nodes.sort();
        for _ in 0..500 {
            if self.holders(digest).await == nodes {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("held by {:?}, not by {nodes:?}", self.holders(digest).await);
    }
}

impl TestNode {
    /// The file of a blob.
    pub fn blob_file(&self, digest: &Digest) -> PathBuf {
        let hex = digest.hex();
        let shard = PathBuf::from("blobs").join(digest.algorithm().name()).join(&hex[..2]);
        self.folder.path().join(shard).join(hex).join("data")
    }

    /// The names in one of the node's folders.
    pub fn names_in(&self, folder: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder.path().join(folder)).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    /// Waits until nothing is left of unfinished uploads.
    pub async fn until_no_uploads(&self) {
        for _ in 0..500 {
            if self.names_in("uploads").is_empty() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("node {} keeps uploads {:?}", self.id, self.names_in("uploads"));
    }
}

pub fn io(folder: &std::path::Path) -> Io {
    Io {
        clock: Arc::new(RealClock::new()),
        disk: Arc::new(RealDisk::open(folder).unwrap()),
        entropy: Arc::new(OsEntropy),
    }
}

fn view_of(nodes: &[TestNode], replicas: u8) -> View {
    const POINTS: usize = 256;
    let member = |node: &TestNode| Member {
        name: format!("n{}", node.id),
        incarnation: 1,
        http: String::new(),
        grpc: node.address.to_string(),
        zone: String::new(),
        weight: 1,
        state: MemberState::Up,
    };
    let members: BTreeMap<_, _> = nodes.iter().map(|node| (node.id, member(node))).collect();
    let owners = (0..POINTS).map(|point| nodes[point % nodes.len()].id).collect();
    let zones = members.keys().map(|id| (*id, String::new())).collect();
    View {
        cluster_id: CLUSTER.to_owned(),
        epoch: Epoch(1),
        since: Epoch(1),
        replicas,
        mode: RingMode::Assigned { points: POINTS as u32 },
        next_node: NodeId(nodes.len() as u16 + 1),
        members,
        ring: Arc::new(Ring::new(Points::Assigned { owners }, zones)),
        open: Vec::new(),
    }
}

/// Content that differs from seed to seed and from byte to byte.
pub fn content(len: usize, seed: u64) -> Bytes {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes.into()
}

pub fn sha256(content: &[u8]) -> Digest {
    Digest::of(Algorithm::Sha256, content)
}

/// Content whose master is not among `but`, and whose owners do not include them either.
pub fn content_owned_without(fleet: &Fleet, len: usize, but: &[NodeId]) -> (Bytes, Digest) {
    for seed in 1.. {
        let content = content(len, seed);
        let digest = sha256(&content);
        if fleet.owners(&digest).iter().all(|owner| !but.contains(owner)) {
            return (content, digest);
        }
    }
    unreachable!("seeds do not end");
}

/// Pushes through an upload session, in pieces.
pub async fn push(blobs: &Replicator, content: &Bytes, digest: &Digest) {
    let repo = "team/app".parse().unwrap();
    let store = blobs.tiers().store();
    let id = store.create_upload(&repo, digest.algorithm()).unwrap();
    let mut writer = store.upload(&repo, id).unwrap();
    for start in (0..content.len()).step_by(300_000) {
        let end = content.len().min(start + 300_000);
        writer.write(content.slice(start..end)).await.unwrap();
    }
    let info = blobs.commit(writer, digest, None, GcEpoch(0)).await.unwrap();
    assert_eq!(info.size, content.len() as u64);
}

/// Reads `[start, end)` of what was found.
pub async fn read(blob: &FoundBlob, start: u64, end: u64) -> Result<Bytes, FetchError> {
    let mut stream = blob.stream(start, end);
    let mut all = Vec::new();
    while let Some(bytes) = stream.next().await? {
        assert!(!bytes.is_empty());
        all.extend_from_slice(&bytes);
    }
    Ok(all.into())
}

/// The whole blob, as node `blobs` reads it.
pub async fn pull(blobs: &Replicator, digest: &Digest, size: usize) -> Result<Bytes, FetchError> {
    let found = blobs.open_blob(digest, size as u64).await?;
    assert_eq!(found.size(), size as u64);
    read(&found, 0, size as u64).await
}
