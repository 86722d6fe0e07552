//! Pulls against nodes that die, hang, break off, lie and say no: the caller never notices.

#![allow(clippy::disallowed_methods, reason = "a test on loopback is no simulation")]

mod lib_common;

use std::time::Duration;

use atoll_client::{Digest, Kind, MemorySpool, PullError, Reference, Seed};
use atoll_core::replication::preferred;
use bytes::Bytes;
use lib_common::{Fake, Fault, World, builder, client, content, digest, limits, repo};
use tokio::time::Instant;

/// Who is asked first for a digest.
async fn first<'a>(client: &atoll_client::Client, nodes: &'a [Fake], of: &Digest) -> &'a Fake {
    if client.view().is_none() {
        client.refresh().await.expect("a view");
    }
    let view = client.view().expect("a view");
    let node = preferred(&view, of).expect("an owner");
    nodes.iter().find(|fake| fake.id == node.0).expect("a member")
}

fn kept(world: &World, count: u64, len: usize) -> Vec<(Digest, Bytes)> {
    let one = |seed| {
        let content = content(seed, len);
        (world.keep(&content), content)
    };
    (0..count).map(one).collect()
}

#[tokio::test]
async fn every_pull_is_one_request_to_the_node_that_the_core_prefers() {
    let (world, nodes) = Fake::cluster(5).await;
    let client = client(&nodes);
    for (digest, content) in kept(&world, 60, 1000) {
        let blob = client.blob(&repo(), &digest, Some(1000)).await.expect("a blob");
        assert_eq!(blob.as_bytes(), Some(&content));
        let preferred = first(&client, &nodes, &digest).await.id;
        for node in &nodes {
            let asked = node.asked();
            let expected = usize::from(node.id == preferred);
            assert_eq!(asked.len(), expected, "node {} was asked {asked:?}", node.id);
        }
        let owners = client.owners(&digest);
        assert_eq!(owners.len(), 3);
        assert!(owners.iter().any(|owner| owner.id.0 == preferred));
    }
    assert_eq!(client.stats().fail_overs, 0);
}

#[tokio::test]
async fn a_killed_node_fails_no_pull_and_leaves_the_view() {
    let (world, nodes) = Fake::cluster(5).await;
    let client = client(&nodes);
    let blobs = kept(&world, 40, 5000);
    client.refresh().await.expect("a view");
    nodes[3].kill();
    for (digest, content) in &blobs {
        let blob = client.blob(&repo(), digest, None).await.expect("a blob");
        assert_eq!(blob.into_bytes().await.expect("bytes"), content);
    }
    let before = client.stats();
    assert!(before.fail_overs >= 1, "{before:?}");
    // The cluster notices; the next answer names the new epoch, and the client looks.
    world.set_member(4, "down");
    client.blob(&repo(), &blobs[0].0, None).await.expect("a blob");
    eventually(|| client.view().is_some_and(|view| view.epoch.0 == 2)).await;
    for (digest, _) in &blobs {
        assert!(client.owners(digest).iter().all(|owner| owner.id.0 != 4));
    }
}

async fn eventually(is_so: impl Fn() -> bool) {
    for _ in 0..200 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it did not become so within 2 s");
}

#[tokio::test]
async fn a_node_that_hangs_costs_one_hedge_and_no_time() {
    let (world, nodes) = Fake::cluster(3).await;
    let client = client(&nodes);
    let content = content(1, 1000);
    let digest = world.keep(&content);
    first(&client, &nodes, &digest).await.fail(Fault::Hang);
    let started = Instant::now();
    client.blob(&repo(), &digest, Some(1000)).await.expect("a blob");
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    let stats = client.stats();
    assert_eq!((stats.hedges, stats.hedges_won), (1, 1));
}

#[tokio::test]
async fn hedges_stay_within_their_budget_when_everything_is_slow() {
    let (world, nodes) = Fake::cluster(3).await;
    for node in &nodes {
        node.fail(Fault::Slow(Duration::from_millis(150)));
    }
    let client = client(&nodes);
    let content = content(1, 100);
    let digest = world.keep(&content);
    let repo = repo();
    let pulls = (0..200).map(|_| client.blob(&repo, &digest, Some(100)));
    for pulled in futures_util::future::join_all(pulls).await {
        pulled.expect("a blob");
    }
    let hedges = client.stats().hedges;
    assert!(hedges <= 5 + 10, "{hedges} hedges for 200 pulls");
}

#[tokio::test]
async fn a_body_that_breaks_is_taken_up_at_the_same_byte_elsewhere() {
    for fault in [Fault::Cut(20_000), Fault::Stall(20_000)] {
        let (world, nodes) = Fake::cluster(3).await;
        let client = client(&nodes);
        let content = content(2, 50_000);
        let digest = world.keep(&content);
        let bad = first(&client, &nodes, &digest).await;
        bad.fail(fault.clone());
        let blob = client.blob(&repo(), &digest, Some(50_000)).await.expect("a blob");
        assert_eq!(blob.as_bytes(), Some(&content), "{fault:?}");
        assert_eq!(client.stats().resumes, 1);
        assert_eq!(bad.asked().len(), 1);
        let others = nodes.iter().filter(|node| node.id != bad.id);
        let asked: Vec<String> = others.flat_map(Fake::asked).collect();
        let [resumed] = asked.as_slice() else { panic!("{asked:?}") };
        let (_, from) = resumed.split_once("bytes=").expect("a range");
        let from: u64 = from.split('-').next().expect("a start").parse().expect("a number");
        assert!((8_000..=20_000).contains(&from), "{resumed}");
        assert_eq!(client.stats().bytes_received, 50_000, "no byte came twice");
    }
}

#[tokio::test]
async fn wrong_bytes_never_reach_the_caller_and_are_not_asked_for_again() {
    let (world, nodes) = Fake::cluster(3).await;
    let client = client(&nodes);
    let content = content(3, 10_000);
    let digest = world.keep(&content);
    let bad = first(&client, &nodes, &digest).await;
    bad.fail(Fault::Wrong);
    for _ in 0..3 {
        let blob = client.blob(&repo(), &digest, Some(10_000)).await.expect("a blob");
        assert_eq!(blob.as_bytes(), Some(&content));
    }
    assert_eq!(client.stats().mismatches, 1);
    assert_eq!(bad.asked().len(), 1, "whoever lied once is asked last");
}

#[tokio::test]
async fn one_liar_among_the_replicas_of_a_large_blob_is_found_out() {
    let (world, nodes) = Fake::cluster(3).await;
    let client = client(&nodes);
    let content = content(4, 1_000_000);
    let digest = world.keep(&content);
    let bad = first(&client, &nodes, &digest).await;
    bad.fail(Fault::Wrong);
    let blob = client.blob(&repo(), &digest, Some(1_000_000)).await.expect("a blob");
    assert_eq!(blob.into_bytes().await.expect("bytes"), content);
    assert!((1..=2).contains(&client.stats().mismatches), "{:?}", client.stats());
}

#[tokio::test]
async fn when_everybody_lies_the_error_names_them() {
    let (world, nodes) = Fake::cluster(3).await;
    let client = client(&nodes);
    let content = content(5, 1000);
    let digest = world.keep(&content);
    nodes.iter().for_each(|node| node.fail(Fault::Wrong));
    let error = client.blob(&repo(), &digest, Some(1000)).await.expect_err("only lies");
    assert_eq!(error.kind(), Kind::Content);
    let text = error.to_string();
    assert!(nodes.iter().all(|node| text.contains(&node.address)), "{text}");
    assert!(text.contains("atoll ctl repair"), "{text}");
}

#[tokio::test]
async fn a_length_other_than_the_announced_one_is_a_lie_too() {
    let (world, nodes) = Fake::cluster(3).await;
    let client = client(&nodes);
    let digest = world.keep(&content(6, 1000));
    let error = client.blob(&repo(), &digest, Some(999)).await.expect_err("another length");
    assert_eq!(error.kind(), Kind::Content);
    assert!(error.to_string().contains("1000 bytes there, 999 were expected"), "{error}");
}

#[tokio::test]
async fn a_node_that_says_later_is_passed_over_and_a_cluster_that_does_is_waited_for() {
    let (world, nodes) = Fake::cluster(3).await;
    let client = client(&nodes);
    let digest = world.keep(&content(7, 1000));
    first(&client, &nodes, &digest).await.fail(Fault::Status(503));
    client.blob(&repo(), &digest, Some(1000)).await.expect("another owner has it");
    assert_eq!(client.stats().retries, 0);

    nodes.iter().for_each(|node| node.fail(Fault::Status(429)));
    let healing = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        nodes.iter().for_each(|node| node.fail(Fault::None));
    };
    let (started, repo) = (Instant::now(), repo());
    let (pulled, ()) = tokio::join!(client.blob(&repo, &digest, Some(1000)), healing);
    pulled.expect("they came back");
    assert!(started.elapsed() >= Duration::from_secs(1), "Retry-After was not honoured");
}

#[tokio::test]
async fn an_error_says_who_was_asked_what_came_and_what_to_do() {
    let (world, nodes) = Fake::cluster(3).await;
    let limits = atoll_client::Limits { patience: Duration::from_millis(200), ..limits() };
    let client = builder(&[&nodes[0]]).limits(limits).build().expect("a client");
    let absent = digest(b"nowhere");
    let error = client.blob(&repo(), &absent, None).await.expect_err("absent");
    assert_eq!(error.kind(), Kind::NotFound);
    let node = first(&client, &nodes, &absent).await;
    let expected = format!(
        "pulling `team/app@{absent}` does not exist: {} answered 404 Not Found (BLOB_UNKNOWN: not here)",
        node.address
    );
    assert_eq!(error.to_string(), expected);

    let digest = world.keep(&content(8, 10));
    nodes.iter().for_each(Fake::kill);
    let error = client.blob(&repo(), &digest, None).await.expect_err("nobody is there");
    assert_eq!(error.kind(), Kind::Unavailable);
    let text = error.to_string();
    assert!(nodes.iter().all(|node| text.contains(&node.address)), "{text}");
    assert!(text.contains("check that the nodes run"), "{text}");
}

#[tokio::test]
async fn when_the_addresses_of_the_view_lead_nowhere_the_seed_is_asked() {
    let (world, nodes) = Fake::cluster(1).await;
    // Two ports that nobody listens on.
    let (_, gone) = Fake::cluster(2).await;
    gone.iter().for_each(Fake::kill);
    {
        let mut state = world.state();
        let members = gone.iter().map(|node| (node.id, (node.address.clone(), "up")));
        state.members = members.collect();
    }
    let client = client(&nodes);
    let blobs = kept(&world, 20, 100);
    for (digest, _) in &blobs {
        client.blob(&repo(), digest, None).await.expect("the seed has it");
    }
    assert_eq!(nodes[0].asked().len(), blobs.len());
    let stats = client.stats();
    assert!(stats.fail_overs <= 2, "it is remembered: {stats:?}");
}

#[tokio::test]
async fn any_of_several_seeds_suffices() {
    let (world, nodes) = Fake::cluster(3).await;
    let digest = world.keep(&content(9, 10));
    nodes[0].kill();
    world.set_member(1, "down");
    let client = builder(&[&nodes[0], &nodes[1]]).build().expect("a client");
    client.blob(&repo(), &digest, None).await.expect("the second seed answers");
    assert_eq!(client.nodes().len(), 3);
}

#[tokio::test]
async fn a_name_stands_for_all_its_addresses() {
    let (world, nodes) = Fake::cluster(1).await;
    let digest = world.keep(&content(10, 10));
    let port = nodes[0].address.rsplit_once(':').expect("a port").1;
    let seed: Seed = format!("dns:localhost:{port}").parse().expect("a seed");
    let client = atoll_client::Client::builder(vec![seed]).limits(limits()).build();
    client.expect("a client").blob(&repo(), &digest, None).await.expect("a blob");
}

#[tokio::test]
async fn a_large_blob_comes_from_several_replicas_within_its_memory() {
    let (world, nodes) = Fake::cluster(3).await;
    let limits = atoll_client::Limits {
        ranges_in_flight: 8,
        bytes_in_flight_max: 3 * (64 << 10),
        ..limits()
    };
    let client = builder(&[&nodes[0]]).limits(limits).build().expect("a client");
    let content = content(11, 2_500_000);
    let digest = world.keep(&content);
    let blob = client.blob(&repo(), &digest, Some(2_500_000)).await.expect("a blob");
    assert!(blob.as_bytes().is_none(), "it waits in a file");
    assert_eq!(blob.read_at(1_234_567, 100).await.expect("bytes"), content[1_234_567..1_234_667]);
    assert_eq!(blob.into_bytes().await.expect("bytes"), content);
    let most = world.state().ranges_most;
    assert!((2..=3).contains(&most), "{most} pieces were on their way at a time");
    let shares: Vec<usize> = nodes.iter().map(|node| node.asked().len()).collect();
    assert!(shares.iter().all(|share| *share >= 8), "{shares:?}");
}

#[tokio::test]
async fn a_large_blob_survives_the_loss_of_a_replica_half_way() {
    let (world, nodes) = Fake::cluster(3).await;
    let client = client(&nodes);
    let content = content(12, 2_000_000);
    let digest = world.keep(&content);
    let bad = first(&client, &nodes, &digest).await;
    bad.fail(Fault::Cut(10_000));
    let killing = async {
        tokio::time::sleep(Duration::from_millis(15)).await;
        bad.kill();
    };
    let repo = repo();
    let blob = client.blob(&repo, &digest, None);
    let (blob, ()) = tokio::join!(blob, killing);
    assert_eq!(blob.expect("a blob").into_bytes().await.expect("bytes"), content);
}

#[tokio::test]
async fn a_registry_that_is_no_atoll_and_sends_no_parts_is_pulled_from_too() {
    let (world, nodes) = Fake::cluster(1).await;
    nodes[0].be_plain();
    nodes[0].send_no_ranges();
    let client = builder(&[&nodes[0]]).spool(std::sync::Arc::new(MemorySpool)).build();
    let client = client.expect("a client");
    let content = content(13, 400_000);
    let digest = world.keep(&content);
    for size in [Some(400_000), None] {
        let blob = client.blob(&repo(), &digest, size).await.expect("a blob");
        assert_eq!(blob.into_bytes().await.expect("bytes"), content);
    }
    assert!(client.view().is_none());
    let empty = world.keep(&Bytes::new());
    for size in [Some(0), None] {
        assert!(client.blob(&repo(), &empty, size).await.expect("the empty blob").is_empty());
    }
}

#[tokio::test]
async fn manifests_are_verified_and_taken_from_whoever_tells_the_truth() {
    let (world, nodes) = Fake::cluster(3).await;
    let client = client(&nodes);
    let bytes = Bytes::from_static(br#"{"schemaVersion":2}"#);
    let expected = digest(&bytes);
    let tag: Reference = "v1".parse().expect("a tag");
    let by_digest = Reference::Digest(expected);
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let pushed = client.push_manifest(&repo(), &tag, media_type, bytes.clone()).await;
    assert_eq!(pushed.expect("pushed"), expected);
    let manifest = client.manifest(&repo(), &tag, &[]).await.expect("a manifest");
    assert_eq!((manifest.bytes, manifest.descriptor.digest), (bytes.clone(), expected));
    assert_eq!(client.resolve(&repo(), &tag, &[]).await.expect("it is there").size, 19);

    for reference in [&tag, &by_digest] {
        // One lies: the two that do not are found.
        nodes[1].fail(Fault::Wrong);
        let manifest = client.manifest(&repo(), reference, &[]).await.expect("a manifest");
        assert_eq!(manifest.bytes, bytes);
        nodes.iter().for_each(|node| node.fail(Fault::Wrong));
        let error = client.manifest(&repo(), reference, &[]).await.expect_err("only lies");
        assert!(matches!(error, PullError::Content(_)), "{error}");
        nodes.iter().for_each(|node| node.fail(Fault::None));
    }
    let _ = world;
}

#[tokio::test]
async fn a_new_pull_waits_for_nothing_that_a_dead_node_was_asked() {
    let (world, nodes) = Fake::cluster(3).await;
    let client = client(&nodes);
    let blobs = kept(&world, 200, 2000);
    client.refresh().await.expect("a view");
    let killing = async {
        tokio::time::sleep(Duration::from_millis(5)).await;
        nodes[2].kill();
    };
    let repo = repo();
    let pulls = blobs.iter().map(|(digest, _)| client.blob(&repo, digest, Some(2000)));
    let (pulled, ()) = tokio::join!(futures_util::future::join_all(pulls), killing);
    for (pulled, (_, content)) in pulled.into_iter().zip(&blobs) {
        assert_eq!(pulled.expect("a blob").as_bytes(), Some(content));
    }
}
