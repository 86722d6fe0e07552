//! How a node comes to belong to its cluster: who it is, by which door it came in, and the tasks
//! that keep it a member.
//!
//! Three beginnings. A folder that is new and is told of no cluster founds one. A folder that is new
//! and is told of members joins them: it asks until it is let in, and only then has anything on its
//! disk. A folder that has been in use goes on; a join that was configured then is of no interest.
//! A folder from before there were clusters becomes a cluster of one.

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use anyhow::Context as _;
use atoll_core::{
    metadata::KvRead as _,
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
        join::{Newcomer, admission::Admission, join},
        keeper::Keeper,
        registrar::Registrar,
        token::Token,
    },
    config::{Config, HostPort, NodeName, Secret, TlsPolicy, address::is_loopback},
    coordination::embedded::Embedded,
    io::{Io, net::Listener},
    metadata::{Metadata, MetadataSettings},
    rpc::{
        cluster::{GossipService, MembershipService, ViewsService},
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
