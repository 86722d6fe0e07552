//! Who is asked for what.

use std::{collections::BTreeSet, fmt, sync::Arc};

use atoll_core::{
    Digest,
    replication::read_order,
    view::{NodeId, View},
};
use futures_util::future::BoxFuture;
use tracing::warn;

use crate::Client;

/// Knows the nodes. An order is never empty, and holds every node that may answer.
pub trait Placement: fmt::Debug + Send + Sync {
    /// The nodes by the likelihood that they hold the content, the preferred one first.
    fn owners(&self, digest: &Digest) -> Vec<String>;

    /// The nodes in the order in which content is written to them, the master first.
    fn masters(&self, digest: &Digest) -> Vec<String>;

    /// All nodes; who is first depends on `key`, so that keys spread over them.
    fn anyone(&self, key: &str) -> Vec<String>;

    /// The node with this number, if it is known.
    fn numbered(&self, node: NodeId) -> Option<String>;

    /// Is this the address of a node?
    fn is_node(&self, address: &str) -> bool;

    /// Learns anew who is there.
    fn refresh(&self) -> BoxFuture<'_, ()>;
}

/// No node: the agent is none of them.
const NOBODY: NodeId = NodeId(u16::MAX);

/// The nodes of a cluster, by the view that the library keeps.
#[derive(Debug)]
pub struct Ring {
    client: Client,
    seeds: Vec<String>,
}

impl Ring {
    /// Nodes as `client` knows them; before it knows any, `seeds`.
    pub fn new(client: Client, seeds: Vec<String>) -> Ring {
        Ring { client, seeds }
    }

    /// `first`, then every other member, those that are up before the others and spread by `key`;
    /// then the seeds, which may lead to nodes that the view does not name.
    fn order(&self, view: Option<&View>, first: Vec<NodeId>, key: &[u8]) -> Vec<String> {
        let mut order = Vec::new();
        if let Some(view) = view {
            let mut others: Vec<NodeId> =
                view.members.keys().copied().filter(|node| !first.contains(node)).collect();
            others.sort_by_key(|node| (!view.is_up(*node), weight(key, *node)));
            let named = first.iter().chain(&others).filter_map(|node| view.members.get(node));
            order.extend(named.map(|member| member.http.clone()));
        }
        let new = |seed: &&String| !order.contains(*seed);
        let seeds: Vec<_> = self.seeds.iter().filter(new).cloned().collect();
        order.extend(seeds);
        order
    }
}

/// Rendezvous: one key has one order of nodes, and few move when a node comes or goes.
fn weight(key: &[u8], node: NodeId) -> u64 {
    // FNV-1a; nobody gains from a collision.
    let step = |sum: u64, byte: &u8| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    let sum = key.iter().chain(&node.0.to_le_bytes()).fold(0xcbf2_9ce4_8422_2325, step);
    sum ^ (sum >> 29)
}

impl Placement for Ring {
    fn owners(&self, digest: &Digest) -> Vec<String> {
        let view = self.client.view();
        let first = view.as_deref().map(|view| read_order(view, digest, NOBODY, &BTreeSet::new()));
        self.order(view.as_deref(), first.unwrap_or_default(), digest.as_bytes())
    }

    fn masters(&self, digest: &Digest) -> Vec<String> {
        let view = self.client.view();
        let first = view.as_deref().map(|view| view.acting(digest)).unwrap_or_default();
        self.order(view.as_deref(), first, digest.as_bytes())
    }

    fn anyone(&self, key: &str) -> Vec<String> {
        self.order(self.client.view().as_deref(), Vec::new(), key.as_bytes())
    }

    fn numbered(&self, node: NodeId) -> Option<String> {
        self.client.view()?.members.get(&node).map(|member| member.http.clone())
    }

    fn is_node(&self, address: &str) -> bool {
        let is_member = |view: Arc<View>| view.members.values().any(|each| each.http == address);
        self.seeds.iter().any(|seed| seed == address) || self.client.view().is_some_and(is_member)
    }

    fn refresh(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            if let Err(error) = self.client.refresh().await {
                warn!(%error, "cannot learn the view");
            }
        })
    }
}

/// Nodes that are known once and for all.
#[derive(Clone, Debug)]
pub struct Fixed {
    nodes: Arc<[String]>,
}

impl Fixed {
    /// These nodes, `host:port` each.
    pub fn new(nodes: impl IntoIterator<Item = String>) -> Fixed {
        Fixed { nodes: nodes.into_iter().collect() }
    }

    fn rotated(&self, key: &[u8]) -> Vec<String> {
        let sum = key
            .iter()
            .fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(*byte)));
        let mut order = self.nodes.to_vec();
        if !order.is_empty() {
            order.rotate_left(sum % self.nodes.len());
        }
        order
    }
}

impl Placement for Fixed {
    fn owners(&self, digest: &Digest) -> Vec<String> {
        self.rotated(digest.as_bytes())
    }

    fn masters(&self, digest: &Digest) -> Vec<String> {
        self.rotated(digest.as_bytes())
    }

    fn anyone(&self, key: &str) -> Vec<String> {
        self.rotated(key.as_bytes())
    }

    fn numbered(&self, _node: NodeId) -> Option<String> {
        None
    }

    fn is_node(&self, address: &str) -> bool {
        self.nodes.iter().any(|node| node == address)
    }

    fn refresh(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }
}
