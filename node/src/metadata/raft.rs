//! The types openraft is instantiated with.

#[cfg(madsim)]
mod simulated_runtime;

use std::sync::Arc;

use atoll_core::metadata::{Outcome, Request};
use serde::{Deserialize, Serialize};

use super::transfer::SnapshotData;

/// A node within the groups.
pub type NodeId = u64;

#[cfg(not(madsim))]
use openraft::TokioRuntime as Runtime;
#[cfg(madsim)]
use simulated_runtime::SimulatedRuntime as Runtime;

/// What one log entry holds: the requests of everyone who was waiting when it was proposed.
///
/// Shared, because openraft clones entries on their way to each voter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch(pub Arc<Vec<Request>>);

/// The answers to a [`Batch`], in its order; empty for entries that are not batches.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcomes(pub Vec<Outcome>);

openraft::declare_raft_types!(
    /// openraft's type parameters.
    pub TypeConfig:
        D = Batch,
        R = Outcomes,
        NodeId = NodeId,
        Node = openraft::BasicNode,
        SnapshotData = SnapshotData,
        AsyncRuntime = Runtime,
);

/// One group's consensus.
pub type Raft = openraft::Raft<TypeConfig>;
/// A log entry.
pub type Entry = openraft::Entry<TypeConfig>;
/// The position of an entry: its leader's term and its index.
pub type LogId = openraft::LogId<NodeId>;
/// Whom this node votes for.
pub type Vote = openraft::Vote<NodeId>;
/// The voters and learners, and since which entry.
pub type Membership = openraft::StoredMembership<NodeId, openraft::BasicNode>;
/// Position and membership of a snapshot.
pub type SnapshotMeta = openraft::SnapshotMeta<NodeId, openraft::BasicNode>;
/// openraft's word for a disk that failed; it stops the group.
pub type StorageError = openraft::StorageError<NodeId>;

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use atoll_core::{
        Digest,
        digest::Algorithm,
        gc::GcEpoch,
        metadata::{Command, RequestId},
    };
    use openraft::{BasicNode, CommittedLeaderId, EntryPayload, Membership};

    use super::*;
    use crate::metadata::codec;

    fn round_trip(payload: EntryPayload<TypeConfig>) {
        let entry = Entry { log_id: LogId::new(CommittedLeaderId::new(7, 1), 300), payload };
        let bytes = codec::encode(&entry).unwrap();
        let back: Entry = codec::decode(&bytes).unwrap();
        assert_eq!(format!("{entry:?}"), format!("{back:?}"));
    }

    #[test]
    fn every_kind_of_entry_survives_its_encoding() {
        round_trip(EntryPayload::Blank);
        round_trip(EntryPayload::Membership(Membership::new(
            vec![BTreeSet::from([1, 2]), BTreeSet::from([1, 3])],
            BTreeMap::from([
                (1, BasicNode::new("a:1")),
                (2, BasicNode::new("b:2")),
                (3, BasicNode::new("c:3")),
            ]),
        )));
        round_trip(EntryPayload::Normal(Batch(Arc::new(vec![Request {
            id: RequestId { client: u128::MAX - 5, sequence: 9 },
            command: Command::LinkBlob {
                repo: "library/alpine".parse().unwrap(),
                digest: Digest::of(Algorithm::Sha256, b"x"),
                size: 1 << 40,
                vg: GcEpoch(7),
            },
        }]))));
    }
}
