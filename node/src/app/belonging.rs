//! How a node comes to belong to its cluster: who it is, by which door it came in, and the tasks
//! that keep it a member.
//!
//! Three beginnings. A folder that is new and is told of no cluster founds one. A folder that is new
//! and is told of members joins them: it asks until it is let in, and only then has anything on its
//! disk. A folder that has been in use goes on; a join that was configured then is of no interest.
//! A folder from before there were clusters becomes a cluster of one.

mod entry;
mod settings;

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use atoll_core::{
    coordination,
    view::{Epoch, Intent, MemberRecord, MemberState, NodeId, Registration, View},
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use self::entry::Entry;
pub use self::settings::{Addresses, ClusterSettings};
#[cfg(all(feature = "zookeeper", not(madsim)))]
use crate::coordination::zookeeper::ZooKeeper;
use crate::{
    cluster::{
        Cluster, SessionSlot,
        autopilot::Autopilot,
        certificate::{CERTIFICATE_LIFETIME, Renewal},
        founding::Founding,
        gossip,
        join::admission::Admission,
        keeper::Keeper,
        registrar::Registrar,
        relocation::{Hints, Relocation},
        sync::SyncReports,
        trust::Trust,
        znodes,
    },
    config::{HostPort, NodeName},
    coordination::{
        Coordinator,
        embedded::{Embedded, EmbeddedSettings},
    },
    io::{Io, net::Listener, rt::blocking},
    metadata::{Metadata, MetadataSettings},
    rpc::{
        cluster::{GossipService, MembershipService, ViewsService},
        coordination::CoordinationService,
        raft::{RaftPeers, RaftService},
    },
    wire::{self, tls::PeerIdentity},
};

/// The longest time a start waits for the node to be in a view. After that the node serves what it
/// can and becomes ready when the cluster lets it.
const MEMBER_WAIT: Duration = Duration::from_secs(10);

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
    trust: Trust,
    hints: Hints,
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
        let record = MemberRecord {
            name: name.as_str().to_owned(),
            http: addresses.http.to_string(),
            grpc: addresses.grpc.to_string(),
            zone: settings.zone.clone(),
            weight: settings.weight,
            intent: Intent::In,
        };
        let entry = entry::enter(io, &settings, &record, addresses).await?;
        let Entry { identity, view: joined_view, security } = entry;
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
        let hints = peers.hints();
        let metadata = Metadata::open_among(io.clone(), metadata, Arc::new(peers))
            .await
            .context("open the metadata")?;
        let founding = Founding {
            cluster_id: identity.cluster_id.clone(),
            replicas: settings.replicas,
            points: settings.points,
            record,
        };
        let view = kept(&metadata, znodes::VIEW).await;
        let view = match view.and_then(|data| View::decode(&data).ok()) {
            Some(view) => view,
            None => joined_view.unwrap_or_else(|| before_any(&founding, me)),
        };
        let cluster = Cluster::secured(me, identity.incarnation, io.clock.clone(), view, security);
        let founding = identity.groups.is_none().then_some(founding);
        let session = SessionSlot::default();
        let authorities = kept(&metadata, znodes::CA).await;
        let trust = Trust::new(authorities.and_then(|data| znodes::decode(&data).ok()));
        let believed = trust.clone();
        cluster.security().refuse_removed(move |node| believed.is_removed(node));
        let io = io.clone();
        Ok(Belonging {
            cluster,
            metadata,
            session,
            io,
            settings,
            addresses,
            groups,
            founding,
            trust,
            hints,
        })
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
            authorities: self.trust.authorities(),
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
        let grpc = self.addresses.grpc.to_string();
        let services = services
            .add_service(RaftService::server(metadata.clone()))
            .add_service(CoordinationService::server(coordination.clone()))
            .add_service(MembershipService::server(admission, self.hints.clone(), grpc))
            .add_service(ViewsService::server(cluster.clone()))
            .add_service(GossipService::server(cluster.clone(), inbox));
        let renewal = Renewal {
            io: io.clone(),
            me: PeerIdentity { cluster_id: cluster.view().cluster_id.clone(), node: cluster.me() },
            lifetime: CERTIFICATE_LIFETIME,
            security: security.clone(),
            authorities: self.trust.authorities(),
        };
        let is_plaintext = security.is_plaintext();
        let listening =
            tokio::spawn(wire::server::serve(listener, services, security, stop.clone()));
        let registrar = Registrar {
            cluster: cluster.clone(),
            coordinator: coordinator(coordination, &settings.zookeeper, &io),
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
        let moving = Relocation {
            cluster: cluster.clone(),
            session: session.clone(),
            seeds: settings.join,
            http: self.addresses.http.to_string(),
            grpc: self.addresses.grpc.to_string(),
            hints: self.hints,
        };
        let mut tasks = vec![
            listening,
            tokio::spawn(moving.run(stop.clone())),
            tokio::spawn(reporting),
            tokio::spawn(keeper.run(stop.clone())),
            tokio::spawn(autopilot.run(stop.clone())),
        ];
        if !is_plaintext {
            let trust = self.trust.run(cluster.clone(), session.clone(), stop.clone());
            tasks.push(tokio::spawn(trust));
            tasks.push(tokio::spawn(renewal.run(stop.clone())));
        }
        Ok(Membership { cluster, session, stop, stop_session, registered, tasks })
    }
}

/// A node on its way to be a member, or one.
#[derive(Debug)]
pub struct Membership {
    cluster: Cluster,
    session: SessionSlot,
    stop: CancellationToken,
    stop_session: CancellationToken,
    registered: JoinHandle<()>,
    tasks: Vec<JoinHandle<()>>,
}

impl Membership {
    /// The session of this node in group 0, for whoever reads or changes the tree.
    pub fn session(&self) -> &SessionSlot {
        &self.session
    }

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

/// The service that the operator chose. Group 0 runs either way: it says which node keeps the view.
#[cfg(all(feature = "zookeeper", not(madsim)))]
fn coordinator(embedded: Embedded, ensemble: &[HostPort], io: &Io) -> Arc<dyn Coordinator> {
    if ensemble.is_empty() {
        return Arc::new(embedded);
    }
    let servers: Vec<_> = ensemble.iter().map(HostPort::as_str).collect();
    tracing::info!(?servers, "a ZooKeeper ensemble coordinates the nodes");
    Arc::new(ZooKeeper::new(servers.join(","), io.clock.clone()))
}

/// The nodes' own: `config` refuses another in this build.
#[cfg(not(all(feature = "zookeeper", not(madsim))))]
fn coordinator(embedded: Embedded, _: &[HostPort], _: &Io) -> Arc<dyn Coordinator> {
    Arc::new(embedded)
}

/// The data of a znode as this node had applied it.
async fn kept(metadata: &Metadata, path: &'static str) -> Option<Vec<u8>> {
    let snapshot = metadata.coordination_snapshot().ok()?;
    let found = blocking(move || {
        let path = coordination::path::Path::parse(path).ok()?;
        coordination::query::get(&snapshot, path).ok()?
    });
    Some(found.await?.0)
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
