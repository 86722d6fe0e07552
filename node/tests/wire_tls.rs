//! Who gets through the door of a cluster listener, over real connections.

#![allow(clippy::unwrap_used, reason = "a test panics when something is wrong")]

mod wire_support;

use std::{sync::Arc, time::Duration};

use atoll_node::{
    cluster::ca::Authorities,
    io::{clock::SimClock, net},
    wire::{
        Security,
        tls::{Fingerprint, Identity},
    },
};
use rcgen::{CertificateParams, Issuer, KeyPair, SanType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wire_support::*;

/// The refusal of `outcome`, which must be one and say `why`.
#[track_caller]
fn refused(outcome: Result<String, String>, why: &str) {
    let text = outcome.expect_err("let in");
    assert!(text.contains(why), "`{text}` does not say `{why}`");
}

#[tokio::test]
async fn members_know_each_other() {
    let ca = authorities(CLUSTER);
    let server = Server::start(&member(&ca, 1)).await;
    let caller = member(&ca, 2);
    assert_eq!(server.call(&caller, OTHER).await.unwrap(), "atoll://c1/node/2");
    assert_eq!(server.call_node(1, &caller).await.unwrap(), "atoll://c1/node/2");
}

#[tokio::test]
async fn plaintext_among_plaintext_proves_nothing() {
    let server = Server::start(&Security::plaintext()).await;
    let answer = server.call(&Security::plaintext(), OTHER).await;
    assert_eq!(answer.unwrap(), "Some(Unproven)");
}

#[tokio::test]
async fn another_node_at_the_address_is_refused() {
    let ca = authorities(CLUSTER);
    let server = Server::start(&member(&ca, 1)).await;
    refused(server.call_node(3, &member(&ca, 2)).await, "it is node 1, not node 3");
}

#[tokio::test]
async fn a_stranger_may_join_and_nothing_else() {
    let ca = authorities(CLUSTER);
    let server = Server::start(&member(&ca, 1)).await;
    let stranger = Security::joining(clock(), ca.fingerprint().unwrap());
    assert_eq!(server.call(&stranger, JOIN).await.unwrap(), "Some(Stranger)");
    refused(server.call(&stranger, OTHER).await, "is for members");
}

#[tokio::test]
async fn a_newcomer_tells_nothing_to_another_ca() {
    let server = Server::start(&member(&authorities(CLUSTER), 1)).await;
    let stranger = Security::joining(clock(), Fingerprint::of(b"another"));
    refused(server.call(&stranger, JOIN).await, "that the join token names");
}

#[tokio::test]
async fn a_foreign_ca_is_refused_at_both_ends() {
    let (ca, foreign) = (authorities(CLUSTER), authorities(CLUSTER));
    let server = Server::start(&member(&ca, 1)).await;
    refused(
        server.call(&member(&foreign, 2), OTHER).await,
        "its certificate was not signed by this cluster's CA",
    );
    // One that believes the server's CA gets further, and learns that it is not believed.
    let pem = format!("{}{}", foreign.trusted_pem(), ca.trusted_pem());
    let deceived = impostor(&foreign, &pem);
    refused(server.call(&deceived, OTHER).await, "it refused this node's certificate");
}

/// Node 2 with a certificate of `signer`, believing `trusted_pem`.
fn impostor(signer: &Authorities, trusted_pem: &str) -> Security {
    use atoll_node::cluster::certificate::NodeKey;
    let key = NodeKey::generate().unwrap();
    let request = key.request_pem().unwrap();
    let signed = signer.sign(&request, &name(CLUSTER, 2), now(), LIFETIME).unwrap();
    mtls(key.with_certificate(&signed, trusted_pem).identity().unwrap())
}

#[tokio::test]
async fn another_cluster_is_refused_though_its_ca_is_the_same() {
    let ca = authorities(CLUSTER);
    let server = Server::start(&member(&ca, 1)).await;
    let other = mtls(identity(&ca, "c2", 2));
    refused(server.call(&other, OTHER).await, "it belongs to cluster `c1`, this node to `c2`");
}

#[tokio::test]
async fn an_expired_certificate_is_refused_at_both_ends() {
    let ca = authorities(CLUSTER);
    let past = now() - 2 * LIFETIME;
    let expired = || mtls(identity_at(&ca, CLUSTER, 2, past));
    let server = Server::start(&member(&ca, 1)).await;
    refused(
        server.call(&expired(), OTHER).await,
        "refused this node's certificate: it has expired",
    );
    let server = Server::start(&expired()).await;
    refused(server.call(&member(&ca, 1), OTHER).await, "its certificate has expired");
}

#[tokio::test]
async fn a_certificate_of_the_future_is_refused() {
    let ca = authorities(CLUSTER);
    let server = Server::start(&mtls(identity_at(&ca, CLUSTER, 1, now() + LIFETIME))).await;
    refused(server.call(&member(&ca, 2), OTHER).await, "not valid yet");
}

#[tokio::test]
async fn the_node_s_own_clock_decides_what_has_expired() {
    let ca = authorities(CLUSTER);
    let security = Security::mtls(Arc::new(SimClock::with_offset(2 * 3_600_000)));
    security.install(identity(&ca, CLUSTER, 1)).unwrap();
    let server = Server::start(&member(&ca, 2)).await;
    refused(server.call(&security, OTHER).await, "its certificate has expired");
}

#[tokio::test]
async fn a_node_s_certificate_signs_no_others() {
    let ca = authorities(CLUSTER);
    let server = Server::start(&member(&ca, 1)).await;

    // Node 2 has a certificate as it should be, and uses its key as an authority's.
    let key = KeyPair::generate().unwrap();
    let request = CertificateParams::default().serialize_request(&key).unwrap().pem().unwrap();
    let own = ca.sign(&request, &name(CLUSTER, 2), now(), LIFETIME).unwrap();
    let issuer = Issuer::from_ca_cert_pem(&own, key).unwrap();
    let mut params = CertificateParams::default();
    let uri = name(CLUSTER, 3).to_string().try_into().unwrap();
    params.subject_alt_names = vec![SanType::URI(uri)];
    let forged_key = KeyPair::generate().unwrap();
    let forged = params.signed_by(&forged_key, &issuer).unwrap().pem();

    let pem = [forged_key.serialize_pem(), forged, own, ca.trusted_pem()].concat();
    let caller = mtls(Identity::from_pem(&pem).unwrap());
    refused(server.call(&caller, OTHER).await, "refused");
}

#[tokio::test]
async fn a_removed_node_is_refused_on_old_and_new_connections() {
    let ca = authorities(CLUSTER);
    let (security, caller) = (member(&ca, 1), member(&ca, 2));
    let server = Server::start(&security).await;
    let channel = server.channel(&caller);
    assert!(call(&channel, OTHER).await.is_ok());
    security.refuse_removed(|node| node.0 == 2);
    refused(call(&channel, OTHER).await, "node 2 was removed");
    assert!(server.call(&caller, OTHER).await.is_err());
    assert!(server.call(&member(&ca, 3), OTHER).await.is_ok());
}

#[tokio::test]
async fn without_a_certificate_nothing_connects_and_nobody_is_let_in() {
    let ca = authorities(CLUSTER);
    let (early, caller) = (Security::mtls(clock()), member(&ca, 2));
    let server = Server::start(&early).await;
    assert!(server.call(&caller, OTHER).await.is_err());
    refused(server.call(&early, OTHER).await, "no certificate yet");
    early.install(identity(&ca, CLUSTER, 1)).unwrap();
    assert!(server.call(&caller, OTHER).await.is_ok());
}

#[tokio::test]
async fn plaintext_to_tls_is_told_what_to_do() {
    let server = Server::start(&member(&authorities(CLUSTER), 1)).await;
    for _ in 0..20 {
        let answer = server.call(&Security::plaintext(), OTHER).await;
        refused(answer, "this cluster port speaks TLS");
    }
}

#[tokio::test]
async fn tls_to_plaintext_is_told_what_to_do() {
    let server = Server::start(&Security::plaintext()).await;
    let answer = server.call(&member(&authorities(CLUSTER), 2), OTHER).await;
    refused(answer, "it does not speak TLS");
}

#[tokio::test]
async fn garbage_and_silence_at_the_door_end_and_harm_nobody() {
    let ca = authorities(CLUSTER);
    let server = Server::start(&member(&ca, 1)).await;
    let mut silent = Vec::new();
    for round in 0..40_u8 {
        let mut stream = net::connect(server.address, Duration::from_secs(1)).await.unwrap();
        match round % 4 {
            0 => {}
            1 => stream.write_all(&[0x16, 3, 1, 0xff, 0xff, round, 0, 0]).await.unwrap(),
            2 => stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap(),
            _ => stream.write_all(&[0x16, 3, 1, 0, 4, 1, 0, 0, 0]).await.unwrap(),
        }
        silent.push(stream);
    }
    assert!(server.call(&member(&ca, 2), OTHER).await.is_ok());
    for mut stream in silent {
        let ended = tokio::time::timeout(Duration::from_secs(8), async {
            let mut sink = [0; 1024];
            while matches!(stream.read(&mut sink).await, Ok(read) if read > 0) {}
        });
        ended.await.expect("the listener ends what does not shake hands");
    }
}
