//! One node's metadata on a real disk: submits, reads, group commit, restarts, snapshots, many groups.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test panics when something is wrong; it looks at real time and files"
)]

mod metadata_common;

use std::time::Duration;

use atoll_core::{
    coordination,
    metadata::{KvRead, Outcome, Refusal, Request, RequestId, query},
};
use atoll_node::metadata::{Metadata, MetadataSettings, OpenMetadataError, SubmitError};
use futures_util::future::join_all;
use metadata_common::*;

async fn open(folder: &tempfile::TempDir, settings: MetadataSettings) -> Metadata {
    Metadata::open(real_io(folder.path()), settings).await.unwrap()
}

/// The bytes of every row, for comparing states.
fn rows(snapshot: &impl KvRead<Error: std::fmt::Debug>) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut rows = Vec::new();
    let from = std::ops::Bound::Unbounded;
    let visit = &mut |key: &[u8], value: &[u8]| {
        rows.push((key.to_vec(), value.to_vec()));
        true
    };
    snapshot.scan(from, None, visit).unwrap();
    rows
}

#[tokio::test]
async fn what_was_submitted_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let metadata = open(&folder, MetadataSettings::default()).await;
    done(&metadata, link("a/b", "layer")).await;
    done(&metadata, put("a/b", "manifest", "latest")).await;

    let fresh = metadata.linearizable(&repo("a/b")).await.unwrap();
    assert!(linked_in(&fresh, "a/b", "layer"));
    assert_eq!(tag_in(&fresh, "a/b", "latest"), Some(digest("manifest")));
    // `submit` returns after the apply, so this node's own view has it too.
    assert!(linked_in(&metadata.snapshot(&repo("a/b")).unwrap(), "a/b", "layer"));

    // A view stands still.
    done(&metadata, put("a/b", "second", "latest")).await;
    assert_eq!(tag_in(&fresh, "a/b", "latest"), Some(digest("manifest")));
    let fresh = metadata.linearizable(&repo("a/b")).await.unwrap();
    assert_eq!(tag_in(&fresh, "a/b", "latest"), Some(digest("second")));
    metadata.shutdown().await;
}

#[tokio::test]
async fn a_refusal_is_an_outcome() {
    let folder = tempfile::tempdir().unwrap();
    let metadata = open(&folder, MetadataSettings::default()).await;
    let delete = atoll_core::metadata::Command::UnlinkBlob { repo: repo("a"), digest: digest("x") };
    let outcome = metadata.submit(delete).await.unwrap();
    assert_eq!(outcome, Outcome::Refused(Refusal::RepoUnknown { repo: repo("a") }));
    metadata.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_submits_share_entries() {
    const SUBMITS: u64 = 512;
    let folder = tempfile::tempdir().unwrap();
    let metadata = open(&folder, MetadataSettings::default()).await;
    let before = metadata.stats().groups[0].last_log.unwrap();
    let names: Vec<_> = (0..SUBMITS).map(|i| format!("blob-{i}")).collect();
    join_all(names.iter().map(|name| done(&metadata, link("a", name)))).await;

    let stats = metadata.stats().groups[0].clone();
    assert_eq!(stats.requests, SUBMITS);
    assert!(stats.batches <= SUBMITS / 8, "{SUBMITS} submits took {} entries", stats.batches);
    let view = metadata.linearizable(&repo("a")).await.unwrap();
    assert!(names.iter().all(|name| linked_in(&view, "a", name)));
    let entries = metadata.stats().groups[0].last_log.unwrap() - before;
    assert_eq!(entries, stats.batches, "nothing else is in the log");
    metadata.shutdown().await;
}

#[tokio::test]
async fn a_restart_keeps_everything() {
    let folder = tempfile::tempdir().unwrap();
    let metadata = open(&folder, MetadataSettings::default()).await;
    for i in 0..50 {
        done(&metadata, put("a", &format!("manifest {i}"), &format!("t{i}"))).await;
    }
    let before = rows(&metadata.snapshot(&repo("a")).unwrap());
    let term = metadata.stats().groups[0].term;
    metadata.shutdown().await;
    drop(metadata);

    let metadata = open(&folder, MetadataSettings::default()).await;
    assert_eq!(rows(&metadata.snapshot(&repo("a")).unwrap()), before);
    assert!(metadata.stats().groups[0].term >= term);
    done(&metadata, put("a", "after", "t0")).await;
    let view = metadata.linearizable(&repo("a")).await.unwrap();
    assert_eq!(tag_in(&view, "a", "t0"), Some(digest("after")));
    metadata.shutdown().await;
}

#[tokio::test]
async fn after_shutdown_everything_says_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let metadata = open(&folder, MetadataSettings::default()).await;
    metadata.shutdown().await;
    let error = metadata.submit(link("a", "x")).await.unwrap_err();
    assert!(matches!(error, SubmitError::Fatal(_)), "{error:?}");
    assert!(metadata.linearizable(&repo("a")).await.is_err());
    assert!(metadata.snapshot(&repo("a")).is_err());
    assert!(metadata.stats().groups[0].stopped);
}

#[tokio::test]
async fn the_log_is_purged_behind_a_durable_state() {
    let folder = tempfile::tempdir().unwrap();
    let settings =
        || MetadataSettings { snapshot_interval: 20, entries_kept: 5, ..Default::default() };
    let metadata = open(&folder, settings()).await;
    for i in 0..100 {
        done(&metadata, put("a", &format!("manifest {i}"), "latest")).await;
    }
    // Snapshots are taken beside the applies: give the last one time.
    let mut purged = None;
    for _ in 0..100 {
        purged = metadata.stats().groups[0].purged;
        if purged >= Some(60) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(purged >= Some(60), "purged {purged:?}");
    let before = rows(&metadata.snapshot(&repo("a")).unwrap());
    metadata.shutdown().await;
    drop(metadata);

    let metadata = open(&folder, settings()).await;
    assert_eq!(rows(&metadata.snapshot(&repo("a")).unwrap()), before);
    assert!(metadata.stats().groups[0].purged >= purged);
    done(&metadata, put("a", "more", "latest")).await;
    metadata.shutdown().await;
}

#[tokio::test]
async fn a_state_older_than_its_log_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let settings =
        || MetadataSettings { snapshot_interval: 5, entries_kept: 1, ..Default::default() };
    open(&folder, settings()).await.shutdown().await;
    let state = folder.path().join("metadata/0/state.redb");
    let old = std::fs::read(&state).unwrap();
    let metadata = open(&folder, settings()).await;
    for i in 0..40 {
        done(&metadata, put("a", &format!("manifest {i}"), "latest")).await;
    }
    metadata.shutdown().await;
    drop(metadata);
    std::fs::write(&state, old).unwrap();
    let error = Metadata::open(real_io(folder.path()), settings()).await.unwrap_err();
    assert!(matches!(error, OpenMetadataError::StateBehindLog(_)), "{error:?}");
}

#[tokio::test]
async fn four_groups_share_the_repositories() {
    let folder = tempfile::tempdir().unwrap();
    let settings = || MetadataSettings { groups: 4, ..Default::default() };
    let metadata = open(&folder, settings()).await;
    let names: Vec<_> = (0..40).map(|i| format!("repo-{i}")).collect();
    join_all(names.iter().map(|name| done(&metadata, put(name, "m", "latest")))).await;
    let used = metadata.stats().groups.iter().filter(|group| group.requests > 0).count();
    assert_eq!(used, 4);
    metadata.shutdown().await;
    drop(metadata);

    let metadata = open(&folder, settings()).await;
    let mut listed = Vec::new();
    for snapshot in metadata.snapshots().unwrap() {
        listed.extend(query::repos_page(&snapshot, None, 100).unwrap().items);
    }
    listed.sort();
    let mut expected: Vec<_> = names.iter().map(|name| repo(name)).collect();
    expected.sort();
    assert_eq!(listed, expected);
    for name in &names {
        let view = metadata.linearizable(&repo(name)).await.unwrap();
        assert_eq!(tag_in(&view, name, "latest"), Some(digest("m")));
    }
    metadata.shutdown().await;
}

#[tokio::test]
async fn the_number_of_groups_is_fixed() {
    let folder = tempfile::tempdir().unwrap();
    open(&folder, MetadataSettings { groups: 2, ..Default::default() }).await.shutdown().await;
    let settings = MetadataSettings { groups: 3, ..Default::default() };
    let error = Metadata::open(real_io(folder.path()), settings).await.unwrap_err();
    assert!(matches!(error, OpenMetadataError::GroupCountMismatch(_)), "{error:?}");
    assert!(error.to_string().contains("founded with 2"), "{error}");
    let settings = MetadataSettings { groups: 0, ..Default::default() };
    let error = Metadata::open(real_io(folder.path()), settings).await.unwrap_err();
    assert!(matches!(error, OpenMetadataError::GroupCountOutOfRange(_)), "{error:?}");
}

#[tokio::test]
async fn a_lost_file_is_not_an_empty_beginning() {
    let folder = tempfile::tempdir().unwrap();
    let metadata = open(&folder, MetadataSettings::default()).await;
    done(&metadata, link("a", "x")).await;
    metadata.shutdown().await;
    drop(metadata);
    let files = ["0/state.redb", "0/log.redb", "coordination/state.redb", "coordination/log.redb"];
    for name in files {
        let path = folder.path().join("metadata").join(name);
        let aside = folder.path().join("aside");
        std::fs::rename(&path, &aside).unwrap();
        let opened = Metadata::open(real_io(folder.path()), MetadataSettings::default()).await;
        assert!(matches!(opened.unwrap_err(), OpenMetadataError::FileMissing(_)));
        std::fs::rename(&aside, &path).unwrap();
    }
}

/// A data folder of a node that was alone, from before there was a coordination group.
#[tokio::test]
async fn a_folder_without_a_coordination_group_is_given_one() {
    let folder = tempfile::tempdir().unwrap();
    let metadata = open(&folder, MetadataSettings::default()).await;
    done(&metadata, put("a", "manifest", "latest")).await;
    metadata.shutdown().await;
    drop(metadata);
    let below = folder.path().join("metadata");
    std::fs::remove_dir_all(below.join("coordination")).unwrap();
    let founding = "version = 1\ngroups = 1\ncomplete = true\n";
    std::fs::write(below.join("founding.toml"), founding).unwrap();

    let metadata = open(&folder, MetadataSettings::default()).await;
    let view = metadata.linearizable(&repo("a")).await.unwrap();
    assert_eq!(tag_in(&view, "a", "latest"), Some(digest("manifest")));
    let change = coordination::Change::CreateSession { timeout_ms: 3000, owner: 1 };
    let command = coordination::Command { now_ms: 1, change };
    let opened = metadata.coordinate(command).await.unwrap();
    drop(view);
    metadata.shutdown().await;
    drop(metadata);
    let metadata = open(&folder, MetadataSettings::default()).await;
    let tree = metadata.coordination_snapshot().unwrap();
    let sessions = coordination::query::sessions(&tree).unwrap();
    let ids: Vec<_> =
        sessions.into_iter().map(|(id, _)| coordination::Verdict::Opened(id)).collect();
    assert_eq!(ids, [opened.verdict]);
    drop(tree);
    metadata.shutdown().await;
}

#[tokio::test]
async fn a_retried_request_is_applied_once() {
    let folder = tempfile::tempdir().unwrap();
    let metadata = open(&folder, MetadataSettings::default()).await;
    let request = |command| Request { id: RequestId { client: 7, sequence: 1 }, command };
    let first = metadata.submit_request(request(put("a", "first", "latest"))).await.unwrap();
    done(&metadata, put("a", "second", "latest")).await;
    // The retry answers as the first did, and does not move the tag back.
    let again = metadata.submit_request(request(put("a", "first", "latest"))).await.unwrap();
    assert_eq!(again, first);
    let view = metadata.linearizable(&repo("a")).await.unwrap();
    assert_eq!(tag_in(&view, "a", "latest"), Some(digest("second")));
    metadata.shutdown().await;
}
