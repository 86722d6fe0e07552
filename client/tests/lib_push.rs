//! Pushes: to the master, past dead nodes, and on from where they broke.

#![allow(clippy::disallowed_methods, reason = "a test on loopback is no simulation")]

mod lib_common;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use atoll_client::{FileSource, Kind, Pushed};
use bytes::Bytes;
use lib_common::{Fake, Fault, client, content, digest, repo};

/// The master of a digest.
async fn master<'a>(client: &atoll_client::Client, nodes: &'a [Fake], content: &Bytes) -> &'a Fake {
    client.refresh().await.expect("a view");
    let owners = client.owners(&digest(content));
    nodes.iter().find(|fake| fake.id == owners[0].id.0).expect("a member")
}

fn posted(node: &Fake) -> Vec<String> {
    let asked = node.asked().into_iter();
    asked.filter(|line| !line.starts_with("HEAD") && !line.starts_with("GET")).collect()
}

#[tokio::test]
async fn a_push_goes_to_the_master_and_to_nobody_else() {
    let (world, nodes) = Fake::cluster(5).await;
    let client = client(&nodes);
    for (seed, len) in [(1, 0), (2, 1000), (3, 256 << 10), (4, 900_000)] {
        let content = content(seed, len);
        let digest = digest(&content);
        let master = master(&client, &nodes, &content).await;
        let pushed = client.push_blob(&repo(), &digest, len as u64, content.clone()).await;
        assert_eq!(pushed.expect("pushed"), Pushed::Stored);
        assert_eq!(world.state().blobs.get(&digest), Some(&content));
        for node in &nodes {
            let requests = if len > 256 << 10 { 2 } else { 1 };
            let expected = if node.id == master.id { requests } else { 0 };
            assert_eq!(posted(node).len(), expected, "{len} bytes at node {}", node.id);
        }
        let again = client.push_blob(&repo(), &digest, len as u64, content).await;
        assert_eq!(again.expect("there"), Pushed::Existed);
        assert!(nodes.iter().all(|node| posted(node).is_empty()));
    }
}

#[tokio::test]
async fn a_push_goes_on_at_the_next_node_when_the_master_is_dead() {
    let (world, nodes) = Fake::cluster(3).await;
    let client = client(&nodes);
    for (seed, len) in [(1, 5000), (2, 700_000)] {
        let content = content(seed, len);
        let digest = digest(&content);
        master(&client, &nodes, &content).await.kill();
        client.push_blob(&repo(), &digest, len as u64, content.clone()).await.expect("pushed");
        assert_eq!(world.state().blobs.get(&digest), Some(&content));
    }
}

#[tokio::test]
async fn a_push_that_broke_goes_on_with_the_bytes_that_are_missing() {
    let (world, nodes) = Fake::cluster(3).await;
    let client = client(&nodes);
    let content = content(1, 3_000_000);
    let digest = digest(&content);
    let master = master(&client, &nodes, &content).await;
    master.fail(Fault::CutUpload(1_000_000));
    let sent = Arc::new(AtomicU64::new(0));
    let told = sent.clone();
    let progress: atoll_client::Progress = Arc::new(move |bytes| {
        told.store(bytes, Ordering::Relaxed);
    });
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), &content).expect("written");
    let source = FileSource(file.path().to_owned());
    client
        .push_blob_with_progress(&repo(), &digest, 3_000_000, source, progress)
        .await
        .expect("pushed");
    assert_eq!(world.state().blobs.get(&digest), Some(&content));
    assert_eq!(client.stats().resumes, 1);
    assert_eq!(sent.load(Ordering::Relaxed), 3_000_000);
}

#[tokio::test]
async fn what_cannot_be_read_or_is_something_else_is_no_fault_of_the_registry() {
    let (_world, nodes) = Fake::cluster(3).await;
    let client = client(&nodes);
    let content = content(1, 2000);
    let missing = FileSource("/nonexistent/layer".into());
    let error = client.push_blob(&repo(), &digest(&content), 2000, missing).await;
    assert_eq!(error.expect_err("no file").kind(), Kind::Local);
    let error = client.push_blob(&repo(), &digest(&content), 1999, content.clone()).await;
    assert_eq!(error.expect_err("too long").kind(), Kind::Local);
    let big = lib_common::content(2, 600_000);
    let error = client.push_blob(&repo(), &digest(&big), 700_000, big.clone()).await;
    assert_eq!(error.expect_err("too short").kind(), Kind::Local);
    let error = client.push_blob(&repo(), &digest(b"other"), 2000, content).await;
    let error = error.expect_err("another digest");
    assert_eq!(error.kind(), Kind::Refused);
    assert!(error.to_string().contains("DIGEST_INVALID"), "{error}");
}

#[tokio::test]
async fn a_registry_that_takes_no_blob_in_one_request_is_pushed_to_in_two() {
    let (world, nodes) = Fake::cluster(1).await;
    nodes[0].be_plain();
    let client = client(&nodes);
    let content = content(1, 1000);
    let digest = digest(&content);
    client.push_blob(&repo(), &digest, 1000, content.clone()).await.expect("pushed");
    assert_eq!(world.state().blobs.get(&digest), Some(&content));
    assert_eq!(posted(&nodes[0]).len(), 2);
}
