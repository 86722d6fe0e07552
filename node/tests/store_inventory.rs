//! Copies that are pinned, deleted and found again: through restarts, races and power cuts.
//!
//! Files are the truth: the inventory of a new process is what lies on its disk. A pin that was
//! answered survives: an order to delete that is not newer than the pin does nothing.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod store_support;

use std::{path::PathBuf, time::Duration};

use atoll_core::{Digest, gc::GcEpoch, repair::Cells};
use atoll_node::{
    io::disk::sim::{CrashPoint, Faults, Loss, SimDisk},
    store::{BlobStore, Deletion, Pinned, StoreSettings},
};
use bytes::Bytes;
use store_support::{content, push, sha256, sim_io, story};

async fn open(disk: &SimDisk) -> BlobStore {
    let settings = StoreSettings { disk_reserve_percent: 0, ..StoreSettings::default() };
    let io = sim_io(disk.mount(), 7);
    BlobStore::open(io, PathBuf::from("store"), settings).await.unwrap().0
}

async fn complete(store: &BlobStore) -> (u64, u64) {
    let (mut added, mut removed) = (0, 0);
    while !store.inventory_progress().is_complete() {
        let step = store.catch_up().await.unwrap();
        added += step.added;
        removed += step.removed;
    }
    (added, removed)
}

async fn listed(store: &BlobStore) -> Vec<(Digest, u64)> {
    let page = store.inventory_page(None, usize::MAX).await.unwrap();
    page.into_iter().map(|entry| (entry.digest, entry.size)).collect()
}

fn blobs(count: u64) -> Vec<(Digest, Bytes)> {
    let mut blobs: Vec<_> = (0..count)
        .map(|seed| content(100 + seed as usize * 40_000, seed))
        .map(|content| (sha256(&content), content))
        .collect();
    blobs.sort();
    blobs
}

fn sizes(blobs: &[(Digest, Bytes)]) -> Vec<(Digest, u64)> {
    blobs.iter().map(|(digest, content)| (*digest, content.len() as u64)).collect()
}

#[tokio::test]
async fn what_is_pushed_is_listed_and_what_is_deleted_is_not() {
    let disk = SimDisk::new(1, Faults::default());
    let store = open(&disk).await;
    store.learn_floor(GcEpoch(0)).await.unwrap();
    let blobs = blobs(4);
    for (digest, content) in &blobs[..2] {
        store.put(digest, content.clone()).await.unwrap();
    }
    for (digest, content) in &blobs[2..] {
        push(&store, content, 30_000, digest).await;
    }
    assert_eq!(listed(&store).await, sizes(&blobs));
    let (gone, content) = &blobs[1];
    let size = content.len() as u64;
    assert_eq!(store.delete_if_older(gone, GcEpoch(1)).await.unwrap(), Deletion::Deleted { size });
    assert_eq!(store.delete_if_older(gone, GcEpoch(1)).await.unwrap(), Deletion::Absent);
    assert_eq!(store.stat(gone).await.unwrap(), None);
    assert_eq!(listed(&store).await.len(), 3);
    assert_eq!(
        store.pin(&[*gone, blobs[0].0], GcEpoch(1)).await.unwrap(),
        [Pinned::Absent, Pinned::Present { size: blobs[0].1.len() as u64 },]
    );
    story::check_leftovers(&disk, 0).await;
    complete(&store).await;
    let cells = Cells::new(16).unwrap();
    let sums = store.cell_sums(cells, &cells.iter().collect::<Vec<_>>()).unwrap();
    assert_eq!(sums.iter().map(|sum| sum.count).sum::<u64>(), 3);
}

#[tokio::test]
async fn a_reader_reads_a_deleted_blob_to_its_end() {
    let disk = SimDisk::new(1, Faults::default());
    let store = open(&disk).await;
    let content = content(200_000, 1);
    store.put(&sha256(&content), content.clone()).await.unwrap();
    let reader = store.open_blob(&sha256(&content)).await.unwrap().unwrap();
    store.delete(&sha256(&content)).await.unwrap();
    let read = reader.read_blocks(0, vec![0; content.len()]).await.unwrap();
    assert!(read == content);
}

/// A store of an earlier build has blobs and no inventory.
#[tokio::test]
async fn blobs_without_an_inventory_are_found() {
    let disk = SimDisk::new(1, Faults::default());
    let store = open(&disk).await;
    let blobs = blobs(5);
    for (digest, content) in &blobs {
        store.put(digest, content.clone()).await.unwrap();
    }
    drop(store);
    let mount = disk.mount();
    mount.unlink(&PathBuf::from("store/inventory.redb")).unwrap();
    let store = open(&disk).await;
    assert!(!store.knows_floor());
    assert_eq!(listed(&store).await, []);
    assert_eq!(store.cell_sums(Cells::new(2).unwrap(), &[]), None);
    // Nobody knows what the node answered for: every copy stays.
    let kept = store.delete_if_older(&blobs[0].0, GcEpoch(9)).await.unwrap();
    assert!(matches!(kept, Deletion::Kept { .. }));
    assert_eq!(complete(&store).await, (5, 0));
    assert_eq!(listed(&store).await, sizes(&blobs));
}

#[tokio::test]
async fn a_first_start_has_nothing_to_compare() {
    let disk = SimDisk::new(1, Faults::default());
    let progress = open(&disk).await.inventory_progress();
    assert_eq!(progress.shards_checked, progress.shards);
    // A crash later nothing is taken for granted.
    assert_eq!(open(&disk).await.inventory_progress().shards_checked, 0);
}

#[tokio::test]
async fn an_end_in_order_spares_the_next_start_the_comparison() {
    let disk = SimDisk::new(1, Faults::default());
    let store = open(&disk).await;
    complete(&store).await;
    let blobs = blobs(3);
    for (digest, content) in &blobs {
        store.put(digest, content.clone()).await.unwrap();
    }
    store.checkpoint_all().await;
    drop(store);
    let store = open(&disk).await;
    let progress = store.inventory_progress();
    assert_eq!(progress.shards_checked, progress.shards);
    assert_eq!(listed(&store).await, sizes(&blobs));
    drop(store);
    assert_eq!(open(&disk).await.inventory_progress().shards_checked, 0, "it was not closed");
}

#[tokio::test]
async fn pins_and_deletes_at_the_same_time_agree() {
    let disk = SimDisk::new(1, Faults::default());
    let store = open(&disk).await;
    store.learn_floor(GcEpoch(0)).await.unwrap();
    let content = content(3_000, 1);
    let digest = sha256(&content);
    for round in 1..200 {
        store.put(&digest, content.clone()).await.unwrap();
        let e = GcEpoch(round);
        let (pinner, deleter, putter) = (store.clone(), store.clone(), store.clone());
        let pin = tokio::spawn(async move { pinner.pin(&[digest], e).await.unwrap()[0] });
        let delete =
            tokio::spawn(async move { deleter.delete_if_older(&digest, e).await.unwrap() });
        let again = content.clone();
        let put = tokio::spawn(async move { putter.put(&digest, again).await.unwrap() });
        let (pinned, deleted) = (pin.await.unwrap(), delete.await.unwrap());
        put.await.unwrap();
        if matches!(pinned, Pinned::Present { .. }) {
            assert!(store.stat(&digest).await.unwrap().is_some(), "round {round}: {deleted:?}");
        }
    }
}

/// What the process that was cut off had been told.
#[derive(Clone, Debug, Default)]
struct Told {
    put: Vec<Digest>,
    pinned: Vec<(Digest, u64)>,
    deleted: Vec<Digest>,
}

/// Pushes, pins and deletes, until the disk is gone.
async fn tell(disk: &SimDisk) -> Told {
    let mut told = Told::default();
    let settings = StoreSettings { disk_reserve_percent: 0, ..StoreSettings::default() };
    let io = sim_io(disk.mount(), 7);
    let opened = BlobStore::open(io, PathBuf::from("store"), settings).await;
    let Ok((store, _)) = opened else { return told };
    let blobs = blobs(3);
    for (digest, content) in &blobs {
        if store.put(digest, content.clone()).await.is_ok() {
            told.put.push(*digest);
        }
    }
    for (digest, vg) in [(blobs[0].0, 3), (blobs[1].0, 2), (blobs[1].0, 4), (blobs[0].0, 1)] {
        if let Ok(answers) = store.pin(&[digest], GcEpoch(vg)).await
            && matches!(answers[0], Pinned::Present { .. })
        {
            told.pinned.push((digest, vg));
        }
    }
    // Gone, and pushed anew with the stamp of whoever pushes it.
    for digest in [blobs[2].0, blobs[0].0] {
        let deleted = store.delete_if_older(&digest, GcEpoch(4)).await;
        if matches!(deleted, Ok(Deletion::Deleted { .. })) {
            told.deleted.push(digest);
        }
        // An order that was cut off may have been carried out.
        if matches!(deleted, Ok(Deletion::Deleted { .. }) | Err(_)) {
            told.put.retain(|one| *one != digest);
            told.pinned.retain(|(one, _)| *one != digest);
        }
    }
    let (digest, content) = &blobs[2];
    if store.witness(GcEpoch(6)).await.is_ok() && store.put(digest, content.clone()).await.is_ok() {
        told.put.push(*digest);
        told.deleted.retain(|one| one != digest);
        told.pinned.push((*digest, 6));
    }
    told
}

async fn check(disk: &SimDisk, told: &Told, story: &str) {
    let store = open(disk).await;
    for (digest, vg) in &told.pinned {
        // Before anything was put right: the oldest orders come first.
        let late = store.delete_if_older(digest, GcEpoch(*vg)).await.unwrap();
        assert!(
            matches!(late, Deletion::Kept { .. }),
            "{story}: {digest} pinned at {vg}: {late:?}"
        );
    }
    complete(&store).await;
    let mut files = Vec::new();
    for (digest, content) in blobs(3) {
        let is_here = store.stat(&digest).await.unwrap().is_some();
        assert!(is_here || !told.put.contains(&digest), "{story}: {digest} is gone");
        // The last one may have come back with a push that was cut off.
        let is_gone = told.deleted.contains(&digest) && digest != blobs(3)[2].0;
        assert!(!is_gone || !is_here, "{story}: {digest} was deleted and is back");
        if is_here {
            files.push((digest, content.len() as u64));
        }
    }
    let listed = listed(&store).await;
    assert!(files.iter().all(|file| listed.contains(file)), "{story}: {listed:?}");
    for (digest, _) in &listed {
        assert!(store.stat(digest).await.unwrap().is_some(), "{story}: {digest} has no file");
    }
    // A newer order takes everything.
    store.learn_floor(GcEpoch(6)).await.unwrap();
    for (digest, _) in listed {
        let deleted = store.delete_if_older(&digest, GcEpoch(7)).await.unwrap();
        assert!(matches!(deleted, Deletion::Deleted { .. }), "{story}: {deleted:?}");
    }
    story::check_leftovers(disk, 0).await;
}

#[tokio::test]
async fn a_power_cut_takes_no_pin() {
    let fresh = SimDisk::new(1, Faults::default());
    open(&fresh).await.learn_floor(GcEpoch(0)).await.unwrap();
    fresh.power_cut(Loss::KeepAll);
    let whole = fresh.fork(2);
    let start = whole.operation_count();
    let told = tell(&whole).await;
    assert_eq!((told.put.len(), told.pinned.len(), told.deleted.len()), (2, 3, 1), "{told:?}");
    for number in start..whole.operation_count() {
        let crashed = fresh.fork(number);
        crashed.crash_at(number, CrashPoint::After);
        let told = tell(&crashed).await;
        for (seed, loss) in Loss::ALL.into_iter().enumerate() {
            let disk = crashed.fork(number * 8 + seed as u64);
            disk.power_cut(loss);
            check(&disk, &told, &format!("operation {number}, {loss:?}, {told:?}")).await;
        }
    }
}

#[tokio::test]
async fn what_was_touched_is_not_idle() {
    let store_folder = store_support::RealStore::new(StoreSettings::default());
    let (store, _) = store_folder.open().await;
    let (digest, content) = blobs(1).remove(0);
    let hour = Duration::from_secs(3_600);
    store_folder.clock.advance(10 * hour);
    let idle_hours = || store.idle(&digest).as_secs() / hour.as_secs();
    assert_eq!(idle_hours(), 10, "the start counts as a touch");
    store.put(&digest, content).await.unwrap();
    assert_eq!(idle_hours(), 0);
    store_folder.clock.advance(hour);
    assert_eq!(idle_hours(), 1);
    store.pin(&[digest], GcEpoch(0)).await.unwrap();
    assert_eq!(idle_hours(), 0);
}
