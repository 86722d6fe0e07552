//! The power goes at every operation of the disk. Whatever was acknowledged is there afterwards, and
//! whatever was not is there whole or not at all (promises P1 and P4).

#![allow(clippy::unwrap_used, reason = "a test panics when something is wrong")]

mod metadata_common;

use std::sync::Arc;

use atoll_core::metadata::{Command, query};
use atoll_node::{
    io::disk::sim::{CrashPoint, Faults, Loss, SimDisk},
    metadata::{Metadata, MetadataSettings, Snapshot},
};
use metadata_common::*;

/// Pushes in one life. With the short snapshot interval below, the log is purged in between.
const PUSHES: usize = 8;

fn settings() -> MetadataSettings {
    MetadataSettings { snapshot_interval: 3, entries_kept: 1, ..Default::default() }
}

/// Push `i`: a manifest and three tags, one of which every push moves.
fn push(i: usize) -> Command {
    let Command::PutManifest(mut put) = put("a", &format!("manifest {i}"), "latest") else {
        unreachable!("put makes a PutManifest")
    };
    put.tags.extend([tag(&format!("t{i}-a")), tag(&format!("t{i}-b"))]);
    Command::PutManifest(put)
}

/// Opens, pushes one after the other until something fails, and says how many were acknowledged
/// and how many were tried.
async fn live(disk: &SimDisk, seed: u64) -> (usize, usize) {
    let Ok(metadata) = Metadata::open(io_on(disk.mount(), seed), settings()).await else {
        return (0, 0);
    };
    let mut acknowledged = 0;
    while acknowledged < PUSHES && metadata.submit(push(acknowledged)).await.is_ok() {
        acknowledged += 1;
    }
    metadata.shutdown().await;
    (acknowledged, (acknowledged + 1).min(PUSHES))
}

fn present(view: &Snapshot, i: usize) -> bool {
    let manifest = query::manifest(view, &repo("a"), &digest(&format!("manifest {i}"))).unwrap();
    let expected = digest(&format!("manifest {i}"));
    let tags = ["a", "b"].map(|side| tag_in(view, "a", &format!("t{i}-{side}")));
    let parts = [manifest.is_some(), tags[0] == Some(expected), tags[1] == Some(expected)];
    assert!(parts == [true; 3] || parts == [false; 3], "push {i} is half there: {parts:?}");
    parts[0]
}

async fn check(metadata: &Metadata, acknowledged: usize, tried: usize) {
    let view = metadata.linearizable(&repo("a")).await.unwrap();
    let there = (0..PUSHES).filter(|i| present(&view, *i)).count();
    assert!((0..there).all(|i| present(&view, i)), "a push is missing in the middle");
    assert!(there >= acknowledged, "{acknowledged} were acknowledged, {there} are there");
    assert!(there <= tried, "{tried} were tried, {there} are there");
    let newest = there.checked_sub(1).map(|i| digest(&format!("manifest {i}")));
    assert_eq!(tag_in(&view, "a", "latest"), newest);
}

async fn crash_and_recover(operation: u64, point: CrashPoint, loss: Loss) {
    let disk = SimDisk::new(operation, Faults::default());
    disk.crash_at(operation, point);
    let (acknowledged, tried) = live(&disk, 1).await;
    disk.power_cut(loss);
    let metadata = Metadata::open(io_on(disk.mount(), 2), settings()).await.unwrap();
    check(&metadata, acknowledged, tried).await;
    // It goes on from there.
    done(&metadata, link("b", "x")).await;
    metadata.shutdown().await;
}

async fn every_operation(loss: Loss) {
    let whole = SimDisk::new(0, Faults::default());
    assert_eq!(live(&whole, 1).await, (PUSHES, PUSHES));
    let operations = whole.operation_count();
    assert!(operations > 100, "only {operations} operations: the test is not what it was");
    for operation in 0..operations {
        // On the disk, after one operation is before the next: taking turns tries every state.
        let point = if operation % 2 == 0 { CrashPoint::Before } else { CrashPoint::After };
        let run = tokio::spawn(crash_and_recover(operation, point, loss));
        let context = || format!("REPEAT: crash {point:?} operation {operation}, {loss:?}");
        run.await.unwrap_or_else(|error| panic!("{}: {error}", context()));
    }
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_when_everything_unsynced_is() {
    every_operation(Loss::DropAll).await;
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_when_everything_is_kept() {
    every_operation(Loss::KeepAll).await;
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_when_any_write_may_be() {
    every_operation(Loss::Random).await;
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_when_writes_tear() {
    every_operation(Loss::Torn).await;
}

/// Concurrent pushes share entries; a crash takes whole entries or nothing.
#[tokio::test]
async fn concurrent_pushes_are_whole_too() {
    for seed in 0..40 {
        let disk = SimDisk::new(seed, Faults::default());
        let metadata = Arc::new(Metadata::open(io_on(disk.mount(), 1), settings()).await.unwrap());
        disk.crash_at(disk.operation_count() + 3 + seed, CrashPoint::Before);
        let pushes = (0..PUSHES).map(|i| {
            let metadata = metadata.clone();
            tokio::spawn(async move { metadata.submit(push(i)).await.is_ok() })
        });
        let acknowledged: Vec<bool> =
            futures_util::future::join_all(pushes).await.into_iter().map(Result::unwrap).collect();
        metadata.shutdown().await;
        disk.power_cut(Loss::ALL[seed as usize % Loss::ALL.len()]);

        let metadata = Metadata::open(io_on(disk.mount(), 2), settings()).await.unwrap();
        let view = metadata.linearizable(&repo("a")).await.unwrap();
        for (i, acknowledged) in acknowledged.into_iter().enumerate() {
            assert!(present(&view, i) || !acknowledged, "seed {seed}: push {i} is lost");
        }
        drop(view);
        metadata.shutdown().await;
    }
}

/// A disk that fails stops the group; nothing is skipped, and a restart has all of it.
#[tokio::test]
async fn a_failing_disk_stops_the_group() {
    let disk = SimDisk::new(1, Faults::default());
    let metadata = Metadata::open(io_on(disk.mount(), 1), settings()).await.unwrap();
    done(&metadata, push(0)).await;
    disk.set_faults(|faults| faults.write_error = 1.0);
    let error = metadata.submit(push(1)).await.unwrap_err();
    assert!(matches!(error, atoll_node::metadata::SubmitError::Fatal(_)), "{error:?}");
    disk.set_faults(|faults| faults.write_error = 0.0);
    // The disk is well again, but this life of the group is over.
    assert!(metadata.submit(push(1)).await.is_err());
    assert!(metadata.stats().groups[0].stopped);
    metadata.shutdown().await;
    disk.process_kill();

    let metadata = Metadata::open(io_on(disk.mount(), 2), settings()).await.unwrap();
    check(&metadata, 1, 2).await;
    metadata.shutdown().await;
}
