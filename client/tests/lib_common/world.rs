//! What all fake nodes share: content, uploads and the view.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use atoll_client::Digest;
use atoll_core::ring::{NodeId, Points, allocator};
use bytes::Bytes;
use serde_json::{Value, json};

/// Points of the test ring.
const POINTS: usize = 256;

#[derive(Default)]
pub struct State {
    pub blobs: BTreeMap<Digest, Bytes>,
    /// Manifests by tag or digest.
    pub manifests: BTreeMap<String, (String, Bytes)>,
    pub uploads: BTreeMap<u64, Vec<u8>>,
    pub next_upload: u64,
    pub epoch: u64,
    /// `http` address and state of every member.
    pub members: BTreeMap<u16, (String, &'static str)>,
    pub replicas: u8,
    /// Range requests that are being answered, and the most there were.
    pub ranges_now: usize,
    pub ranges_most: usize,
}

#[derive(Default)]
pub struct World(Mutex<State>);

impl World {
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn received(&self, upload: u64, data: &[u8]) {
        let mut state = self.state();
        state.uploads.get_mut(&upload).expect("an upload").extend_from_slice(data);
    }

    pub fn keep(&self, content: &Bytes) -> Digest {
        let digest = super::digest(content);
        self.state().blobs.insert(digest, content.clone());
        digest
    }

    /// A node's session ended, or it is back: a new view.
    pub fn set_member(&self, node: u16, to: &'static str) {
        let mut state = self.state();
        state.members.get_mut(&node).expect("a member").1 = to;
        state.epoch += 1;
    }

    /// As `GET /v2/_atoll/view?ring=1`.
    pub fn view(&self) -> Value {
        let state = self.state();
        let share = |_: &u16| allocator::Share { weight: 1, zone: String::new() };
        let shares = state.members.keys().map(|node| (NodeId(*node), share(node))).collect();
        let ring = allocator::allocate(None, &shares, POINTS, state.replicas.into());
        let Points::Assigned { owners } = ring.points() else { panic!("assigned points") };
        let members: Vec<Value> = state
            .members
            .iter()
            .map(|(node, (http, is))| {
                json!({"id": node, "name": format!("n{node}"), "http": http, "grpc": "", "zone": "",
                       "weight": 1, "incarnation": 1, "state": is, "in_ring": true})
            })
            .collect();
        json!({"cluster_id": "fake", "epoch": state.epoch, "since": 1, "mode": "assigned",
               "points": POINTS, "replicas": state.replicas, "members": members, "open": 0,
               "ring": {"owners": owners}})
    }
}
