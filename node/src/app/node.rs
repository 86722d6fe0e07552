//! One running node: opens what is on disk, serves, and stops in order.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, OnceLock},
    time::Duration,
};

use anyhow::Context as _;
use atoll_core::{Algorithm, Digest};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use super::{
    belonging::{Addresses, Belonging, ClusterSettings, Membership, is_member},
    gauges, identity,
    operating::{self, Operating},
    upkeep::{Upkeep, UpkeepSettings},
};
use crate::{
    admin::{self, AdminState, Check, CheckState, Health, OperatorService},
    auth::Policy,
    background::{gc::holder::Holder, own::Own},
    cluster::{Cluster, SessionSlot, sync::SyncReports},
    config::{Config, NodeName, Secret},
    http::{self, Answers, Api, Limits, Patience, Serving, add_handed_on},
    io::{Io, net},
    metadata::MetadataSettings,
    registry::{Registry, RegistrySettings},
    replicate::{ReplicateSettings, Replicator, Stamped},
    rpc::{blobs::BlobService, gc::GcService, repair::RepairService},
    store::{BlobStore, Reaper, StoreSettings, SumKey},
    telemetry::{HttpMetrics, Metrics},
    tiers::{TierSettings, Tiers, arena::Arenas},
};

/// Everything a node is told, typed and checked.
#[derive(Clone, Debug)]
pub struct NodeSettings {
    /// The node's name, if the operator gave it one.
    pub id: Option<NodeName>,
    /// Where the public API is served.
    pub http: SocketAddr,
    /// Where probes and metrics are served, and the admin API.
    pub admin: SocketAddr,
    /// May other machines change the cluster through the admin API?
    pub admin_allow_remote: bool,
    /// Threads for connections of the public API.
    pub connection_threads: usize,
    /// Bounds of both listeners.
    pub limits: Limits,
    /// Is every change refused?
    pub read_only: bool,
    /// Decisions about the registry.
    pub registry: RegistrySettings,
    /// Decisions about copies on other nodes.
    pub replicate: ReplicateSettings,
    /// Bounds of the blob store.
    pub store: StoreSettings,
    /// Bounds of the memory tier.
    pub tiers: TierSettings,
    /// Bounds of the metadata groups.
    pub metadata: MetadataSettings,
    /// How the node belongs to its cluster.
    pub cluster: ClusterSettings,
    /// What it does when nobody asks.
    pub upkeep: UpkeepSettings,
}

impl From<&Config> for NodeSettings {
    fn from(config: &Config) -> Self {
        let http = &config.http;
        NodeSettings {
            id: config.node.id.clone(),
            http: http.listen,
            admin: config.admin.listen,
            admin_allow_remote: config.admin.allow_remote,
            connection_threads: match http.threads {
                0 => std::thread::available_parallelism().map_or(1, usize::from),
                threads => threads,
            },
            limits: Limits {
                patience: Patience {
                    header_timeout: http.header_timeout,
                    idle_timeout: http.idle_timeout,
                    min_rate_bytes_per_second: http.min_rate_bytes_per_second,
                    min_rate_grace: http.min_rate_grace,
                },
                connections_max: http.connections_max,
                connections_per_address_max: http.connections_per_address_max,
                header_bytes_max: usize::try_from(http.header_bytes_max.bytes())
                    .unwrap_or(usize::MAX),
                header_fields_max: http.header_fields_max,
                streams_max: http.streams_max,
                drain_timeout: http.drain_timeout,
            },
            read_only: config.registry.read_only,
            registry: RegistrySettings {
                delete_enabled: config.registry.delete_enabled,
                protected_tags: config.registry.protected_tags.clone(),
                sparse_manifests: config.registry.sparse_manifests,
                manifest_bytes_max: usize::try_from(config.registry.manifest_bytes_max.bytes())
                    .unwrap_or(usize::MAX),
                page_entries_max: config.registry.page_size_max,
                tags_per_push_max: config.registry.tags_per_push_max,
                stale_pulls: config.registry.stale_pulls,
                removal_wait: config.cluster.session_timeout + REMOVAL_SLACK,
            },
            replicate: ReplicateSettings { consistency: config.registry.consistency },
            store: StoreSettings {
                blob_bytes_max: config.storage.blob_bytes_max.bytes(),
                session_idle_max: config.storage.upload_idle_timeout,
                sessions_max: config.storage.upload_sessions_max,
                session_bytes_max: config.storage.upload_bytes_max.bytes(),
                disk_reserve_percent: config.storage.reserve_percent,
                ..StoreSettings::default()
            },
            tiers: TierSettings {
                object_cache_bytes: config.cache.bytes.bytes(),
                object_bytes_max: config.cache.buffer_object_max.bytes(),
                window_cache_bytes: config.cache.window_bytes.bytes(),
            },
            metadata: MetadataSettings {
                groups: config.metadata.groups,
                snapshot_interval: config.metadata.snapshot_entries,
                ..MetadataSettings::default()
            },
            cluster: ClusterSettings::from(config),
            upkeep: UpkeepSettings::from(config),
        }
    }
}

/// How much longer than a session a removal waits for a silent member: the coordination service ends
/// sessions at its ticks of half a second, and the view follows.
const REMOVAL_SLACK: Duration = Duration::from_secs(1);

/// How long the background tasks of a node may take to end.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// A running node.
#[derive(Debug)]
pub struct Node {
    http: SocketAddr,
    admin: SocketAddr,
    grpc: SocketAddr,
    health: Health,
    api: Arc<Api>,
    cluster: Cluster,
    membership: Membership,
    stop_public: CancellationToken,
    stop_admin: CancellationToken,
    public: JoinHandle<std::io::Result<usize>>,
    operators: JoinHandle<std::io::Result<usize>>,
    reaper: JoinHandle<()>,
    deliverer: JoinHandle<()>,
    upkeep: Upkeep,
}

impl Node {
    /// Opens the data folder behind `io` and serves it. Returns when the node is ready.
    ///
    /// # Errors
    /// A listener's address is taken, or what is on the disk cannot be opened.
    pub async fn start(io: Io, settings: NodeSettings) -> anyhow::Result<Node> {
        let health = Health::new();
        let metrics = Metrics::new();
        let stop_public = CancellationToken::new();
        let stop_admin = CancellationToken::new();
        // Probes are answered from the first moment: opening a large store takes its time.
        let operators = net::listen(settings.admin, net::BACKLOG).await?;
        let admin = operators.local_addr()?;
        let state = AdminState {
            health: health.clone(),
            metrics: metrics.clone(),
            operator: Arc::default(),
            allow_remote: settings.admin_allow_remote,
        };
        let operator_slot = state.operator.clone();
        let operators = tokio::spawn(http::serve(
            Serving {
                name: "admin",
                answers: Answers::Router(admin::router(state)),
                threads: 1,
                limits: settings.limits,
                clock: io.clock.clone(),
                arenas: Arenas::default(),
                metrics: Arc::new(HttpMetrics::default()),
            },
            operators,
            stop_admin.clone(),
        ));
        // Bound early, so that a taken port is known before the disk is opened; clients that come
        // now wait in the kernel's queue.
        let public = net::listen(settings.http, net::BACKLOG).await?;
        let http = public.local_addr()?;
        let internal = net::listen(settings.cluster.listen, net::BACKLOG).await?;
        let grpc = internal.local_addr()?;
        let id = establish(&io, settings.id.clone()).await?;
        let addresses = Addresses::of(&settings.cluster, grpc, http);
        let belonging = Belonging::begin(
            &io,
            settings.cluster.clone(),
            &id,
            addresses,
            settings.metadata.clone(),
        );
        let belonging = belonging.await?;
        let sum_key = sum_key(belonging.metadata.cluster_id());
        let tiers = open_store(&io, &settings, sum_key, &health).await?;
        let (cluster, metadata) = (belonging.cluster.clone(), belonging.metadata.clone());
        health.set(Check::Metadata, CheckState::Ready);
        gauges::add(&metrics, tiers.clone(), metadata.clone());
        let started = io.clock.monotonic();
        let reaper = tokio::spawn(reap(tiers.store().clone(), stop_public.clone()));
        let arenas = tiers.arenas();
        let policy = Policy { read_only: settings.read_only };
        let clock = io.clock.clone();
        let stamps = Arc::new(Stamped::new(tiers.store().clone(), metadata.clone()));
        let blobs =
            Replicator::open(io.clone(), cluster.clone(), tiers, stamps, settings.replicate);
        let blobs = blobs.await.context("open the records of copies that are owed")?;
        let deliverer = tokio::spawn(deliver(blobs.clone(), stop_public.clone()));
        gauges::add_cluster(&metrics, blobs.clone(), metadata.clone());
        let registry = Registry::new(blobs.clone(), metadata.clone(), policy, settings.registry);
        let api = Api::new(registry, io.clone(), metrics.http().clone());
        let api = Arc::new(api);
        let workers = Arc::new(OnceLock::new());
        let operator = operating::operator(Operating {
            io,
            session: belonging.session.clone(),
            metadata: metadata.clone(),
            api: api.clone(),
            blobs: blobs.clone(),
            workers: workers.clone(),
            started,
        });
        let holdings = Arc::new(Own::new(blobs.clone()));
        let holder = Holder::new(blobs.tiers().store().clone(), metadata.clone());
        let services = Routes::new(BlobService::server(blobs.clone()))
            .add_service(RepairService::server(cluster.clone(), holdings))
            .add_service(GcService::server(cluster.clone(), holder))
            .add_service(OperatorService::server(operator.clone()));
        // It is set here only.
        let _ = operator_slot.set(operator);
        let services = add_handed_on(services, api.clone());
        let reports = SyncReports::default();
        let membership = belonging.become_member(internal, services, &reports)?;
        let upkeep = Upkeep::start(
            api.io(),
            &blobs,
            metadata.clone(),
            reports,
            metrics.http().clone(),
            settings.upkeep,
            &stop_public,
        );
        gauges::add_gc(&metrics, upkeep.workers.gc.clone());
        gauges::add_repair(&metrics, upkeep.workers.status.clone(), api.io().clock.clone());
        // It is set here only.
        let _ = workers.set(upkeep.workers.clone());
        let serving = Serving {
            name: "public",
            answers: Answers::Api(api.clone()),
            threads: settings.connection_threads,
            limits: settings.limits,
            clock,
            arenas,
            metrics: metrics.http().clone(),
        };
        let public = tokio::spawn(http::serve(serving, public, stop_public.clone()));
        health.set(Check::Listener, CheckState::Ready);
        if membership.wait().await {
            health.set(Check::Cluster, CheckState::Ready);
            tracing::info!(%id, node = %cluster.me(), %http, %grpc, %admin, "node is ready");
        } else {
            tracing::warn!(%id, node = %cluster.me(), %http, %grpc, %admin, "no member yet");
            tokio::spawn(ready_later(health.clone(), cluster.clone(), stop_public.clone()));
        }
        Ok(Node {
            http,
            admin,
            grpc,
            health,
            api,
            cluster,
            membership,
            stop_public,
            stop_admin,
            public,
            operators,
            reaper,
            deliverer,
            upkeep,
        })
    }

    /// What this node knows of its cluster.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// The session of this node in group 0.
    pub fn session(&self) -> &SessionSlot {
        self.membership.session()
    }

    /// Where other nodes are answered.
    pub fn grpc(&self) -> SocketAddr {
        self.grpc
    }

    /// Where the public API is served.
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// Where probes and metrics are served.
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// Stops: takes no more requests, lets open ones end under the drain deadline, keeps what
    /// unfinished uploads have received, closes the metadata.
    pub async fn stop(self) {
        self.health.drain();
        self.stop_public.cancel();
        let cut_off = match self.public.await.map_err(std::io::Error::other).flatten() {
            Ok(cut_off) => cut_off,
            Err(error) => {
                tracing::error!(%error, "public listener ended early");
                0
            }
        };
        let kept = self.api.registry().tiers().store().checkpoint_all().await;
        tracing::info!(sessions = kept.sessions_saved, cut_off, "unfinished uploads kept");
        self.membership.end().await;
        self.api.registry().metadata().shutdown().await;
        self.stop_admin.cancel();
        let ends = async {
            _ = tokio::join!(self.operators, self.reaper, self.deliverer, self.upkeep.end())
        };
        if tokio::time::timeout(STOP_TIMEOUT, ends).await.is_err() {
            tracing::warn!("background tasks did not end in time");
        }
        tracing::info!("node stopped");
    }
}

/// Notes that the node is ready once the cluster has it.
async fn ready_later(health: Health, cluster: Cluster, stop: CancellationToken) {
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        () = is_member(&cluster) => {
            health.set(Check::Cluster, CheckState::Ready);
            tracing::info!(node = %cluster.me(), "node is ready");
        }
    }
}

async fn establish(io: &Io, configured: Option<NodeName>) -> anyhow::Result<NodeName> {
    let entropy = io.entropy.clone();
    let name = io
        .disk_op(move |disk| {
            identity::establish(disk.as_ref(), entropy.as_ref(), configured.as_ref())
        })
        .await;
    name.context("keep the node's name in its data folder")
}

/// What the sums of this cluster's nodes are keyed with.
fn sum_key(cluster_id: &str) -> SumKey {
    let digest = Digest::of(Algorithm::Sha256, format!("sums of {cluster_id}").as_bytes());
    *digest.as_bytes().first_chunk().expect("a hash of 32 bytes begins with 16")
}

async fn open_store(
    io: &Io,
    settings: &NodeSettings,
    sum_key: SumKey,
    health: &Health,
) -> anyhow::Result<Tiers> {
    let store = StoreSettings { sum_key, ..settings.store.clone() };
    let opened = BlobStore::open(io.clone(), PathBuf::new(), store).await;
    let (store, recovered) = opened.context("open the blob store")?;
    tracing::info!(?recovered, "blob store opened");
    health.set(Check::Storage, CheckState::Ready);
    Ok(Tiers::new(store, &settings.tiers))
}

async fn reap(store: BlobStore, stop: CancellationToken) {
    let reaper = Reaper::new(store);
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = reaper.wait() => {}
        }
        reaper.work().await;
    }
}

async fn deliver(blobs: Replicator, stop: CancellationToken) {
    blobs.deliver_until(stop).await;
}

/// Runs a node on the real machine until `shutdown`.
///
/// # Errors
/// The node does not start; the text says which part and why.
pub async fn serve(config: Config, shutdown: impl Future<Output = ()>) -> anyhow::Result<()> {
    let data_dir = &config.node.data_dir;
    let io = Io::real(data_dir)
        .with_context(|| format!("open the data folder `{}`", data_dir.display()))?;
    let mut settings = NodeSettings::from(&config);
    if let Some(file) = &config.cluster.token_file {
        // A node that has joined long ago needs no token; one that joins will say what it lacks.
        match Secret::read(file) {
            Ok(token) => settings.cluster.token = Some(token),
            Err(error) => tracing::warn!(file = %file.display(), %error, "no join token"),
        }
    }
    let mut shutdown = std::pin::pin!(shutdown);
    // A node that waits to be let into a cluster can be stopped meanwhile.
    let node = tokio::select! {
        biased;
        () = &mut shutdown => return Ok(()),
        node = Node::start(io, settings) => node?,
    };
    shutdown.await;
    node.stop().await;
    Ok(())
}
