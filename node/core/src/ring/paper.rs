//! The paper's ring: every node hashes its address and then the hash, fifty times.
//!
//! `id0 = SHA-256("host:port")`, `id(k+1) = SHA-256(id(k))` over the 32 raw bytes. It is here to
//! reproduce the paper's figures and as a reference; with six nodes the largest share is typically
//! a third above the smallest, which is why [`super::allocator`] places points instead.

use std::collections::BTreeMap;

use super::{NodeId, Points, Position, Ring};
use crate::{Algorithm, Digest, ring::position};

/// Pseudo identities of each node in the paper.
pub const IDENTITIES: u16 = 50;

/// The first `count` pseudo identities of the node that is called `name`.
pub fn identities(name: &str, count: u16) -> impl Iterator<Item = Position> {
    let first = sha256(name.as_bytes());
    std::iter::successors(Some(first), |last| Some(sha256(last))).take(usize::from(count))
}

/// The ring of these nodes, each with its name and its zone.
pub fn ring(nodes: &BTreeMap<NodeId, (String, String)>, count: u16) -> Ring {
    let places = nodes
        .iter()
        .flat_map(|(node, (name, _))| identities(name, count).map(move |place| (place, *node)));
    let zones = nodes.iter().map(|(node, (_, zone))| (*node, zone.clone())).collect();
    of_identities(places.collect(), zones)
}

/// A ring of identities placed by hand or kept from an earlier ring. Of two at one place the node
/// with the lower number keeps it.
pub fn of_identities(
    mut identities: Vec<(Position, NodeId)>,
    zones: BTreeMap<NodeId, String>,
) -> Ring {
    identities.sort_unstable();
    identities.dedup_by_key(|(place, _)| *place);
    Ring::new(Points::Paper { identities }, zones)
}

fn sha256(bytes: &[u8]) -> Position {
    position(&Digest::of(Algorithm::Sha256, bytes))
}
