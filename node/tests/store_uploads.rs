//! Pushes through upload sessions, on a real folder.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "a test looks at its open files from outside")]

mod store_support;

/// Length of a block.
const BLOCK_BYTES: usize = atoll_node::store::BLOCK_BYTES as usize;

use std::time::Duration;

use atoll_core::{Algorithm, Digest, RepoName, route::UploadId};
use atoll_node::store::{CommitError, ReadError, Reaper, StoreSettings, UploadError};
use bytes::Bytes;
use store_support::{RealStore, content, eventually, push, read_by_blocks, repo, sha256};

fn small_batches() -> StoreSettings {
    StoreSettings { batch_bytes: 128 << 10, ..StoreSettings::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_pushed_in_any_pieces_is_what_is_read() {
    let real = RealStore::new(small_batches());
    let (store, _) = real.open().await;
    let block = BLOCK_BYTES;
    let sizes = [0, 1, block - 1, block, block + 1, 4 * block, 5 * block + 3, 40 * block + 17];
    for (seed, size) in sizes.into_iter().enumerate() {
        for piece in [1_000, block, 3 * block + 1, usize::MAX >> 1] {
            let content = content(size, seed as u64);
            let digest = sha256(&content);
            push(&store, &content, piece, &digest).await;
            assert_eq!(store.stat(&digest).await.unwrap().unwrap().size, size as u64);
            let whole = store.read_whole(&digest, size as u64).await.unwrap().unwrap();
            assert!(whole == content, "{size} bytes in pieces of {piece}");
            assert!(read_by_blocks(&store, &digest, 3).await == content);
        }
    }
    assert_eq!(real.names_in("uploads"), [""; 0]);
    assert_eq!(store.stats().commits, sizes.len() as u64 * 4);
    assert_eq!((store.stats().sessions, store.stats().session_bytes), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_that_ends_within_a_block_is_read_and_verified() {
    let real = RealStore::new(StoreSettings::default());
    let (store, _) = real.open().await;
    let content = content(3 * BLOCK_BYTES + 100, 1);
    let digest = sha256(&content);
    store.put(&digest, content.clone()).await.unwrap();
    let reader = store.open_blob(&digest).await.unwrap().unwrap();
    for (first, len) in [(0, 1), (1, 10), (1, BLOCK_BYTES + 9), (3, 50), (2, BLOCK_BYTES + 100)] {
        let read = reader.read_blocks(first, vec![0; len]).await.unwrap();
        let start = first as usize * BLOCK_BYTES;
        assert!(read == content[start..start + len], "{len} bytes from block {first}");
    }
    let beyond = reader.read_blocks(3, vec![7; 200]).await.unwrap();
    assert_eq!((&beyond[..100], &beyond[100..]), (&content[3 * BLOCK_BYTES..], &[7; 100][..]));
    assert_eq!(reader.read_blocks(4, vec![7; 3]).await.unwrap(), [7; 3]);
    assert_eq!(reader.read_blocks(u64::MAX, vec![7; 3]).await.unwrap(), [7; 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unused_session_leaves_no_trace_on_the_disk() {
    let real = RealStore::new(StoreSettings::default());
    let (store, _) = real.open().await;
    let id = store.create_upload(&repo(), Algorithm::Sha256).unwrap();
    assert_eq!(store.upload_status(&repo(), id).unwrap(), 0);
    assert_eq!(store.upload(&repo(), id).unwrap().finish(true).await.unwrap(), 0);
    assert_eq!(real.names_in("uploads"), [""; 0]);
    assert_eq!(real.names_in("sessions"), [""; 0]);
    let other: RepoName = "other".parse().unwrap();
    assert!(matches!(store.upload_status(&other, id), Err(UploadError::Unknown(_))));
    assert!(matches!(store.upload(&other, id), Err(UploadError::Unknown(_))));
    assert!(matches!(store.cancel_upload(&other, id).await, Err(UploadError::Unknown(_))));
    store.cancel_upload(&repo(), id).await.unwrap();
    assert!(matches!(store.upload_status(&repo(), id), Err(UploadError::Unknown(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn chunks_in_order_over_several_requests_and_a_restart() {
    let real = RealStore::new(small_batches());
    let content = content(700_000, 2);
    let (store, _) = real.open().await;
    let id = store.create_upload(&repo(), Algorithm::Sha256).unwrap();
    let mut at = 0;
    for len in [1, 300_000, 70_000] {
        let mut writer = store.upload(&repo(), id).unwrap();
        let out_of_order = writer.begin_chunk(at as u64 + 1);
        assert!(
            matches!(out_of_order, Err(UploadError::OutOfOrder(it)) if it.expected == at as u64)
        );
        writer.begin_chunk(at as u64).unwrap();
        writer.write(content.slice(at..at + len)).await.unwrap();
        at += len;
        assert_eq!(writer.offset(), at as u64);
        assert_eq!(writer.finish(true).await.unwrap(), at as u64);
    }
    drop(store);

    let (store, report) = real.open().await;
    assert_eq!((report.sessions_restored, report.uploads_removed), (1, 0));
    assert_eq!(store.upload_status(&repo(), id).unwrap(), at as u64);
    assert_eq!(store.stats().session_bytes, at as u64);
    let mut writer = store.upload(&repo(), id).unwrap();
    writer.write(content.slice(at..)).await.unwrap();
    writer.commit(&sha256(&content)).await.unwrap();
    assert_eq!(real.names_in("sessions"), [""; 0]);
    let whole = store.read_whole(&sha256(&content), u64::MAX).await.unwrap().unwrap();
    assert!(whole == content);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_checkpoint_a_restart_forgets_the_session() {
    let real = RealStore::new(small_batches());
    let (store, _) = real.open().await;
    let id = store.create_upload(&repo(), Algorithm::Sha256).unwrap();
    let mut writer = store.upload(&repo(), id).unwrap();
    writer.write(content(500_000, 3)).await.unwrap();
    writer.finish(false).await.unwrap();
    drop(store);
    let (store, report) = real.open().await;
    assert_eq!((report.uploads_removed, report.bytes_freed), (1, 500_000));
    assert!(matches!(store.upload(&repo(), id), Err(UploadError::Unknown(_))));
    assert_eq!(real.names_in("uploads"), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_graceful_shutdown_saves_every_session() {
    let real = RealStore::new(small_batches());
    let (store, _) = real.open().await;
    let mut sessions = Vec::new();
    for seed in 0..5 {
        let id = store.create_upload(&repo(), Algorithm::Sha256).unwrap();
        let mut writer = store.upload(&repo(), id).unwrap();
        writer.write(content(400_000, seed)).await.unwrap();
        writer.finish(false).await.unwrap();
        sessions.push((seed, id));
    }
    let busy = store.upload(&repo(), sessions[4].1).unwrap();
    let report = store.checkpoint_all().await;
    assert_eq!((report.sessions_saved, report.sessions_skipped), (4, 1));
    drop((busy, store));
    let (store, report) = real.open().await;
    assert_eq!((report.sessions_restored, report.uploads_removed), (4, 1));
    for (seed, id) in &sessions[..4] {
        let writer = store.upload(&repo(), *id).unwrap();
        writer.commit(&sha256(&content(400_000, *seed))).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_can_be_closed_with_the_digest_nobody_announced() {
    let real = RealStore::new(small_batches());
    let (store, _) = real.open().await;
    for size in [10, 900_000] {
        for (announced, named) in
            [(Algorithm::Sha256, Algorithm::Sha512), (Algorithm::Sha512, Algorithm::Sha256)]
        {
            let content = content(size, 4);
            let id = store.create_upload(&repo(), announced).unwrap();
            let mut writer = store.upload(&repo(), id).unwrap();
            writer.write(content.clone()).await.unwrap();
            let digest = Digest::of(named, &content);
            writer.commit(&digest).await.unwrap();
            assert!(store.read_whole(&digest, u64::MAX).await.unwrap().unwrap() == content);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_digest_ends_the_session_and_leaves_nothing() {
    let real = RealStore::new(small_batches());
    let (store, _) = real.open().await;
    let claimed = sha256(b"something else");
    for size in [10, 900_000] {
        let content = content(size, 5);
        let id = store.create_upload(&repo(), Algorithm::Sha256).unwrap();
        let mut writer = store.upload(&repo(), id).unwrap();
        writer.write(content.clone()).await.unwrap();
        let Err(CommitError::DigestMismatch(mismatch)) = writer.commit(&claimed).await else {
            panic!("committed under a wrong digest");
        };
        assert_eq!((mismatch.expected, mismatch.computed), (claimed, sha256(&content)));
        assert!(matches!(store.upload_status(&repo(), id), Err(UploadError::Unknown(_))));
        assert_eq!(store.stat(&claimed).await.unwrap(), None);
        assert_eq!(store.stat(&sha256(&content)).await.unwrap(), None);
    }
    assert!(store.put(&claimed, content(10, 5)).await.is_err());
    assert_eq!(real.names_in("uploads"), [""; 0]);
    assert_eq!(store.stats().session_bytes, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_request_at_a_time_and_the_first_commit_wins() {
    let real = RealStore::new(small_batches());
    let (store, _) = real.open().await;
    let content = content(900_000, 6);
    let id = store.create_upload(&repo(), Algorithm::Sha256).unwrap();
    let mut writer = store.upload(&repo(), id).unwrap();
    assert!(matches!(store.upload(&repo(), id), Err(UploadError::Busy(_))));
    writer.write(content.clone()).await.unwrap();
    let digest = sha256(&content);
    let commit = tokio::spawn(async move { writer.commit(&digest).await });
    // Whenever the second one asks: it is told to come back, or that the session is over.
    loop {
        match store.upload(&repo(), id) {
            Err(UploadError::Busy(_)) => tokio::task::yield_now().await,
            Err(UploadError::Unknown(_)) => break,
            Err(error) => panic!("{error}"),
            Ok(_) => panic!("two requests hold one session"),
        }
    }
    commit.await.unwrap().unwrap();
    assert!(matches!(store.cancel_upload(&repo(), id).await, Err(UploadError::Unknown(_))));
    assert!(store.stat(&digest).await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_writer_is_told_and_the_room_is_given_back() {
    let real = RealStore::new(small_batches());
    let (store, _) = real.open().await;
    for written in [0, 10, 600_000] {
        let id = store.create_upload(&repo(), Algorithm::Sha256).unwrap();
        let mut writer = store.upload(&repo(), id).unwrap();
        writer.write(content(written, 7)).await.unwrap();
        store.cancel_upload(&repo(), id).await.unwrap();
        let next = writer.write(Bytes::from_static(b"x")).await;
        assert!(matches!(next, Err(UploadError::Cancelled(_))), "{next:?}");
        assert_eq!(store.stats().session_bytes, 0);
        assert_eq!(store.stats().sessions, 0);
        drop(writer);
        eventually(|| real.names_in("uploads").is_empty()).await;
    }
    let id = store.create_upload(&repo(), Algorithm::Sha256).unwrap();
    let mut writer = store.upload(&repo(), id).unwrap();
    writer.write(content(600_000, 7)).await.unwrap();
    store.cancel_upload(&repo(), id).await.unwrap();
    let committed = writer.commit(&sha256(&content(600_000, 7))).await;
    assert!(matches!(committed, Err(CommitError::Unknown(_))), "{committed:?}");
    eventually(|| real.names_in("uploads").is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_connection_keeps_what_was_received() {
    let real = RealStore::new(small_batches());
    let (store, _) = real.open().await;
    let content = content(100_000, 8);
    let id = store.create_upload(&repo(), Algorithm::Sha256).unwrap();
    let mut writer = store.upload(&repo(), id).unwrap();
    writer.write(content.slice(..60_000)).await.unwrap();
    drop(writer);
    eventually(|| store.upload_status(&repo(), id).unwrap() == 60_000).await;
    eventually(|| store.upload(&repo(), id).is_ok()).await;
    let mut writer = store.upload(&repo(), id).unwrap();
    writer.begin_chunk(60_000).unwrap();
    writer.write(content.slice(60_000..)).await.unwrap();
    writer.commit(&sha256(&content)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_limit_is_an_error_of_its_own_and_leaves_the_session() {
    let settings = StoreSettings {
        blob_bytes_max: 1_000,
        sessions_max: 2,
        session_bytes_max: 1_500,
        ..StoreSettings::default()
    };
    let real = RealStore::new(settings);
    let (store, _) = real.open().await;
    let first = store.create_upload(&repo(), Algorithm::Sha256).unwrap();
    let second = store.create_upload(&repo(), Algorithm::Sha256).unwrap();
    let third = store.create_upload(&repo(), Algorithm::Sha256);
    assert!(matches!(third, Err(UploadError::TooManySessions(_))));
    let mut writer = store.upload(&repo(), first).unwrap();
    writer.write(content(1_000, 1)).await.unwrap();
    let more = writer.write(content(1, 1)).await;
    assert!(matches!(more, Err(UploadError::TooLarge(_))), "{more:?}");
    let mut other = store.upload(&repo(), second).unwrap();
    let more = other.write(content(501, 1)).await;
    assert!(matches!(more, Err(UploadError::BudgetExhausted(_))), "{more:?}");
    assert_eq!(store.stats().session_bytes, 1_000);
    other.write(content(500, 1)).await.unwrap();
    writer.commit(&sha256(&content(1_000, 1))).await.unwrap();
    other.commit(&sha256(&content(500, 1))).await.unwrap();
    let put = store.put(&sha256(&content(1_001, 1)), content(1_001, 1)).await;
    assert!(matches!(put, Err(CommitError::TooLarge(_))));
    let read = store.read_whole(&sha256(&content(1_000, 1)), 999).await;
    assert!(matches!(read, Err(ReadError::OverLimit(_))), "{read:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reaper_ends_idle_sessions_only() {
    let real = RealStore::new(small_batches());
    let (store, _) = real.open().await;
    let idle = store.create_upload(&repo(), Algorithm::Sha256).unwrap();
    let mut writer = store.upload(&repo(), idle).unwrap();
    writer.write(content(500_000, 1)).await.unwrap();
    writer.finish(true).await.unwrap();
    real.clock.advance(real.settings.session_idle_max - Duration::from_secs(60));
    let used = store.create_upload(&repo(), Algorithm::Sha256).unwrap();
    let reaper = Reaper::new(store.clone());
    assert_eq!(reaper.work().await.sessions_expired, 0);
    real.clock.advance(Duration::from_secs(61));
    assert_eq!(reaper.work().await.sessions_expired, 1);
    assert!(matches!(store.upload(&repo(), idle), Err(UploadError::Unknown(_))));
    assert!(store.upload(&repo(), used).is_ok());
    assert_eq!((real.names_in("uploads"), real.names_in("sessions")), (vec![], vec![]));
    assert_eq!((store.stats().sessions, store.stats().sessions_expired), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_sessions_keep_only_so_many_files_open() {
    let real = RealStore::new(StoreSettings { idle_files_max: 3, ..small_batches() });
    let (store, _) = real.open().await;
    let open_files = || {
        let links = std::fs::read_dir("/proc/self/fd").unwrap();
        let targets = links.filter_map(|link| std::fs::read_link(link.unwrap().path()).ok());
        targets.filter(|path| path.starts_with(real.folder.path().join("uploads"))).count()
    };
    let mut ids: Vec<UploadId> = Vec::new();
    for seed in 0..12 {
        let id = store.create_upload(&repo(), Algorithm::Sha256).unwrap();
        let mut writer = store.upload(&repo(), id).unwrap();
        writer.write(content(1_000, seed)).await.unwrap();
        if seed % 2 == 0 {
            writer.finish(false).await.unwrap();
        } else {
            drop(writer);
        }
        eventually(|| store.upload_status(&repo(), id).unwrap() == 1_000).await;
        eventually(|| store.upload(&repo(), id).is_ok()).await;
        ids.push(id);
    }
    assert!(open_files() <= 4, "{} files are open", open_files());
    for (seed, id) in ids.into_iter().enumerate() {
        let writer = store.upload(&repo(), id).unwrap();
        writer.commit(&sha256(&content(1_000, seed as u64))).await.unwrap();
    }
    assert_eq!(open_files(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_sessions_at_once_and_the_same_blob_twice() {
    let real = RealStore::new(small_batches());
    let (store, _) = real.open().await;
    let pushes = (0..24u64).map(|at| {
        let store = store.clone();
        tokio::spawn(async move {
            let content =
                content(10_000 * (at as usize / 2) + 300_000 * (at as usize % 4 / 2), at / 2);
            push(&store, &content, 50_000, &sha256(&content)).await;
            content
        })
    });
    for push in pushes.collect::<Vec<_>>() {
        let content = push.await.unwrap();
        let read = store.read_whole(&sha256(&content), u64::MAX).await.unwrap().unwrap();
        assert!(read == content);
    }
    assert_eq!(real.names_in("uploads"), [""; 0]);
}
