//! What a submit costs on this machine's disk. Run by hand, it prints and asserts nothing:
//! `cargo test -p atoll-node --test metadata_latency -- --ignored --nocapture`.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test panics when something is wrong; it looks at real time and files"
)]

mod metadata_common;

use std::time::{Duration, Instant};

use atoll_node::metadata::Metadata;
use futures_util::future::join_all;
use metadata_common::*;

fn report(what: &str, mut took: Vec<Duration>, elapsed: Duration) {
    took.sort();
    let at = |share: usize| took[(took.len() - 1) * share / 100];
    let rate = took.len() as f64 / elapsed.as_secs_f64();
    println!("{what}: p50 {:?}, p99 {:?}, {rate:.0}/s", at(50), at(99));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement: run it alone, with --release --ignored --nocapture"]
async fn submit_and_read() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let io = real_io(folder.path());
    let file = io.disk.create_new(std::path::Path::new("probe")).unwrap();
    let (mut took, began) = (Vec::new(), Instant::now());
    for i in 0..500 {
        let start = Instant::now();
        file.write_at(&[7; 4096], i * 4096).unwrap();
        file.sync().unwrap();
        took.push(start.elapsed());
    }
    report("append 4 KiB and sync", took, began.elapsed());

    let metadata = Metadata::open(io, Default::default()).await.unwrap();
    let (mut took, began) = (Vec::new(), Instant::now());
    for i in 0..1000 {
        let start = Instant::now();
        done(&metadata, put("a", &format!("manifest {i}"), "latest")).await;
        took.push(start.elapsed());
    }
    report("submit, one at a time", took, began.elapsed());

    let before = metadata.stats().groups[0].batches;
    let began = Instant::now();
    let lanes = (0..64).map(|lane| {
        let metadata = metadata.clone();
        tokio::spawn(async move {
            let mut took = Vec::new();
            for i in 0..200 {
                let start = Instant::now();
                done(&metadata, put(&format!("r{lane}"), &format!("manifest {i}"), "latest")).await;
                took.push(start.elapsed());
            }
            took
        })
    });
    let took: Vec<_> = join_all(lanes).await.into_iter().flat_map(Result::unwrap).collect();
    let requests = took.len();
    report("submit, 64 at a time", took, began.elapsed());
    println!("  {requests} requests in {} entries", metadata.stats().groups[0].batches - before);

    for lanes in [1, 64] {
        let began = Instant::now();
        let reads = (0..lanes).map(|_| {
            let metadata = metadata.clone();
            tokio::spawn(async move {
                let mut took = Vec::new();
                for _ in 0..500 {
                    let start = Instant::now();
                    let view = metadata.linearizable(&repo("a")).await.unwrap();
                    assert!(tag_in(&view, "a", "latest").is_some());
                    took.push(start.elapsed());
                }
                took
            })
        });
        let took: Vec<_> = join_all(reads).await.into_iter().flat_map(Result::unwrap).collect();
        report(&format!("linearizable tag read, {lanes} at a time"), took, began.elapsed());
    }
    metadata.shutdown().await;
}
