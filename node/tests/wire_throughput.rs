//! How much TLS costs: a blob over one connection on loopback. Measures and prints; asserts nothing
//! about speed, because machines differ.

#![allow(clippy::unwrap_used, reason = "a test panics when something is wrong")]

mod wire_support;

use std::time::Instant;

use atoll_node::wire::Security;
use http_body_util::BodyExt;
use wire_support::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement: run it alone, with --release --ignored --nocapture"]
async fn a_blob_over_tls_and_plaintext() {
    let ca = authorities(CLUSTER);
    let pairs = [
        ("plaintext", Security::plaintext(), Security::plaintext()),
        ("mTLS", member(&ca, 1), member(&ca, 2)),
    ];
    for (what, server, caller) in pairs {
        let server = Server::start(&server).await;
        let channel = server.channel(&caller);
        call(&channel, OTHER).await.unwrap();
        for round in 1..=3 {
            #[allow(clippy::disallowed_methods, reason = "the test's own watch")]
            let begun = Instant::now();
            let mut body = send(&channel, BLOB).await.unwrap().into_body();
            let mut bytes = 0;
            while let Some(frame) = body.frame().await {
                bytes += frame.unwrap().data_ref().map_or(0, bytes::Bytes::len);
            }
            assert_eq!(bytes, BLOB_BYTES);
            let seconds = begun.elapsed().as_secs_f64();
            println!("{what}, round {round}: {:.0} MiB/s", 64.0 / seconds);
        }
        let mut connects = 0;
        #[allow(clippy::disallowed_methods, reason = "the test's own watch")]
        let begun = Instant::now();
        while begun.elapsed().as_millis() < 500 {
            server.call(&caller, OTHER).await.unwrap();
            connects += 1;
        }
        println!("{what}: {:.2} ms for a connection and a call", 500.0 / f64::from(connects));
    }
}
