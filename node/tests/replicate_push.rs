//! Pushing to several nodes: copies where they belong, and nowhere else.

#![allow(clippy::unwrap_used, reason = "a test panics when something is wrong")]

mod replicate_common;

use atoll_core::{
    gc::GcEpoch,
    view::{Epoch, MemberState, NodeId},
};
use atoll_node::replicate::{Peer, WriteError};
use atoll_proto::blobs::v1::{PutEnd, PutHead, PutPart, put_part::Part};
use replicate_common::*;
use tonic::{Code, Status};

const SIZES: [usize; 5] = [0, 1, 100_000, 300_000, 3 << 20];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pushed_at_any_node_it_is_at_its_owners_and_pulled_at_any() {
    let fleet = Fleet::start(5, 3).await;
    for (seed, size) in SIZES.into_iter().enumerate() {
        for at in fleet.alive() {
            let content = content(size, seed as u64 * 10 + u64::from(at.0));
            let digest = sha256(&content);
            push(fleet.blobs(at), &content, &digest).await;
            let mut owners = fleet.owners(&digest);
            owners.sort();
            // At once, not after a while: that is what the acknowledgement says.
            assert_eq!(fleet.holders(&digest).await, owners);
            for reader in fleet.alive() {
                assert_eq!(pull(fleet.blobs(reader), &digest, size).await.unwrap(), content);
            }
        }
    }
    for node in &fleet.nodes {
        node.until_no_uploads().await;
        assert_eq!(fleet.blobs(node.id).stats().failovers, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_in_memory_go_the_same_way_and_a_wrong_digest_goes_nowhere() {
    let fleet = Fleet::start(4, 3).await;
    let (content, other) = (content(70_000, 1), sha256(b"other"));
    let digest = sha256(&content);
    fleet.blobs(NodeId(1)).put(&digest, content.clone(), GcEpoch(0)).await.unwrap();
    let mut owners = fleet.owners(&digest);
    owners.sort();
    assert_eq!(fleet.holders(&digest).await, owners);
    let wrong = fleet.blobs(NodeId(1)).put(&other, content, GcEpoch(0)).await;
    assert!(matches!(wrong, Err(WriteError::Commit(_))), "{wrong:?}");
    assert_eq!(fleet.holders(&other).await, []);
}

fn head(fleet: &Fleet, from: NodeId, digest: &str, chain: &[NodeId]) -> PutHead {
    let digest_owners = fleet.owners(&digest.parse().unwrap());
    PutHead {
        envelope: Some(fleet.blobs(from).cluster().envelope()),
        digest: digest.to_owned(),
        size: None,
        owners: digest_owners.iter().map(|node| u32::from(node.0)).collect(),
        chain: chain.iter().map(|node| u32::from(node.0)).collect(),
        hint_for: 0,
        stamp: 0,
    }
}

async fn put(
    fleet: &Fleet,
    from: NodeId,
    to: NodeId,
    parts: Vec<Part>,
) -> Result<Vec<(u32, i32)>, Status> {
    let parts: Vec<_> = parts.into_iter().map(|part| PutPart { part: Some(part) }).collect();
    let peer = Peer::new(fleet.blobs(from).cluster(), to);
    let reply = peer.client()?.put(futures_util::stream::iter(parts)).await?.into_inner();
    Ok(reply.acks.into_iter().map(|ack| (ack.node, ack.outcome)).collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_no_owner_refuses_names_the_owners_and_keeps_nothing() {
    let fleet = Fleet::start(4, 2).await;
    let content = content(500_000, 3);
    let digest = sha256(&content);
    let stranger = fleet.stranger(&digest);
    let from = fleet.owners(&digest)[0];
    let parts = vec![
        Part::Head(head(&fleet, from, &digest.to_string(), &[])),
        Part::Data(content.clone()),
        Part::End(PutEnd {}),
    ];
    let refused = put(&fleet, from, stranger, parts).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    let owners: Vec<String> = fleet.owners(&digest).iter().map(ToString::to_string).collect();
    assert_eq!(refused.metadata().get("atoll-owners").unwrap(), &owners.join(","));
    assert_eq!(fleet.holders(&digest).await, []);
    assert_eq!(fleet.node(stranger).names_in("uploads"), Vec::<String>::new());
    assert_eq!(fleet.blobs(stranger).stats().copies_refused, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_breaks_off_or_is_wrong_leaves_nothing_at_any_hop() {
    let fleet = Fleet::start(3, 3).await;
    let content = content(3 << 20, 4);
    let digest = sha256(&content);
    let owners = fleet.owners(&digest);
    let head = |chain: &[NodeId]| Part::Head(head(&fleet, owners[0], &digest.to_string(), chain));
    let piece = |bytes: &bytes::Bytes| Part::Data(bytes.slice(..1 << 20));
    // No end, a wrong end, a chain that comes back.
    let cases = [
        (vec![head(&owners[2..]), piece(&content)], Code::Aborted),
        (vec![head(&owners[2..]), piece(&content), Part::End(PutEnd {})], Code::InvalidArgument),
        (vec![head(&owners[1..]), piece(&content)], Code::InvalidArgument),
        (vec![piece(&content)], Code::InvalidArgument),
    ];
    for (parts, code) in cases {
        let refused = put(&fleet, owners[0], owners[1], parts).await.unwrap_err();
        assert_eq!(refused.code(), code, "{refused:?}");
        assert_eq!(fleet.holders(&digest).await, []);
    }
    for node in &fleet.nodes {
        node.until_no_uploads().await;
    }
    // The same nodes take it when it is whole.
    let pieces = (0..3).map(|i| Part::Data(content.slice(i << 20..(i + 1) << 20)));
    let mut parts = vec![head(&owners[2..])];
    parts.extend(pieces);
    parts.push(Part::End(PutEnd {}));
    let acks = put(&fleet, owners[0], owners[1], parts).await.unwrap();
    assert_eq!(acks, [(u32::from(owners[1].0), 1), (u32::from(owners[2].0), 1)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stand_in_takes_the_copy_of_a_dead_owner_and_hands_it_over() {
    let mut fleet = Fleet::start(5, 3).await;
    let at = NodeId(1);
    let (content, digest) = content_owned_without(&fleet, 2 << 20, &[at]);
    let owners = fleet.owners(&digest);
    // The last of the chain, then the one in its middle: who is behind it must not suffer.
    for dead in [owners[2], owners[1]] {
        fleet.kill(dead).await;
        push(fleet.blobs(at), &content, &digest).await;
        let holders = fleet.holders(&digest).await;
        assert_eq!(holders.len(), 3, "{holders:?}");
        let hints: u64 = holders.iter().map(|node| fleet.blobs(*node).stats().hints).sum();
        assert_eq!(hints, 1);
        fleet.revive(dead).await;
        for node in fleet.alive() {
            fleet.blobs(node).deliver_due().await;
        }
        assert!(fleet.holders(&digest).await.contains(&dead));
        let hints: u64 = holders.iter().map(|node| fleet.blobs(*node).stats().hints).sum();
        assert_eq!(hints, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hint_waits_for_its_owner_and_is_due_at_once_when_it_returns() {
    let mut fleet = Fleet::start(5, 3).await;
    let at = NodeId(1);
    let (content, digest) = content_owned_without(&fleet, 100_000, &[at]);
    let owner = fleet.owners(&digest)[0];
    fleet.kill(owner).await;
    push(fleet.blobs(at), &content, &digest).await;
    let hints = |fleet: &Fleet| {
        fleet.alive().iter().map(|node| fleet.blobs(*node).stats().hints).sum::<u64>()
    };
    assert_eq!(hints(&fleet), 1);
    fleet.set_state(owner, MemberState::Down);
    for _ in 0..10 {
        for node in fleet.alive() {
            fleet.blobs(node).deliver_due().await;
        }
    }
    assert_eq!(hints(&fleet), 1);
    fleet.revive(owner).await;
    fleet.set_state(owner, MemberState::Up);
    for node in fleet.alive() {
        fleet.blobs(node).deliver_due().await;
    }
    assert_eq!(hints(&fleet), 0);
    assert!(fleet.holders(&digest).await.contains(&owner));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fewer_owners_than_a_quorum_are_not_enough() {
    let mut fleet = Fleet::start(5, 3).await;
    let at = NodeId(1);
    let (content, digest) = content_owned_without(&fleet, 100_000, &[at]);
    let owners = fleet.owners(&digest);
    fleet.kill(owners[0]).await;
    fleet.kill(owners[1]).await;
    let refused = fleet.blobs(at).put(&digest, content.clone(), GcEpoch(0)).await;
    assert!(matches!(refused, Err(WriteError::TooFewCopies(_))), "{refused:?}");
    // When the view says that they are down, others act for them.
    fleet.set_state(owners[0], MemberState::Down);
    fleet.set_state(owners[1], MemberState::Down);
    fleet.blobs(at).put(&digest, content, GcEpoch(0)).await.unwrap();
    assert_eq!(fleet.holders(&digest).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_lease_nothing_is_acknowledged() {
    let fleet = Fleet::start(3, 3).await;
    let content = content(1_000, 9);
    let digest = sha256(&content);
    fleet.blobs(NodeId(2)).cluster().end_lease();
    let refused = fleet.blobs(NodeId(2)).put(&digest, content.clone(), GcEpoch(0)).await;
    assert!(matches!(refused, Err(WriteError::Fenced(_))), "{refused:?}");
    fleet.blobs(NodeId(1)).put(&digest, content.clone(), GcEpoch(0)).await.unwrap();
    // Pulls by digest go on.
    let read = pull(fleet.blobs(NodeId(2)), &digest, content.len()).await.unwrap();
    assert_eq!(read, content);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_with_an_older_view_is_sent_to_the_newer_one() {
    let mut fleet = Fleet::start(5, 3).await;
    let at = NodeId(1);
    let (content, digest) = content_owned_without(&fleet, 400_000, &[at]);
    let owners = fleet.owners(&digest);
    // Everybody but the writer knows that the master is down; its owners are others now.
    fleet.view.members.get_mut(&owners[0]).unwrap().state = MemberState::Down;
    fleet.view.epoch = Epoch(2);
    for node in fleet.alive().into_iter().filter(|node| *node != at) {
        assert!(fleet.blobs(node).cluster().adopt(fleet.view.clone()));
    }
    let (writer, view) = (fleet.blobs(at).clone(), fleet.view.clone());
    let pushing = tokio::spawn({
        let (writer, content) = (writer.clone(), content.clone());
        async move { writer.put(&digest, content, GcEpoch(0)).await }
    });
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    assert!(!pushing.is_finished(), "an older view must not be enough");
    writer.cluster().adopt(view);
    pushing.await.unwrap().unwrap();
    assert_eq!(writer.stats().stale_views, 1);
    let holders = fleet.holders(&digest).await;
    assert!(fleet.owners(&digest).iter().all(|owner| holders.contains(owner)), "{holders:?}");
}

/// Suspicion reorders, it does not exclude: who was passed over is asked when another owner fails.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_suspected_owner_is_asked_when_another_one_fails() {
    let mut fleet = Fleet::start(3, 3).await;
    let (at, dead, suspected) = (NodeId(1), NodeId(2), NodeId(3));
    let content = content(300_000, 7);
    let digest = sha256(&content);
    fleet.kill(dead).await;
    fleet.blobs(at).cluster().suspect(suspected);
    push(fleet.blobs(at), &content, &digest).await;
    assert_eq!(fleet.holders(&digest).await, [at, suspected]);
}
