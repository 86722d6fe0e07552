//! Who is asked for what.

use std::{fmt, sync::Arc};

use atoll_core::{Digest, ring::NodeId};
use futures_util::future::BoxFuture;

/// Knows the nodes. An order is never empty, and holds every node that may answer.
pub trait Placement: fmt::Debug + Send + Sync {
    /// The nodes by the likelihood that they hold the content, the preferred one first.
    fn owners(&self, digest: &Digest) -> Vec<String>;

    /// All nodes; who is first depends on `key`, so that keys spread over them.
    fn anyone(&self, key: &str) -> Vec<String>;

    /// The node with this number, if it is known.
    fn numbered(&self, node: NodeId) -> Option<String>;

    /// Is this the address of a node?
    fn is_node(&self, address: &str) -> bool;

    /// Learns anew who is there.
    fn refresh(&self) -> BoxFuture<'_, ()>;
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

    fn from(&self, key: &[u8]) -> Vec<String> {
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
        self.from(digest.as_bytes())
    }

    fn anyone(&self, key: &str) -> Vec<String> {
        self.from(key.as_bytes())
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
