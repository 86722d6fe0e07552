//! Bits that flip on the disk. P3 "true": no read ever returns bytes that do not match.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod store_support;

use std::path::PathBuf;

use atoll_core::{Algorithm, Digest};
use atoll_node::{
    io::disk::sim::{Faults, Loss, SimDisk},
    store::{BlobStore, ReadError, UploadError},
};
use bytes::Bytes;
use store_support::{BLOCK_LEN, content, repo, sha256, sim_io, story};

async fn store_with(content: &Bytes) -> (SimDisk, Digest) {
    let disk = SimDisk::new(1, Faults::default());
    let (store, _) = story::open(&disk).await.unwrap();
    let digest = sha256(content);
    store.put(&digest, content.clone()).await.unwrap();
    (disk, digest)
}

fn file_of(digest: &Digest) -> PathBuf {
    let hex = digest.hex();
    ["store", "blobs", digest.algorithm().name(), &hex[..2], &hex, "data"].iter().collect()
}

async fn reads_as_damaged(store: &BlobStore, digest: &Digest) {
    assert!(matches!(store.stat(digest).await, Err(ReadError::Damaged(_))));
    assert!(matches!(store.open_blob(digest).await, Err(ReadError::Damaged(_))));
    assert!(matches!(store.read_whole(digest, 1 << 30).await, Err(ReadError::Damaged(_))));
}

#[tokio::test]
async fn damage_that_another_node_told_of_is_never_absence_until_it_is_healed() {
    let content = content(300, 1);
    let digest = sha256(&content);
    let disk = SimDisk::new(1, Faults::default());
    let (store, _) = story::open(&disk).await.unwrap();
    assert!(store.stat(&digest).await.unwrap().is_none(), "nobody told of it");
    store.mark_damaged(&digest).await.unwrap();
    store.mark_damaged(&digest).await.unwrap();
    reads_as_damaged(&store, &digest).await;
    assert_eq!(store.damaged(9, |_| true), [digest]);

    disk.power_cut(Loss::DropAll);
    let (store, report) = story::open(&disk).await.unwrap();
    assert_eq!(report.blobs_damaged, 1);
    reads_as_damaged(&store, &digest).await;

    store.put(&digest, content.clone()).await.unwrap();
    assert!(store.read_whole(&digest, 1 << 30).await.unwrap().unwrap() == content);
    // A good copy is no news to whoever has one.
    store.mark_damaged(&digest).await.unwrap();
    assert!(store.stat(&digest).await.unwrap().is_some());
    assert!(store.damaged(9, |_| true).is_empty());
    disk.power_cut(Loss::DropAll);
    let (_, report) = story::open(&disk).await.unwrap();
    assert_eq!(report.blobs_damaged, 0);
}

#[tokio::test]
async fn a_mark_that_cannot_be_made_durable_is_none() {
    let digest = sha256(b"x");
    let disk = SimDisk::new(1, Faults::default());
    let (store, _) = story::open(&disk).await.unwrap();
    disk.set_faults(|faults| faults.sync_error = 1.0);
    assert!(store.mark_damaged(&digest).await.is_err());
    assert!(store.damaged(9, |_| true).is_empty());
    disk.set_faults(|faults| faults.sync_error = 0.0);
    store.mark_damaged(&digest).await.unwrap();
    reads_as_damaged(&store, &digest).await;
}

#[tokio::test]
async fn a_flipped_bit_anywhere_is_an_error_then_damage_then_healed_by_a_push() {
    let content = content(2 * BLOCK_LEN + 300, 1);
    let (pristine, digest) = store_with(&content).await;
    let len = pristine.mount().file_len(&file_of(&digest)).unwrap();
    let trailer = content.len() as u64..len;
    let blocks = [0, 1, BLOCK_LEN - 1, BLOCK_LEN, 2 * BLOCK_LEN, content.len() - 1];
    for offset in blocks.map(|at| at as u64).into_iter().chain(trailer) {
        let disk = pristine.fork(offset);
        let (store, _) = story::open(&disk).await.unwrap();
        // A reader that was there before the rot is in the same position as one that comes after.
        let reader = store.open_blob(&digest).await.unwrap().unwrap();
        disk.rot(&file_of(&digest), offset, (offset % 8) as u8).unwrap();
        if offset < content.len() as u64 {
            let bad_block = offset / BLOCK_LEN as u64;
            if offset.is_multiple_of(2) {
                let read = reader.read_blocks(0, vec![0; content.len()]).await;
                let Err(ReadError::Corrupt(corrupt)) = read else { panic!("offset {offset}") };
                assert_eq!(corrupt.block, Some(bad_block));
            } else {
                let whole = store.read_whole(&digest, 1 << 30).await;
                assert!(matches!(whole, Err(ReadError::Corrupt(_))), "offset {offset}");
            }
            // Other blocks of the open file are still good.
            let good_block = if bad_block == 1 { 2 } else { 1 };
            let read = reader.read_blocks(good_block, vec![0; 100]).await.unwrap();
            assert!(read == content[good_block as usize * BLOCK_LEN..][..100]);
        } else {
            let opened = store.open_blob(&digest).await;
            assert!(matches!(opened, Err(ReadError::Corrupt(_))), "offset {offset}");
        }
        reads_as_damaged(&store, &digest).await;
        assert_eq!((store.stats().quarantined, store.stats().damaged), (1, 1));

        disk.power_cut(Loss::DropAll);
        let (store, report) = story::open(&disk).await.unwrap();
        assert_eq!(report.blobs_damaged, 1);
        reads_as_damaged(&store, &digest).await;

        store.put(&digest, content.clone()).await.unwrap();
        assert!(store.read_whole(&digest, 1 << 30).await.unwrap().unwrap() == content);
        assert_eq!((store.stats().healed, store.stats().damaged), (1, 0));
        story::check_leftovers(&disk, 0).await;
        disk.power_cut(Loss::DropAll);
        let (store, report) = story::open(&disk).await.unwrap();
        assert_eq!(report.blobs_damaged, 0);
        assert!(store.read_whole(&digest, 1 << 30).await.unwrap().unwrap() == content);
    }
}

#[tokio::test]
async fn rot_behind_the_end_of_a_range_is_found_with_its_block() {
    let content = content(2 * BLOCK_LEN, 2);
    let (disk, digest) = store_with(&content).await;
    let (store, _) = story::open(&disk).await.unwrap();
    disk.rot(&file_of(&digest), BLOCK_LEN as u64 + 50, 0).unwrap();
    let reader = store.open_blob(&digest).await.unwrap().unwrap();
    assert!(reader.read_blocks(0, vec![0; BLOCK_LEN]).await.is_ok());
    let cut = reader.read_blocks(0, vec![0; BLOCK_LEN + 10]).await;
    assert!(matches!(cut, Err(ReadError::Corrupt(corrupt)) if corrupt.block == Some(1)));
}

#[tokio::test]
async fn a_push_over_a_rotten_copy_that_nobody_noticed_heals_it() {
    let content = content(BLOCK_LEN, 3);
    let (disk, digest) = store_with(&content).await;
    let (store, _) = story::open(&disk).await.unwrap();
    let reader = store.open_blob(&digest).await.unwrap().unwrap();
    disk.rot(&file_of(&digest), 5, 5).unwrap();
    store.put(&digest, content.clone()).await.unwrap();
    // The old file is still rotten for those who have it open. That is no reason to move away the
    // new one.
    let old = reader.read_blocks(0, vec![0; BLOCK_LEN]).await;
    assert!(matches!(old, Err(ReadError::Corrupt(_))));
    assert!(store.read_whole(&digest, 1 << 30).await.unwrap().unwrap() == content);
    assert_eq!(store.stats().quarantined, 0);
    disk.power_cut(Loss::DropAll);
    let (store, _) = story::open(&disk).await.unwrap();
    assert!(store.read_whole(&digest, 1 << 30).await.unwrap().unwrap() == content);
}

#[tokio::test]
async fn a_bit_that_flips_on_the_way_is_an_error_and_never_a_byte() {
    let content = content(BLOCK_LEN / 2, 4);
    let (disk, digest) = store_with(&content).await;
    let (store, _) = story::open(&disk).await.unwrap();
    disk.set_faults(|faults| faults.read_rot = 0.3);
    let mut errors = 0;
    for _ in 0..200 {
        match store.read_whole(&digest, 1 << 30).await {
            Ok(read) => assert!(read.unwrap() == content),
            Err(ReadError::Corrupt(_)) => errors += 1,
            Err(ReadError::Damaged(_)) => break,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(errors > 0, "no read was bad: the test tests nothing");
}

#[tokio::test]
async fn a_truncated_or_foreign_file_is_not_the_blob() {
    let content = content(1_000, 5);
    let (pristine, digest) = store_with(&content).await;
    let other = sha256(b"other");
    {
        let (store, _) = story::open(&pristine).await.unwrap();
        store.put(&other, Bytes::from_static(b"other")).await.unwrap();
    }
    for len in [0, 1, 103, 104, 500, 1_000, 1_107] {
        let disk = pristine.fork(len);
        disk.mount().open_write(&file_of(&digest)).unwrap().set_len(len).unwrap();
        let (store, _) = story::open(&disk).await.unwrap();
        let read = store.read_whole(&digest, 1 << 30).await;
        assert!(matches!(read, Err(ReadError::Corrupt(_))), "{len}: {read:?}");
        reads_as_damaged(&store, &digest).await;
    }
    let disk = pristine.fork(1);
    disk.mount().rename(&file_of(&other), &file_of(&digest)).unwrap();
    let (store, _) = story::open(&disk).await.unwrap();
    assert!(matches!(store.stat(&digest).await, Err(ReadError::Corrupt(_))));
}

#[tokio::test]
async fn received_bytes_that_rot_before_the_commit_are_never_published() {
    let content = content(3 * BLOCK_LEN + 7, 6);
    for offset in [0, BLOCK_LEN as u64, 3 * BLOCK_LEN as u64] {
        let disk = SimDisk::new(1, Faults::default());
        let (store, _) = story::open(&disk).await.unwrap();
        let id = store.create_upload(&repo(), Algorithm::Sha256).unwrap();
        let mut writer = store.upload(&repo(), id).unwrap();
        writer.write(content.clone()).await.unwrap();
        writer.finish(true).await.unwrap();
        let file = PathBuf::from("store/uploads").join(id.to_string()).join("data");
        disk.rot(&file, offset, 3).unwrap();
        disk.power_cut(Loss::DropAll);
        // A restart reads the bytes again, and finds that they are not what was received.
        let (store, report) = story::open(&disk).await.unwrap();
        assert_eq!(report.sessions_restored, 1);
        let writer = store.upload(&repo(), id).unwrap();
        assert!(writer.commit(&sha256(&content)).await.is_err());
        assert!(matches!(store.upload(&repo(), id), Err(UploadError::Unknown(_))));
        assert_eq!(store.stat(&sha256(&content)).await.unwrap(), None);
        story::check_leftovers(&disk, 0).await;
    }
}

/// A store on a device of its own that reads as `sim_io` says: two stores never share anything.
#[tokio::test]
async fn two_stores_on_two_folders_of_one_disk_do_not_meet() {
    let disk = SimDisk::new(1, Faults::default());
    let open = |root: &'static str| {
        BlobStore::open(sim_io(disk.mount(), 3), root.into(), story::settings())
    };
    let ((left, _), (right, _)) = (open("left/a").await.unwrap(), open("right").await.unwrap());
    let content = content(10, 1);
    left.put(&sha256(&content), content.clone()).await.unwrap();
    assert_eq!(right.stat(&sha256(&content)).await.unwrap(), None);
}
