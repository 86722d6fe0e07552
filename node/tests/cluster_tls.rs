//! Whole nodes that speak TLS with each other: founding, joining, coming back.
#![allow(clippy::unwrap_used, reason = "a test panics when something is wrong")]
#![allow(clippy::disallowed_methods, reason = "a test, on the real machine")]

mod cluster_common;

use std::time::Instant;

use atoll_node::{
    app::node::NodeSettings,
    config::{Secret, TlsPolicy},
    wire::tls::Fingerprint,
};
use cluster_common::{DEADLINE, TestNode, open_token, settings, settled};

/// As nodes elsewhere: loopback is no reason for plaintext.
fn secured(name: &str, token: &Secret, join: &[&str]) -> NodeSettings {
    let mut settings = settings(name, token, join);
    settings.cluster.tls = TlsPolicy::Always;
    settings
}

fn authority(node: &TestNode) -> Fingerprint {
    let begun = Instant::now();
    loop {
        if let Some(identity) = node.cluster.security().identity() {
            assert_eq!(identity.name().node, node.cluster.me());
            return Fingerprint::of(&identity.chain()[1]);
        }
        assert!(begun.elapsed() < DEADLINE, "no certificate");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

#[test]
fn nodes_found_join_and_come_back_over_tls() {
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name);
    let plain = open_token();
    let first = TestNode::start(&place("1"), secured("n1", &plain, &[])).unwrap();
    assert!(!first.cluster.security().is_plaintext());
    let names = |authority: Fingerprint| {
        Secret::parse(&plain.reveal().replace("plain", &authority.to_string())).unwrap()
    };
    let token = names(authority(&first));

    let refusal = |settings| {
        format!("{:#}", TestNode::start(&place("2"), settings).err().expect("not let in"))
    };
    let told = refusal(secured("n2", &plain, &[&first.grpc]));
    assert!(told.contains("speaks plaintext, and this node would speak TLS"), "{told}");
    let told = refusal(settings("n2", &token, &[&first.grpc]));
    assert!(told.contains("speaks TLS, and this node would speak plaintext"), "{told}");

    let second = TestNode::start(&place("2"), secured("n2", &token, &[&first.grpc])).unwrap();
    let third = TestNode::start(&place("3"), secured("n3", &token, &[&second.grpc])).unwrap();
    for node in [&first, &second, &third] {
        node.wait_view("all three are in the ring", |view| settled(view, &[1, 2, 3]));
        assert_eq!(authority(node), authority(&first));
    }

    // It comes back with the certificate that it kept.
    let (place, again) = third.kill();
    let third = TestNode::start(&place, again).unwrap();
    assert_eq!(third.cluster.incarnation(), 2);
    for node in [&first, &second, &third] {
        node.wait_view("the third is back", |view| {
            settled(view, &[1, 2, 3]) && view.members.values().any(|member| member.incarnation == 2)
        });
    }
}
