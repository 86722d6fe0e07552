//! How a view is written down: one version byte, then postcard.
//!
//! A ring of 65,536 points is the bulk of a view, and open configurations have rings of their own.
//! Each different ring is written once, and as its differences from the one before when those are
//! few: a change moves few points, so a view with many open rings stays far below the megabyte that
//! a znode may have.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use super::{Configuration, Epoch, Member, NodeId, RingMode, View};
use crate::{
    Algorithm, Digest,
    ring::{InvalidRing, Points, Ring},
};

/// The first byte of an encoded view.
const VERSION: u8 = 1;

/// Bytes that are no view.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidView {
    /// Written by a newer Atoll, or no view at all.
    #[error("view format {0:?}; this node knows format {VERSION}")]
    Version(Option<u8>),
    /// Cut off or damaged.
    #[error("view cannot be read: {0}")]
    Damaged(#[from] postcard::Error),
    /// A ring in it is none.
    #[error("view with an invalid ring: {0}")]
    Ring(#[from] InvalidRing),
    /// A configuration names a ring that is not there, or differences fit no ring.
    #[error("view that refers to what it does not hold")]
    Reference,
    /// A number is outside of what a view can have.
    #[error("view with R = 0")]
    NoReplicas,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    cluster_id: String,
    epoch: Epoch,
    since: Epoch,
    replicas: u8,
    mode: RingMode,
    members: BTreeMap<NodeId, Member>,
    /// The present ring, then every other one.
    rings: Vec<StoredRing>,
    open: Vec<StoredConfiguration>,
    next_node: NodeId,
}

#[derive(Serialize, Deserialize)]
struct StoredRing {
    points: StoredPoints,
    zones: BTreeMap<NodeId, String>,
}

#[derive(Serialize, Deserialize)]
enum StoredPoints {
    Whole(Points),
    /// Assigned points whose owner differs from the ring before: how many points lie between it and
    /// the last such point, and its owner.
    Differences(Vec<(u32, NodeId)>),
}

#[derive(Serialize, Deserialize)]
struct StoredConfiguration {
    since: Epoch,
    ring: u32,
    up: BTreeSet<NodeId>,
}

impl View {
    /// The view as bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut rings: Vec<&Arc<Ring>> = vec![&self.ring];
        let mut open = Vec::with_capacity(self.open.len());
        // The newest first: neighbours in time differ least.
        for configuration in self.open.iter().rev() {
            let known = rings.iter().position(|ring| **ring == configuration.ring);
            let ring = known.unwrap_or(rings.len());
            if known.is_none() {
                rings.push(&configuration.ring);
            }
            let (since, up) = (configuration.since, configuration.up.clone());
            open.push(StoredConfiguration { since, ring: ring as u32, up });
        }
        let before = std::iter::once(None).chain(rings.iter().map(|ring| Some(&***ring)));
        let stored = Stored {
            cluster_id: self.cluster_id.clone(),
            epoch: self.epoch,
            since: self.since,
            replicas: self.replicas,
            mode: self.mode,
            members: self.members.clone(),
            rings: rings
                .iter()
                .zip(before)
                .map(|(ring, before)| store_ring(ring, before))
                .collect(),
            open,
            next_node: self.next_node,
        };
        let bytes = postcard::to_extend(&stored, vec![VERSION]);
        bytes.expect("a view of plain data can be written into memory")
    }

    /// The view that `bytes` hold.
    ///
    /// # Errors
    /// They hold none that this version can read.
    pub fn decode(bytes: &[u8]) -> Result<View, InvalidView> {
        let Some((&VERSION, rest)) = bytes.split_first() else {
            return Err(InvalidView::Version(bytes.first().copied()));
        };
        let stored: Stored = postcard::from_bytes(rest)?;
        if stored.replicas == 0 {
            return Err(InvalidView::NoReplicas);
        }
        let mut rings: Vec<Arc<Ring>> = Vec::new();
        for ring in stored.rings {
            let ring = restore_ring(ring, rings.last().map(Arc::as_ref))?;
            rings.push(Arc::new(ring));
        }
        let ring = |index: usize| rings.get(index).cloned().ok_or(InvalidView::Reference);
        let mut open = Vec::new();
        for StoredConfiguration { since, ring: index, up } in stored.open.into_iter().rev() {
            open.push(Configuration { since, ring: ring(index as usize)?, up });
        }
        Ok(View {
            cluster_id: stored.cluster_id,
            epoch: stored.epoch,
            since: stored.since,
            replicas: stored.replicas,
            mode: stored.mode,
            members: stored.members,
            ring: ring(0)?,
            open,
            next_node: stored.next_node,
        })
    }

    /// The first 64 bits of the SHA-256 of [`Self::encode`]: two nodes at one epoch compare it.
    pub fn hash(&self) -> u64 {
        let digest = Digest::of(Algorithm::Sha256, &self.encode());
        digest.as_bytes().iter().take(8).fold(0, |hash, byte| hash << 8 | u64::from(*byte))
    }
}

fn store_ring(ring: &Ring, before: Option<&Ring>) -> StoredRing {
    let points = before.and_then(|before| differences(ring, before));
    let points = points.unwrap_or_else(|| StoredPoints::Whole(ring.points().clone()));
    StoredRing { points, zones: ring.zones().clone() }
}

/// The differences, if writing them is shorter than writing the ring.
fn differences(ring: &Ring, before: &Ring) -> Option<StoredPoints> {
    let (Points::Assigned { owners }, Points::Assigned { owners: earlier }) =
        (ring.points(), before.points())
    else {
        return None;
    };
    let mut list = Vec::new();
    let mut last = 0;
    for (point, (now, then)) in owners.iter().zip(earlier).enumerate() {
        if now != then {
            list.push(((point - last) as u32, *now));
            last = point;
        }
    }
    let is_shorter = owners.len() == earlier.len() && list.len() < owners.len() / 2;
    is_shorter.then_some(StoredPoints::Differences(list))
}

fn restore_ring(stored: StoredRing, before: Option<&Ring>) -> Result<Ring, InvalidView> {
    let points = match stored.points {
        StoredPoints::Whole(points) => points,
        StoredPoints::Differences(list) => {
            let Some(Points::Assigned { owners }) = before.map(Ring::points) else {
                return Err(InvalidView::Reference);
            };
            let mut owners = owners.clone();
            let mut point = 0_usize;
            for (gap, owner) in list {
                point = point.saturating_add(gap as usize);
                *owners.get_mut(point).ok_or(InvalidView::Reference)? = owner;
            }
            Points::Assigned { owners }
        }
    };
    Ok(Ring::checked(points, stored.zones)?)
}
