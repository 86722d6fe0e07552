//! Pulling from several nodes: any node answers, whatever happens to one of them.

#![allow(clippy::unwrap_used, reason = "a test panics when something is wrong")]
#![allow(clippy::disallowed_methods, reason = "a test spoils a file from outside")]

mod replicate_common;

use std::collections::BTreeSet;

use atoll_core::{
    replication::read_order,
    view::{MemberState, NodeId},
};
use atoll_node::replicate::{FetchError, FoundBlob, Presence};
use replicate_common::*;

/// Flips one bit in the middle of a copy.
fn spoil(node: &TestNode, digest: &atoll_core::Digest) {
    let path = node.blob_file(digest);
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, bytes).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_goes_on_when_its_owner_dies() {
    let mut fleet = Fleet::start(4, 3).await;
    let at = NodeId(1);
    let (content, digest) = content_owned_without(&fleet, 20 << 20, &[at]);
    push(fleet.blobs(at), &content, &digest).await;
    let blobs = fleet.blobs(at).clone();
    let found = blobs.open_blob(&digest, content.len() as u64).await.unwrap();
    assert!(matches!(found, FoundBlob::Remote(_)));
    let mut stream = found.stream(0, content.len() as u64);
    let mut read = Vec::new();
    read.extend_from_slice(&stream.next().await.unwrap().unwrap());
    // Whoever is serving dies, and whoever serves then.
    let order = read_order(&fleet.view, &digest, at, &BTreeSet::new());
    for (deaths, serving) in order.into_iter().take(2).enumerate() {
        fleet.kill(serving).await;
        while blobs.stats().resumes == deaths as u64 {
            let next = stream.next().await.unwrap().expect("it broke off before the end");
            read.extend_from_slice(&next);
        }
    }
    while let Some(bytes) = stream.next().await.unwrap() {
        read.extend_from_slice(&bytes);
    }
    assert!(read == content);
    assert_eq!(blobs.stats().resumes, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_dead_owner_fails_no_pull_from_the_first_moment_on() {
    let mut fleet = Fleet::start(5, 3).await;
    let at = NodeId(1);
    let mut pushed = Vec::new();
    for seed in 0..20 {
        let content = content(if seed % 2 == 0 { 2_000 } else { 1_500_000 }, 100 + seed);
        let digest = sha256(&content);
        push(fleet.blobs(at), &content, &digest).await;
        pushed.push((content, digest));
    }
    fleet.kill(NodeId(3)).await;
    for reader in fleet.alive() {
        for (content, digest) in &pushed {
            let read = pull(fleet.blobs(reader), digest, content.len()).await.unwrap();
            assert!(read == *content);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_byte_on_one_replica_never_leaves_and_is_healed() {
    let fleet = Fleet::start(4, 3).await;
    for size in [50_000, 3 << 20] {
        let (content, digest) = content_owned_without(&fleet, size, &[NodeId(1)]);
        push(fleet.blobs(NodeId(1)), &content, &digest).await;
        for owner in fleet.owners(&digest) {
            // Small blobs are in memory since their push; a fresh look needs a fresh node.
            spoil(fleet.node(owner), &digest);
            for reader in fleet.alive() {
                let read = pull(fleet.blobs(reader), &digest, size).await.unwrap();
                assert!(read == content, "node {reader}");
            }
        }
        let owners = fleet.owners(&digest);
        if size > 1 << 20 {
            fleet.until_held_by(&digest, &owners).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_that_lacks_a_blob_gets_it_while_it_serves() {
    let mut fleet = Fleet::start(4, 3).await;
    let (content, digest) = content_owned_without(&fleet, 3 << 20, &[NodeId(1)]);
    push(fleet.blobs(NodeId(1)), &content, &digest).await;
    let owners = fleet.owners(&digest);
    // The view changes: node 1 acts for the first owner, and has nothing yet.
    fleet.set_state(owners[0], MemberState::Down);
    assert!(fleet.owners(&digest).contains(&NodeId(1)));
    let new = fleet.blobs(NodeId(1)).clone();
    let readers: Vec<_> = (0..8)
        .map(|_| {
            let (new, size) = (new.clone(), content.len());
            tokio::spawn(async move { pull(&new, &digest, size).await.unwrap() })
        })
        .collect();
    for reader in readers {
        assert!(reader.await.unwrap() == content);
    }
    fleet.until_held_by(&digest, &[NodeId(1), owners[0], owners[1], owners[2]]).await;
    assert_eq!(new.stats().fetches, 1);
    fleet.node(NodeId(1)).until_no_uploads().await;
    let found = new.open_blob(&digest, content.len() as u64).await.unwrap();
    assert!(matches!(found, FoundBlob::Opened(_)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_come_from_any_node_too() {
    let fleet = Fleet::start(4, 3).await;
    let (content, digest) = content_owned_without(&fleet, 3 << 20, &[NodeId(1)]);
    push(fleet.blobs(NodeId(2)), &content, &digest).await;
    let found = fleet.blobs(NodeId(1)).open_blob(&digest, content.len() as u64).await.unwrap();
    for (start, end) in [(0, 1), (5, 70_000), (1 << 20, 3 << 20), ((3 << 20) - 1, 3 << 20), (7, 7)]
    {
        let part = read(&found, start, end).await.unwrap();
        assert!(part == content.slice(start as usize..end as usize), "{start}..{end}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn absence_takes_a_quorum_of_negatives_and_a_lease() {
    let mut fleet = Fleet::start(4, 3).await;
    let (content, digest) = content_owned_without(&fleet, 10_000, &[NodeId(1)]);
    let blobs = fleet.blobs(NodeId(1)).clone();
    assert_eq!(blobs.find(&digest).await, Presence::Absent);
    blobs.cluster().end_lease();
    assert_eq!(blobs.find(&digest).await, Presence::Unknown);
    blobs.cluster().extend_lease(std::time::Duration::from_secs(1 << 30));
    let owners = fleet.owners(&digest);
    // One of three may be missing, two may not.
    fleet.kill(owners[0]).await;
    assert_eq!(blobs.find(&digest).await, Presence::Absent);
    fleet.kill(owners[1]).await;
    assert_eq!(blobs.find(&digest).await, Presence::Unknown);
    let lost = pull(&blobs, &digest, content.len()).await;
    assert!(matches!(lost, Err(FetchError::OutOfReach(_))), "{lost:?}");
    fleet.revive(owners[1]).await;
    // The others left: two owners of three hold it, and either of them is enough to find it.
    push(&blobs, &content, &digest).await;
    fleet.kill(owners[2]).await;
    assert_eq!(blobs.find(&digest).await, Presence::Present(10_000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pins_see_to_it_that_a_quorum_has_each_blob() {
    let mut fleet = Fleet::start(4, 3).await;
    let at = NodeId(1);
    let (content, digest) = content_owned_without(&fleet, 200_000, &[at]);
    push(fleet.blobs(at), &content, &digest).await;
    let owners = fleet.owners(&digest);
    let missing = sha256(b"never pushed");
    let pinned = fleet.blobs(at).pin(&[digest, missing], 7).await;
    assert_eq!((pinned.absent, pinned.out_of_reach), (vec![missing], vec![]));
    // Two copies vanish: the pin brings them back.
    for owner in &owners[..2] {
        std::fs::remove_dir_all(fleet.node(*owner).blob_file(&digest).parent().unwrap()).unwrap();
    }
    let pinned = fleet.blobs(at).pin(&[digest], 7).await;
    assert_eq!((pinned.absent, pinned.out_of_reach), (vec![], vec![]));
    fleet.until_held_by(&digest, &owners).await;
    // Two owners out of reach: not absent, and not good either.
    fleet.kill(owners[0]).await;
    fleet.kill(owners[1]).await;
    let pinned = fleet.blobs(at).pin(&[digest], 7).await;
    assert_eq!((pinned.absent, pinned.out_of_reach), (vec![], vec![digest]));
}
