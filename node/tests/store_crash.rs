//! Power cuts at every disk operation of a push, and errors of the disk at every one.
//!
//! P1 "durable": an acknowledged push survives. P4 "whole": any other appears whole or not at all.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod store_support;

use atoll_node::io::disk::sim::{AfterSyncError, CrashPoint, Faults, Loss, NameOrder, SimDisk};
use store_support::story::{self, Acknowledged};

/// An empty store, laid out and at rest.
async fn fresh(faults: Faults) -> SimDisk {
    let disk = SimDisk::new(1, faults);
    story::open(&disk).await.unwrap();
    disk.power_cut(Loss::KeepAll);
    disk
}

/// The numbers of the operations of the story.
async fn operations(fresh: &SimDisk) -> std::ops::Range<u64> {
    let disk = fresh.fork(2);
    let (store, _) = story::open(&disk).await.unwrap();
    let start = disk.operation_count();
    let told = story::tell(&store).await;
    assert_eq!((told.blobs.len(), told.errors.len()), (5, 0), "{:?}", told.errors);
    start..disk.operation_count()
}

/// Runs the story with the power going at operation `number`; answers what was acknowledged.
async fn tell_until(disk: &SimDisk, number: u64, point: CrashPoint) -> Acknowledged {
    let (store, _) = story::open(disk).await.unwrap();
    disk.crash_at(number, point);
    story::tell(&store).await
}

async fn check_after_restart(disk: &SimDisk, told: &Acknowledged) {
    let (store, report) = story::open(disk).await.unwrap();
    story::check_leftovers(disk, report.sessions_restored as usize).await;
    story::check(&store, told, true).await;
    // The node is well: the whole story can be told again.
    let again = story::tell(&store).await;
    assert_eq!(again.errors, [""; 0]);
    story::check(&store, &again, false).await;
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_whenever_the_power_goes() {
    for name_order in [NameOrder::PerFolder, NameOrder::Journal] {
        let fresh = fresh(Faults { name_order, ..Faults::default() }).await;
        for number in operations(&fresh).await {
            for point in [CrashPoint::Before, CrashPoint::After] {
                let crashed = fresh.fork(number);
                let told = tell_until(&crashed, number, point).await;
                for (seed, loss) in Loss::ALL.into_iter().enumerate() {
                    let disk = crashed.fork(number * 8 + seed as u64);
                    disk.power_cut(loss);
                    let story = format!("operation {number} {point:?}, {loss:?}, {name_order:?}");
                    if (number + seed as u64).is_multiple_of(4) {
                        explain(&disk, &story, check_after_restart(&disk, &told)).await;
                    } else {
                        explain(&disk, &story, check_quickly(&disk, &told)).await;
                    }
                }
            }
        }
    }
}

/// Runs `check`, and says which case it was if it panics.
async fn explain(disk: &SimDisk, story: &str, check: impl Future<Output = ()>) {
    struct Explain<'a>(&'a SimDisk, &'a str);
    impl Drop for Explain<'_> {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("in the case of: {}\n{}", self.1, self.0.log().join("\n"));
            }
        }
    }
    let _explain = Explain(disk, story);
    check.await;
}

#[tokio::test]
async fn the_power_may_go_again_while_the_store_recovers() {
    let fresh = fresh(Faults::default()).await;
    let operations = operations(&fresh).await;
    for number in operations.step_by(5) {
        for loss in [Loss::DropAll, Loss::KeepAll, Loss::Torn] {
            let crashed = fresh.fork(number);
            let told = tell_until(&crashed, number, CrashPoint::After).await;
            crashed.power_cut(loss);
            let start = crashed.operation_count();
            let whole = crashed.fork(1);
            let opened = story::open(&whole).await.unwrap();
            let end = whole.operation_count();
            drop(opened);
            for again in start..end {
                let disk = crashed.fork(again);
                disk.crash_at(again, CrashPoint::After);
                assert!(story::open(&disk).await.is_err(), "recovery did not notice the cut");
                disk.power_cut(if again % 2 == 0 { Loss::Random } else { loss });
                let story = format!("operation {number}, {loss:?}, then {again}");
                explain(&disk, &story, check_quickly(&disk, &told)).await;
            }
        }
    }
}

async fn check_quickly(disk: &SimDisk, told: &Acknowledged) {
    let (store, report) = story::open(disk).await.unwrap();
    story::check_leftovers(disk, report.sessions_restored as usize).await;
    story::check(&store, told, true).await;
}

#[tokio::test]
async fn what_a_push_left_half_done_does_not_stand_in_the_way_of_the_next() {
    let fresh = fresh(Faults::default()).await;
    for number in operations(&fresh).await {
        let disk = fresh.fork(number);
        let (store, _) = story::open(&disk).await.unwrap();
        disk.crash_at(number, CrashPoint::After);
        let told = story::tell(&store).await;
        // Everything unfinished is still there when the next process starts.
        disk.power_cut(Loss::KeepAll);
        let (store, _) = story::open(&disk).await.unwrap();
        let again = story::tell(&store).await;
        assert_eq!(again.errors, [""; 0]);
        disk.power_cut(Loss::DropAll);
        let blobs = [told.blobs, again.blobs].concat();
        let told = Acknowledged { blobs, session: again.session, errors: vec![] };
        check_after_restart(&disk, &told).await;
    }
}

#[tokio::test]
async fn a_name_that_another_push_made_is_synced_before_this_one_is_acknowledged() {
    use store_support::{content, sha256};

    let disk = fresh(Faults::default()).await;
    let (store, _) = story::open(&disk).await.unwrap();
    let (first, second) = (content(10, 1), content(5_000, 2));
    // A push ends with syncing the shard folder; when that fails it takes the name back. Here that
    // fails too, so the name stays, visible and not durable.
    let start = disk.operation_count();
    store.put(&sha256(&first), first.clone()).await.unwrap();
    let operations = disk.operation_count() - start;
    let start = disk.operation_count();
    disk.fail_operation(start + operations - 1, 5);
    disk.fail_operation(start + operations, 5);
    assert!(store.put(&sha256(&second), second.clone()).await.is_err());
    assert!(store.stat(&sha256(&second)).await.unwrap().is_some(), "the name is not there");
    store.put(&sha256(&second), second.clone()).await.unwrap();
    disk.power_cut(Loss::DropAll);
    let (store, _) = story::open(&disk).await.unwrap();
    assert!(store.read_whole(&sha256(&second), 1 << 30).await.unwrap().unwrap() == second);
}

/// `EIO` and `ENOSPC` of the operating system.
const ERRORS: [i32; 2] = [5, 28];

#[tokio::test]
async fn an_error_of_any_operation_fails_one_push_and_harms_no_other() {
    let fresh = fresh(Faults::default()).await;
    for number in operations(&fresh).await {
        for code in ERRORS {
            let disk = fresh.fork(number);
            let (store, _) = story::open(&disk).await.unwrap();
            disk.fail_operation(number, code);
            let told = story::tell(&store).await;
            assert!(told.errors.len() <= 1, "{number}, {code}: {:?}", told.errors);
            drop(store);
            disk.power_cut(Loss::DropAll);
            let story = format!("error {code} at {number}");
            explain(&disk, &story, check_after_restart(&disk, &told)).await;
        }
    }
}

#[tokio::test]
async fn what_a_failed_sync_forgot_is_never_acknowledged() {
    let mut failures = 0;
    for after_sync_error in [AfterSyncError::KeepPages, AfterSyncError::DropPages] {
        for seed in 0..40 {
            let fresh = fresh(Faults { after_sync_error, ..Faults::default() }).await;
            let disk = fresh.fork(seed);
            let (store, _) = story::open(&disk).await.unwrap();
            disk.set_faults(|faults| faults.sync_error = 0.1);
            let mut told = story::tell(&store).await;
            failures += told.errors.len();
            // Clients that were refused try again, on the same disk.
            let again = story::tell(&store).await;
            told.blobs.extend(again.blobs);
            told.session = again.session;
            disk.set_faults(|faults| faults.sync_error = 0.0);
            drop(store);
            disk.power_cut(Loss::DropAll);
            let story = format!("seed {seed}, {after_sync_error:?}");
            explain(&disk, &story, check_after_restart(&disk, &told)).await;
        }
    }
    assert!(failures > 50, "only {failures} steps failed: the test tests nothing");
}

#[tokio::test]
async fn a_full_disk_refuses_pushes_and_keeps_what_it_has() {
    use atoll_core::Algorithm;
    use atoll_node::store::{CommitError, UploadError};
    use store_support::{content, repo, sha256};

    let disk = fresh(Faults::default()).await;
    let (store, _) = story::open(&disk).await.unwrap();
    let kept = content(10_000, 1);
    store.put(&sha256(&kept), kept.clone()).await.unwrap();
    disk.set_faults(|faults| faults.capacity = 200_000);

    // A session that runs full keeps what it has, and goes on when there is room.
    let long = content(400_000, 2);
    let id = store.create_upload(&repo(), Algorithm::Sha256).unwrap();
    let mut writer = store.upload(&repo(), id).unwrap();
    let mut refused = false;
    for piece in 0..8 {
        let written = writer.write(long.slice(piece * 50_000..(piece + 1) * 50_000)).await;
        refused |= matches!(written, Err(UploadError::NoSpace(_) | UploadError::Cancelled(_)));
    }
    refused |= writer.finish(false).await.is_err();
    assert!(refused, "twice the disk was written to it");
    let offset = store.upload_status(&repo(), id).unwrap() as usize;
    assert!(offset < 200_000);

    let large = content(199_000, 3);
    let put = store.put(&sha256(&large), large.clone()).await;
    assert!(matches!(put, Err(CommitError::NoSpace(_))), "{put:?}");
    assert_eq!(store.stat(&sha256(&large)).await.unwrap(), None);
    assert!(store.read_whole(&sha256(&kept), u64::MAX).await.unwrap().unwrap() == kept);

    disk.set_faults(|faults| faults.capacity = 1 << 30);
    let mut writer = store.upload(&repo(), id).unwrap();
    writer.write(long.slice(offset..)).await.unwrap();
    writer.commit(&sha256(&long)).await.unwrap();
    store.put(&sha256(&large), large).await.unwrap();
    assert!(store.read_whole(&sha256(&long), u64::MAX).await.unwrap().unwrap() == long);
}

#[tokio::test]
async fn the_reserve_is_not_for_uploads() {
    use atoll_core::Algorithm;
    use atoll_node::store::{BlobStore, CommitError, StoreSettings, UploadError};
    use store_support::{content, repo, sha256, sim_io};

    let disk = SimDisk::new(1, Faults { capacity: 20_000_000, ..Faults::default() });
    let settings = StoreSettings { disk_reserve_percent: 50, ..StoreSettings::default() };
    let io = sim_io(disk.mount(), 1);
    let (store, _) = BlobStore::open(io, "".into(), settings).await.unwrap();
    let first = content(7_000_000, 1);
    store.put(&sha256(&first), first.clone()).await.unwrap();
    let second = content(3_000_000, 2);
    store.put(&sha256(&second), second.clone()).await.unwrap();
    assert!(matches!(
        store.create_upload(&repo(), Algorithm::Sha256),
        Err(UploadError::NoSpace(_))
    ));
    let third = content(10, 3);
    let put = store.put(&sha256(&third), third.clone()).await;
    assert!(matches!(put, Err(CommitError::NoSpace(_))));
    // Room was made elsewhere: the reaper notices.
    disk.set_faults(|faults| faults.capacity = 200_000_000);
    store.reap().await;
    store.put(&sha256(&third), third).await.unwrap();
}
