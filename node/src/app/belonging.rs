//! How a node comes to belong to its cluster: who it is, by which door it came in, and the tasks
//! that keep it a member.
//!
//! Three beginnings. A folder that is new and is told of no cluster founds one. A folder that is new
//! and is told of members joins them: it asks until it is let in, and only then has anything on its
//! disk. A folder that has been in use goes on; a join that was configured then is of no interest.
//! A folder from before there were clusters becomes a cluster of one.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use atoll_core::{
    coordination,
    view::{Epoch, Intent, MemberRecord, MemberState, NodeId, Registration, View},
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use crate::{
    cluster::{
        Cluster, SessionSlot,
        autopilot::Autopilot,
        founding::Founding,
        gossip,
        identity::{self, Identity, JoinNonce, Kept},
        join::{self, Newcomer, admission::Admission},
        keeper::Keeper,
        registrar::Registrar,
        sync::SyncReports,
        znodes,
    },
    config::{Config, HostPort, NodeName, RingLayout, Secret, TlsPolicy, address::is_loopback},
    coordination::embedded::{Embedded, EmbeddedSettings},
    io::{Io, net::Listener, rt::blocking},
    metadata::{Metadata, MetadataSettings},
    rpc::{
        cluster::{GossipService, MembershipService, ViewsService},
        coordination::CoordinationService,
        raft::{RaftPeers, RaftService},
    },
    wire::{self, Security},
};

/// The longest time a start waits for the node to be in a view. After that the node serves what it
/// can and becomes ready when the cluster lets it.
const MEMBER_WAIT: Duration = Duration::from_secs(10);

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

/// A node that knows who it is, with its groups open.
#[derive(Debug)]
pub struct Belonging {
    /// The handle for everything above.
    pub cluster: Cluster,
    /// The Raft groups.
    pub metadata: Metadata,
    /// The session of this node in group 0.
    pub session: SessionSlot,
    io: Io,
    settings: ClusterSettings,
    addresses: Addresses,
    groups: u16,
    founding: Option<Founding>,
}

impl Belonging {
    /// Finds out who this node is, joining a cluster if it must, and opens its Raft groups.
    ///
    /// # Errors
    /// The disk, a cluster that does not let it in, groups that do not open.
    pub async fn begin(
        io: &Io,
        settings: ClusterSettings,
        name: &NodeName,
        addresses: Addresses,
        mut metadata: MetadataSettings,
    ) -> anyhow::Result<Belonging> {
        let security = security(&settings, addresses)?;
        let record = MemberRecord {
            name: name.as_str().to_owned(),
            http: addresses.http.to_string(),
            grpc: addresses.grpc.to_string(),
            zone: settings.zone.clone(),
            weight: settings.weight,
            intent: Intent::In,
        };
        let (identity, joined_view) =
            identify(io, &settings, &record, addresses, &security).await?;
        let me = identity.node;
        if let Some(groups) = identity.groups {
            metadata.groups = groups;
        }
        metadata.node = u64::from(me.0);
        metadata.cluster_id.clone_from(&identity.cluster_id);
        metadata.voters = [(u64::from(me.0), record.grpc.clone())].into();
        metadata.found = identity.groups.is_none();
        let groups = metadata.groups;
        let peers = RaftPeers::new(identity.cluster_id.clone(), u64::from(me.0), security.clone());
        let metadata = Metadata::open_among(io.clone(), metadata, Arc::new(peers))
            .await
            .context("open the metadata")?;
        let founding = Founding {
            cluster_id: identity.cluster_id.clone(),
            replicas: settings.replicas,
            points: settings.points,
            record,
        };
        let view = match kept_view(&metadata).await {
            Some(view) => view,
            None => joined_view.unwrap_or_else(|| before_any(&founding, me)),
        };
        let cluster = Cluster::secured(me, identity.incarnation, io.clock.clone(), view, security);
        let founding = identity.groups.is_none().then_some(founding);
        let session = SessionSlot::default();
        let io = io.clone();
        Ok(Belonging { cluster, metadata, session, io, settings, addresses, groups, founding })
    }

    /// Answers other nodes on `listener`, with `services` beside those of the cluster itself, and
    /// becomes a member.
    ///
    /// # Errors
    /// The tree on this node cannot be read.
    pub fn become_member(
        self,
        listener: Listener,
        services: Routes,
        reports: &SyncReports,
    ) -> anyhow::Result<Membership> {
        let (stop, stop_session) = (CancellationToken::new(), CancellationToken::new());
        let Belonging { cluster, metadata, session, io, settings, .. } = self;
        let inbox = gossip::start(cluster.clone(), &io, stop.clone());
        let admission = Admission {
            cluster: cluster.clone(),
            session: session.clone(),
            io: io.clone(),
            groups: self.groups,
        };
        let security = cluster.security().clone();
        let embedded = EmbeddedSettings {
            node: cluster.me().0,
            incarnation: cluster.incarnation(),
            heartbeat_interval: settings.heartbeat,
            ..EmbeddedSettings::default()
        };
        let (clock, groups) = (io.clock.clone(), metadata.clone());
        let coordination = Embedded::start(groups, clock, security.clone(), embedded, stop.clone());
        let coordination = coordination.context("open the coordination service")?;
        let services = services
            .add_service(RaftService::server(metadata.clone()))
            .add_service(CoordinationService::server(coordination.clone()))
            .add_service(MembershipService::server(admission))
            .add_service(ViewsService::server(cluster.clone()))
            .add_service(GossipService::server(cluster.clone(), inbox));
        let listening =
            tokio::spawn(wire::server::serve(listener, services, security, stop.clone()));
        let registrar = Registrar {
            cluster: cluster.clone(),
            coordinator: Arc::new(coordination),
            session_timeout: settings.session_timeout,
            registration: Registration {
                incarnation: cluster.incarnation(),
                http: self.addresses.http.to_string(),
                grpc: self.addresses.grpc.to_string(),
            },
            founding: self.founding,
            token: settings.token.filter(|_| settings.join.is_empty()),
            io: io.clone(),
            session: session.clone(),
        };
        let registered = tokio::spawn(registrar.run(stop_session.clone()));
        let keeper = Keeper {
            cluster: cluster.clone(),
            io: io.clone(),
            session: session.clone(),
            metadata: metadata.clone(),
            down_out_interval: settings.down_out_interval,
        };
        let autopilot = Autopilot {
            cluster: cluster.clone(),
            io,
            session: session.clone(),
            metadata,
            voter_out_interval: settings.voter_out_interval,
        };
        let reporting = reports.clone().run(cluster.clone(), session.clone(), stop.clone());
        let tasks = vec![
            listening,
            tokio::spawn(reporting),
            tokio::spawn(keeper.run(stop.clone())),
            tokio::spawn(autopilot.run(stop.clone())),
        ];
        Ok(Membership { cluster, stop, stop_session, registered, tasks })
    }
}

/// A node on its way to be a member, or one.
#[derive(Debug)]
pub struct Membership {
    cluster: Cluster,
    stop: CancellationToken,
    stop_session: CancellationToken,
    registered: JoinHandle<()>,
    tasks: Vec<JoinHandle<()>>,
}

impl Membership {
    /// Waits until this start of the node is up in a view, but not for ever; answers whether it is.
    pub async fn wait(&self) -> bool {
        tokio::time::timeout(MEMBER_WAIT, is_member(&self.cluster)).await.is_ok()
    }

    /// Tells the others at once that this node is gone, then ends every task.
    pub async fn end(self) {
        self.stop_session.cancel();
        let _ = self.registered.await;
        self.stop.cancel();
        for task in self.tasks {
            let _ = task.await;
        }
    }
}

/// Waits until this start of the node is up in a view.
pub async fn is_member(cluster: &Cluster) {
    let (me, incarnation) = (cluster.me(), cluster.incarnation());
    let mut views = cluster.views();
    let member = views.wait_for(|view| {
        let member = view.members.get(&me);
        member.is_some_and(|member| member.is_up() && member.incarnation == incarnation)
    });
    // The sender lives as long as the handle.
    let _ = member.await;
}

/// Plain text only where nobody can listen in, or where the operator accepts it.
fn security(settings: &ClusterSettings, addresses: Addresses) -> anyhow::Result<Security> {
    let private = is_loopback(&settings.listen) && is_loopback(&addresses.grpc);
    if private && settings.tls == TlsPolicy::Auto {
        return Ok(Security::plaintext());
    }
    if settings.insecure && settings.tls == TlsPolicy::Auto {
        tracing::warn!(
            listen = %settings.listen,
            "nodes speak plain text on a network: cluster.insecure is set"
        );
        return Ok(Security::plaintext());
    }
    anyhow::bail!("TLS between nodes is not wired up yet; set cluster.insecure = true")
}

/// Who this node is; for one that has just joined, with a view to begin with.
async fn identify(
    io: &Io,
    settings: &ClusterSettings,
    record: &MemberRecord,
    addresses: Addresses,
    security: &Security,
) -> anyhow::Result<(Identity, Option<View>)> {
    let (kept, in_use) = io
        .disk_op(|disk| {
            let in_use = disk.list(Path::new("metadata")).is_ok();
            identity::read(disk.as_ref()).map(|kept| (kept, in_use))
        })
        .await?;
    let nonce = match kept {
        Kept::Member(identity) => {
            let incarnation = identity.incarnation + 1;
            let identity = Identity { incarnation, ..identity };
            keep(io, &identity).await?;
            return Ok((identity, None));
        }
        Kept::Nothing if settings.join.is_empty() || in_use => {
            let identity = Identity::founder(io.entropy.as_ref());
            keep(io, &identity).await?;
            return Ok((identity, None));
        }
        Kept::Joining(nonce) => nonce,
        Kept::Nothing => JoinNonce::draw(io.entropy.as_ref()),
    };
    io.disk_op(move |disk| identity::write_joining(disk.as_ref(), nonce)).await?;
    let newcomer = Newcomer {
        seeds: settings.join.clone(),
        token: settings.token.clone(),
        nonce,
        name: record.name.clone(),
        http: addresses.http,
        grpc: addresses.grpc,
        zone: settings.zone.clone(),
        weight: settings.weight,
    };
    let joined = join::join(&newcomer, security, io.clock.as_ref()).await?;
    let identity = Identity {
        cluster_id: joined.cluster_id,
        node: joined.node,
        incarnation: 1,
        groups: Some(joined.groups),
    };
    keep(io, &identity).await?;
    tracing::info!(cluster = identity.cluster_id, node = %identity.node, "joined");
    Ok((identity, Some(joined.view)))
}

async fn keep(io: &Io, identity: &Identity) -> std::io::Result<()> {
    let identity = identity.clone();
    io.disk_op(move |disk| identity::write_member(disk.as_ref(), &identity)).await
}

/// The newest view that this node had applied.
async fn kept_view(metadata: &Metadata) -> Option<View> {
    let snapshot = metadata.coordination_snapshot().ok()?;
    let found = blocking(move || {
        let path = coordination::path::Path::parse(znodes::VIEW).ok()?;
        coordination::query::get(&snapshot, path).ok()?
    });
    let (data, _) = found.await?;
    View::decode(&data).ok()
}

/// What a node knows that knows nothing: older than any view, and nobody acts in it.
fn before_any(founding: &Founding, me: NodeId) -> View {
    let mut view = founding.first_view(me);
    view.epoch = Epoch(0);
    for member in view.members.values_mut() {
        member.state = MemberState::Down;
    }
    view
}
