//! Nodes found a cluster, join it, die and come back: what each of them sees.
#![allow(clippy::unwrap_used, reason = "a test panics when something is wrong")]
#![allow(clippy::disallowed_methods, reason = "a test, on the real machine")]

mod cluster_common;

use std::time::{Duration, Instant};

use atoll_core::{Digest, digest::Algorithm};
use atoll_node::{
    app::node::NodeSettings,
    cluster::{
        ca::Authorities,
        token::{self, Token},
        znodes,
    },
    config::{HostPort, Secret, TlsPolicy},
    io::{Clock, clock::RealClock, entropy::OsEntropy},
};
use cluster_common::{DEADLINE, TestNode, is_up, open_token, settings, settled};

/// A founder and two that join it.
fn three(folder: &std::path::Path) -> Vec<TestNode> {
    let token = open_token();
    let first = TestNode::start(&folder.join("1"), settings("n1", &token, &[])).unwrap();
    let join = first.grpc.clone();
    let mut nodes = vec![first];
    for number in ["2", "3"] {
        let settings = settings(&format!("n{number}"), &token, &[&join]);
        nodes.push(TestNode::start(&folder.join(number), settings).unwrap());
    }
    for node in &nodes {
        node.wait_view("all three are in the ring", |view| settled(view, &[1, 2, 3]));
    }
    nodes
}

#[test]
fn a_node_that_dies_is_down_in_time_and_back_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut nodes = three(folder.path());
    let hashes: Vec<_> = nodes.iter().map(|node| node.cluster.view_hash()).collect();
    assert!(hashes.iter().all(|hash| *hash == hashes[0]), "all hold one view");
    let digest = Digest::of(Algorithm::Sha256, b"x");
    assert_eq!(nodes[0].view().acting(&digest).len(), 3);

    let last = nodes.pop().unwrap();
    let (place, mut again) = last.kill();
    let begun = Instant::now();
    for node in &nodes {
        node.wait_view("the third is down", |view| !is_up(view, 3));
        let took = begun.elapsed();
        println!("node {} saw it down after {took:?}", node.cluster.me());
        // Heartbeats come every 500 ms and expiry is rounded up to the next tick of 500 ms; a busy
        // machine adds to it.
        assert!(
            took > Duration::from_millis(2400),
            "{took:?}: earlier than the session's time-out"
        );
        assert!(took < Duration::from_millis(4500), "{took:?}");
        assert_eq!(node.view().acting(&digest).len(), 2, "two act");
        assert_eq!(node.view().placement(&digest).len(), 3, "down is not out");
    }

    // It comes back at another address.
    again.cluster.token = None;
    let begun = Instant::now();
    let back = TestNode::start(&place, again).unwrap();
    println!("started again within {:?}", begun.elapsed());
    for node in nodes.iter().chain([&back]) {
        let late = node.wait_view("the third is back", |view| is_up(view, 3));
        assert!(late < Duration::from_secs(1), "{late:?} after it was ready");
        node.wait_view("it is reached where it is now", |view| {
            view.members.values().any(|member| member.grpc == back.grpc && member.incarnation == 2)
        });
        node.wait_view("all is settled", |view| settled(view, &[1, 2, 3]));
    }
    nodes.push(back);
    // A node that stops in order is gone at once.
    let begun = Instant::now();
    nodes.pop().unwrap().stop();
    nodes[1].wait_view("the third has gone", |view| !is_up(view, 3));
    println!("stopped and gone within {:?}", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_millis(2400), "{:?}", begun.elapsed());
}

#[test]
fn the_cluster_goes_on_without_its_founder() {
    let folder = tempfile::tempdir().unwrap();
    let mut nodes = three(folder.path());
    // All three vote once the autopilot has seen them.
    std::thread::sleep(Duration::from_secs(2));
    let (place, again) = nodes.remove(0).kill();
    let begun = Instant::now();
    for node in &nodes {
        node.wait_view("the first is down", |view| !is_up(view, 1));
    }
    println!("a new keeper saw the founder down after {:?}", begun.elapsed());
    let lease = || nodes.iter().all(|node| node.cluster.lease_is_valid());
    let begun = Instant::now();
    while !lease() {
        assert!(begun.elapsed() < DEADLINE, "no lease without the founder");
        std::thread::sleep(Duration::from_millis(20));
    }
    let first = TestNode::start(&place, again).unwrap();
    for node in nodes.iter().chain([&first]) {
        node.wait_view("the founder is back", |view| settled(view, &[1, 2, 3]));
    }
}

#[test]
fn a_cluster_that_moves_as_a_whole_finds_itself_again() {
    let folder = tempfile::tempdir().unwrap();
    let nodes = three(folder.path());
    // All three vote once the autopilot has seen them.
    std::thread::sleep(Duration::from_secs(2));
    let mut ended: Vec<_> = nodes.into_iter().map(TestNode::kill).collect();
    // The first is where the others are told to look; everything else is anywhere.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    ended[0].1.cluster.listen = free;
    for (_, settings) in &mut ended[1..] {
        settings.cluster.join = vec![HostPort::parse(&free.to_string()).unwrap()];
    }
    let begun = Instant::now();
    let starting: Vec<_> = ended
        .into_iter()
        .map(|(place, settings)| {
            std::thread::spawn(move || TestNode::start(&place, settings).unwrap())
        })
        .collect();
    let nodes: Vec<_> = starting.into_iter().map(|node| node.join().unwrap()).collect();
    for node in &nodes {
        node.wait_view("all are up where they are now", |view| {
            settled(view, &[1, 2, 3])
                && nodes.iter().all(|node| {
                    let found = view.members.get(&node.cluster.me());
                    found.is_some_and(|member| member.grpc == node.grpc)
                })
        });
    }
    println!("together again within {:?}", begun.elapsed());
}

#[test]
fn only_a_good_token_lets_a_node_in() {
    let folder = tempfile::tempdir().unwrap();
    let token = open_token();
    let first = TestNode::start(&folder.path().join("1"), settings("n1", &token, &[])).unwrap();
    let refusal = |name: &str, settings| {
        let error = TestNode::start(&folder.path().join(name), settings).err();
        format!("{:#}", error.expect("not let in"))
    };
    let other = settings("n2", &open_token(), &[&first.grpc]);
    let told = refusal("2", other);
    assert!(told.contains("refuses this node: no join token"), "{told}");
    let mut none = settings("n3", &token, &[&first.grpc]);
    none.cluster.token = None;
    let told = refusal("3", none);
    assert!(told.contains("neither cluster.token nor cluster.token_file"), "{told}");
    assert_eq!(first.view().members.len(), 1);
    // The folder of one that was refused can be used with a better token.
    let second = TestNode::start(&folder.path().join("2"), settings("n2", &token, &[&first.grpc]));
    second.unwrap().wait_view("both are in the ring", |view| settled(view, &[1, 2]));
}

/// A token that the cluster of `node` has issued.
fn issue(node: &TestNode, lifetime: Duration, uses: u32) -> Secret {
    let token = node.with_session(async |session| {
        let authority = match session.get(znodes::CA).await {
            Ok((data, _)) => {
                let authorities: Authorities = znodes::decode(&data).unwrap();
                Some(authorities.fingerprint().unwrap())
            }
            Err(_) => None,
        };
        let token = Token::draw(authority, &OsEntropy);
        let record = token.record(RealClock::new().wall(), lifetime, uses);
        token::issue(session, &token, &record).await.unwrap();
        token
    });
    Secret::parse(&token.reveal()).unwrap()
}

/// What a node is told that is not let in.
fn refused(place: std::path::PathBuf, settings: NodeSettings) -> String {
    let error = TestNode::start(&place, settings).err();
    format!("{:#}", error.expect("not let in"))
}

#[test]
fn a_used_or_expired_token_lets_nobody_in() {
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name);
    let first = TestNode::start(&place("1"), settings("n1", &open_token(), &[])).unwrap();
    let hour = Duration::from_secs(3600);
    let once = issue(&first, hour, 1);
    let second = TestNode::start(&place("2"), settings("n2", &once, &[&first.grpc])).unwrap();
    let told = refused(place("3"), settings("n3", &once, &[&second.grpc]));
    assert!(told.contains("was used already"), "{told}");
    let late = issue(&first, Duration::ZERO, 1);
    let told = refused(place("3"), settings("n3", &late, &[&first.grpc]));
    assert!(told.contains("has expired"), "{told}");
    // A folder that has joined needs no token any more.
    drop(second);
    let again = TestNode::start(&place("2"), settings("n2", &late, &[&first.grpc])).unwrap();
    again.wait_view("the second is back", |view| is_up(view, 2));
}

#[test]
fn nodes_that_speak_tls_join_and_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let secured = |name: &str, token: &Secret, join: &[&str]| {
        let mut settings = settings(name, token, join);
        settings.cluster.tls = TlsPolicy::Always;
        settings
    };
    let place = |name: &str| folder.path().join(name);
    let first = TestNode::start(&place("1"), secured("n1", &open_token(), &[])).unwrap();
    let begun = Instant::now();
    while first.cluster.security().identity().is_none() {
        assert!(begun.elapsed() < DEADLINE, "the founder has no certificate");
        std::thread::sleep(Duration::from_millis(10));
    }
    let plain = refused(place("2"), settings("n2", &open_token(), &[&first.grpc]));
    println!("plaintext is told: {plain}");
    let token = issue(&first, Duration::from_secs(3600), 1);
    let join = first.grpc.clone();
    let second = TestNode::start(&place("2"), secured("n2", &token, &[&join])).unwrap();
    for node in [&first, &second] {
        node.wait_view("both are in the ring", |view| settled(view, &[1, 2]));
    }
    let (place, again) = second.kill();
    first.wait_view("the second is down", |view| !is_up(view, 2));
    let second = TestNode::start(&place, again).unwrap();
    second.wait_view("it is back", |view| settled(view, &[1, 2]));
}
