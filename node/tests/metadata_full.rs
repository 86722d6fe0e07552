//! A disk that runs full: changes are refused before the log runs into it, reads go on, and changes
//! go on by themselves once there is room.

#![allow(clippy::unwrap_used, reason = "a test panics when something is wrong")]

mod metadata_common;

use atoll_node::{
    io::disk::sim::{Faults, SimDisk},
    metadata::{Metadata, MetadataSettings, SubmitError},
};
use metadata_common::*;

#[tokio::test]
async fn a_full_disk_refuses_changes_and_takes_them_again() {
    let device = SimDisk::new(1, Faults::default());
    let disk = device.mount();
    let io = io_on(disk.clone(), 1);
    let metadata = Metadata::open(io, MetadataSettings::default()).await.unwrap();
    done(&metadata, link("a/b", "before")).await;

    let space = disk.space().unwrap();
    device.set_faults(|faults| faults.capacity = space.total - space.available);
    let refused = metadata.submit(link("a/b", "during")).await;
    assert!(matches!(refused, Err(SubmitError::NoRoom(_))), "{refused:?}");
    let fresh = metadata.linearizable(&repo("a/b")).await.unwrap();
    assert!(linked_in(&fresh, "a/b", "before"));
    assert!(!linked_in(&fresh, "a/b", "during"));

    device.set_faults(|faults| faults.capacity = u64::MAX);
    done(&metadata, link("a/b", "after")).await;
    let fresh = metadata.linearizable(&repo("a/b")).await.unwrap();
    assert!(linked_in(&fresh, "a/b", "after"));
    metadata.shutdown().await;
}
