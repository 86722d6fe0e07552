//! Where an image is: who should have each of its parts, and who really has.

use std::collections::{BTreeMap, BTreeSet};

use atoll_core::{
    Digest,
    admin::{Copy, CopyState, Object, ObjectKind, Target, Whereabouts},
    view::{NodeId, View},
};
use futures_util::{StreamExt as _, stream};

use super::{
    AdminError,
    pieces::{Part, Pieces},
};

/// Parts of one answer. An image has a dozen; an index of many platforms is looked at one by one.
const PARTS_MAX: usize = 1000;

/// Nodes that are asked at a time.
const ASKED_AT_ONCE: usize = 32;

/// Finds the parts of `target` and asks every node that may have one.
///
/// # Errors
/// There is no such image, or the metadata cannot be read.
pub async fn find(
    pieces: &dyn Pieces,
    view: &View,
    target: &Target,
) -> Result<Whereabouts, AdminError> {
    let mut parts = match target {
        Target::Content(digest) => {
            vec![Part { kind: ObjectKind::Blob, digest: *digest, size_bytes: None }]
        }
        Target::Image(repo, reference) => {
            let image = pieces.image(repo, reference).await?;
            image.ok_or_else(|| AdminError::UnknownImage(target.to_string()))?
        }
    };
    let mut notes = Vec::new();
    if parts.len() > PARTS_MAX {
        notes.push(format!("only the first {PARTS_MAX} of {} parts are shown", parts.len()));
        parts.truncate(PARTS_MAX);
    }
    let holders: Vec<Vec<NodeId>> = parts.iter().map(|part| holders(view, &part.digest)).collect();
    let said = ask(pieces, &parts, &holders).await;
    let silent: Vec<String> =
        said.iter().filter(|(_, held)| held.is_none()).map(|(node, _)| node.to_string()).collect();
    if !silent.is_empty() {
        notes.push(format!("no answer from node {}", silent.join(", ")));
    }
    let objects = parts.iter().zip(&holders).map(|(part, holders)| {
        let owners = view.placement(&part.digest);
        let copy = |node: &NodeId| Copy {
            node: node.0,
            owner: owners.contains(node),
            state: match said.get(node).and_then(Option::as_ref) {
                None => CopyState::Unknown,
                Some(held) if held.contains(&part.digest) => CopyState::Present,
                Some(_) => CopyState::Absent,
            },
        };
        Object {
            kind: part.kind,
            digest: part.digest.to_string(),
            size_bytes: part.size_bytes,
            copies: holders.iter().map(copy).collect(),
        }
    });
    Ok(Whereabouts {
        target: target.to_string(),
        epoch: view.epoch.0,
        replicas: view.replicas,
        objects: objects.collect(),
        notes,
    })
}

/// Owners in order, then everyone else who may hold a copy: those that act now, those of open
/// configurations, and all other members that are up, where stand-in copies may lie.
fn holders(view: &View, digest: &Digest) -> Vec<NodeId> {
    let mut holders = view.placement(digest);
    let others =
        view.acting(digest).into_iter().chain(view.open_sets(digest).into_iter().flatten());
    let everyone = view.members.keys().copied().filter(|node| view.is_up(*node));
    for node in others.chain(everyone) {
        if !holders.contains(&node) {
            holders.push(node);
        }
    }
    holders
}

/// Asks each node once for everything it may have. `None` for one that did not answer.
async fn ask(
    pieces: &dyn Pieces,
    parts: &[Part],
    holders: &[Vec<NodeId>],
) -> BTreeMap<NodeId, Option<BTreeSet<Digest>>> {
    let mut wanted: BTreeMap<NodeId, Vec<Digest>> = BTreeMap::new();
    for (part, holders) in parts.iter().zip(holders) {
        for node in holders {
            wanted.entry(*node).or_default().push(part.digest);
        }
    }
    let asked = wanted.into_iter().map(|(node, digests)| async move {
        let held = pieces.have(node, &digests).await;
        let held = held.map(|held| {
            digests.iter().zip(held).filter(|(_, held)| *held).map(|(digest, _)| *digest).collect()
        });
        (node, held)
    });
    stream::iter(asked).buffer_unordered(ASKED_AT_ONCE).collect().await
}
