//! The view as nodes tell it to clients (`GET /v2/_atoll/view?ring=1`), read into the core's own
//! [`View`]: from there on the client places with the very code that nodes place with.
//!
//! Earlier configurations are not told. They matter only to nodes that must not say "absent" too
//! soon; a client that finds no owner asks any node, which knows them.

use std::{collections::BTreeMap, sync::Arc};

use atoll_core::{
    ring::{InvalidRing, Points, Position, Ring},
    view::{Epoch, Member, MemberState, NodeId, RingMode, View},
};
use serde::Deserialize;

/// The longest document that is read: a thousand nodes and 65,536 points are about half a megabyte.
pub(crate) const VIEW_BYTES_MAX: usize = 16 << 20;

/// A document that is no view.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidViewDocument {
    /// It cannot be read.
    #[error("not the JSON of a view: {0}")]
    Json(String),
    /// The ring was asked for and is not there.
    #[error("the ring is missing")]
    NoRing,
    /// The ring is none.
    #[error(transparent)]
    Ring(#[from] InvalidRing),
    /// A pseudo identity is no 256-bit number.
    #[error("`{0}` is no identity of 64 hexadecimal digits")]
    Identity(String),
    /// Nobody would own anything.
    #[error("it asks for zero replicas")]
    NoReplicas,
}

#[derive(Deserialize)]
struct Document {
    cluster_id: String,
    epoch: u64,
    #[serde(default)]
    since: u64,
    replicas: u8,
    members: Vec<MemberDocument>,
    ring: Option<RingDocument>,
}

#[derive(Deserialize)]
struct MemberDocument {
    id: u16,
    #[serde(default)]
    name: String,
    http: String,
    #[serde(default)]
    grpc: String,
    #[serde(default)]
    zone: String,
    #[serde(default)]
    weight: u32,
    #[serde(default)]
    incarnation: u64,
    state: StateDocument,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum StateDocument {
    Joining,
    Up,
    Down,
    Draining,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum RingDocument {
    Owners(Vec<NodeId>),
    Identities(Vec<(String, NodeId)>),
}

/// Reads a view.
pub(crate) fn parse(bytes: &[u8]) -> Result<View, InvalidViewDocument> {
    let document: Document = serde_json::from_slice(bytes)
        .map_err(|error| InvalidViewDocument::Json(error.to_string()))?;
    if document.replicas == 0 {
        return Err(InvalidViewDocument::NoReplicas);
    }
    let members: BTreeMap<NodeId, Member> =
        document.members.into_iter().map(|member| (NodeId(member.id), member.into())).collect();
    let zones = members.iter().map(|(node, member)| (*node, member.zone.clone())).collect();
    let points = points(document.ring.ok_or(InvalidViewDocument::NoRing)?)?;
    let ring = Ring::checked(points, zones)?;
    let count = ring.len();
    let mode = match ring.points() {
        Points::Assigned { .. } => RingMode::Assigned { points: count as u32 },
        Points::Paper { .. } => {
            let each = count / ring.node_count().max(1);
            RingMode::Paper { identities: u16::try_from(each).unwrap_or(u16::MAX) }
        }
    };
    Ok(View {
        cluster_id: document.cluster_id,
        epoch: Epoch(document.epoch),
        since: Epoch(document.since),
        replicas: document.replicas,
        mode,
        next_node: NodeId(members.keys().next_back().map_or(1, |last| last.0.saturating_add(1))),
        members,
        ring: Arc::new(ring),
        open: Vec::new(),
    })
}

impl From<MemberDocument> for Member {
    fn from(document: MemberDocument) -> Member {
        Member {
            name: document.name,
            incarnation: document.incarnation,
            http: document.http,
            grpc: document.grpc,
            zone: document.zone,
            weight: document.weight,
            state: match document.state {
                StateDocument::Joining => MemberState::Joining,
                StateDocument::Up => MemberState::Up,
                StateDocument::Down => MemberState::Down,
                StateDocument::Draining => MemberState::Draining,
            },
        }
    }
}

fn points(ring: RingDocument) -> Result<Points, InvalidViewDocument> {
    Ok(match ring {
        RingDocument::Owners(owners) => Points::Assigned { owners },
        RingDocument::Identities(identities) => {
            let read = |(text, node): (String, NodeId)| Ok((position(&text)?, node));
            let identities = identities.into_iter().map(read);
            Points::Paper { identities: identities.collect::<Result<_, InvalidViewDocument>>()? }
        }
    })
}

fn position(text: &str) -> Result<Position, InvalidViewDocument> {
    let wrong = || InvalidViewDocument::Identity(text.chars().take(80).collect());
    let mut position = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return Err(wrong());
    }
    for (byte, pair) in position.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let digit = |at: u8| char::from(at).to_digit(16);
        let (Some(high), Some(low)) = (digit(pair[0]), digit(pair[1])) else { return Err(wrong()) };
        *byte = (high * 16 + low) as u8;
    }
    Ok(position)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn document() -> serde_json::Value {
        json!({
            "cluster_id": "c", "epoch": 7, "since": 5, "mode": "assigned", "points": 2,
            "replicas": 2, "write_quorum": 2, "open": 0,
            "members": [
                {"id": 1, "name": "a", "http": "h:1", "grpc": "h:2", "zone": "", "weight": 1,
                 "incarnation": 3, "state": "up", "in_ring": true},
                {"id": 2, "name": "b", "http": "h:3", "grpc": "h:4", "zone": "", "weight": 1,
                 "incarnation": 1, "state": "down", "in_ring": true},
            ],
            "ring": {"owners": [1, 2]},
        })
    }

    #[test]
    fn a_view_is_read_into_the_type_that_nodes_place_with() {
        let view = parse(document().to_string().as_bytes()).expect("a view");
        assert_eq!((view.epoch, view.replicas, view.ring.len()), (Epoch(7), 2, 2));
        assert!(view.is_up(NodeId(1)) && !view.is_up(NodeId(2)));
        let digest = crate::Digest::of(crate::Algorithm::Sha256, b"x");
        assert_eq!(view.acting(&digest), [NodeId(1)]);
        assert_eq!(view.placement(&digest).len(), 2);
    }

    #[test]
    fn what_is_no_view_is_refused_and_never_placed_with() {
        let of = |value: serde_json::Value| parse(value.to_string().as_bytes()).err();
        let mut no_ring = document();
        no_ring["ring"] = serde_json::Value::Null;
        assert_eq!(of(no_ring), Some(InvalidViewDocument::NoRing));
        let mut three = document();
        three["ring"] = json!({"owners": [1, 2, 1]});
        assert_eq!(of(three), Some(InvalidViewDocument::Ring(InvalidRing::Count(3))));
        let mut none = document();
        none["replicas"] = json!(0);
        assert_eq!(of(none), Some(InvalidViewDocument::NoReplicas));
        let mut odd = document();
        odd["ring"] = json!({"identities": [["zz", 1]]});
        assert_eq!(of(odd), Some(InvalidViewDocument::Identity("zz".to_owned())));
        assert!(matches!(of(json!({})), Some(InvalidViewDocument::Json(_))));
    }
}
