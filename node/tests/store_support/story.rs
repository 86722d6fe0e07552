//! A story of pushes, and what may be seen of it after a crash.
//!
//! The story does a little of everything and writes down what was acknowledged. The checks hold
//! for every moment at which it may be cut off: what was acknowledged is there and true, what was
//! not is there and true or not there, and nothing else is left.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use atoll_core::{Algorithm, Digest, route::UploadId};
use atoll_node::{
    io::disk::sim::SimDisk,
    store::{BlobStore, OpenStoreError, RecoveryReport, StoreSettings},
};
use bytes::Bytes;

use super::{content, repo, sha256, sim_io};

/// Batches so small that short content takes the way of long content.
pub fn settings() -> StoreSettings {
    StoreSettings { batch_bytes: 16 << 10, disk_reserve_percent: 0, ..StoreSettings::default() }
}

/// Opens the store on the device, as a new process.
pub async fn open(disk: &SimDisk) -> Result<(BlobStore, RecoveryReport), OpenStoreError> {
    BlobStore::open(sim_io(disk.mount(), 7), PathBuf::from("store"), settings()).await
}

/// What the clients of the story know.
#[derive(Debug, Default)]
pub struct Acknowledged {
    /// Blobs whose push was answered with success.
    pub blobs: Vec<Digest>,
    /// The session that is left open, and how many of its bytes were acknowledged as durable.
    pub session: Option<(UploadId, u64)>,
    /// Why steps of the story failed.
    pub errors: Vec<String>,
}

/// The blobs of the story, by digest.
pub fn blobs() -> BTreeMap<Digest, Bytes> {
    let small = content(3_000, 1);
    let long = content(90_000, 2);
    let chunked = content(80_000, 3);
    let other = content(70_000, 5);
    [
        (sha256(&small), small),
        (sha256(&long), long),
        (sha256(&chunked), chunked),
        (sha256(&session_content()), session_content()),
        (Digest::of(Algorithm::Sha512, &other), other),
    ]
    .into()
}

fn session_content() -> Bytes {
    content(70_000, 4)
}

fn blob(seed: usize) -> (Digest, Bytes) {
    let len = [0, 3_000, 90_000, 80_000, 70_000, 70_000][seed];
    let content = content(len, seed as u64);
    let algorithm = if seed == 5 { Algorithm::Sha512 } else { Algorithm::Sha256 };
    (Digest::of(algorithm, &content), content)
}

/// Runs the whole story. A step that fails does not stop the next ones.
pub async fn tell(store: &BlobStore) -> Acknowledged {
    let mut acknowledged = Acknowledged::default();
    let told = &mut acknowledged;
    let small = blob(1);
    note(told, put(store, &small).await);
    note(told, push(store, &blob(2)).await);
    note(told, push_in_chunks(store, &blob(3)).await);
    leave_a_session_open(store, told).await;
    note(told, put(store, &small).await);
    note(told, push(store, &blob(5)).await);
    cancel_a_session(store, told).await;
    acknowledged
}

type Step = Result<Digest, String>;

fn note(acknowledged: &mut Acknowledged, step: Step) {
    match step {
        Ok(digest) => acknowledged.blobs.push(digest),
        Err(error) => acknowledged.errors.push(error),
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

async fn put(store: &BlobStore, (digest, content): &(Digest, Bytes)) -> Step {
    store.put(digest, content.clone()).await.map_err(text)?;
    Ok(*digest)
}

/// The session announces sha256, whatever the digest is.
async fn push(store: &BlobStore, (digest, content): &(Digest, Bytes)) -> Step {
    let id = store.create_upload(&repo(), Algorithm::Sha256).map_err(text)?;
    let mut writer = store.upload(&repo(), id).map_err(text)?;
    for start in (0..content.len()).step_by(30_000) {
        let end = content.len().min(start + 30_000);
        writer.write(content.slice(start..end)).await.map_err(text)?;
    }
    writer.commit(digest).await.map_err(text)?;
    Ok(*digest)
}

async fn push_in_chunks(store: &BlobStore, (digest, content): &(Digest, Bytes)) -> Step {
    let id = store.create_upload(&repo(), Algorithm::Sha256).map_err(text)?;
    for range in [0..40_000, 40_000..70_000] {
        let mut writer = store.upload(&repo(), id).map_err(text)?;
        writer.write(content.slice(range)).await.map_err(text)?;
        writer.finish(true).await.map_err(text)?;
    }
    let mut writer = store.upload(&repo(), id).map_err(text)?;
    writer.write(content.slice(70_000..)).await.map_err(text)?;
    writer.commit(digest).await.map_err(text)?;
    Ok(*digest)
}

async fn leave_a_session_open(store: &BlobStore, acknowledged: &mut Acknowledged) {
    let content = session_content();
    let Ok(id) = store.create_upload(&repo(), Algorithm::Sha256) else { return };
    for (range, durable) in [(0..20_000, true), (20_000..45_000, true), (45_000..65_000, false)] {
        let Ok(mut writer) = store.upload(&repo(), id) else { return };
        let end = range.end as u64;
        if writer.write(content.slice(range)).await.is_err() {
            return;
        }
        match writer.finish(durable).await {
            Ok(_) if durable => acknowledged.session = Some((id, end)),
            Ok(_) => {}
            Err(error) => {
                // A session may end with an error, and its client is told so.
                if store.upload_status(&repo(), id).is_err() {
                    acknowledged.session = None;
                }
                return acknowledged.errors.push(text(error));
            }
        }
    }
}

async fn cancel_a_session(store: &BlobStore, acknowledged: &mut Acknowledged) {
    let Ok(id) = store.create_upload(&repo(), Algorithm::Sha256) else { return };
    let Ok(mut writer) = store.upload(&repo(), id) else { return };
    let written = match writer.write(content(30_000, 6)).await {
        Ok(()) => writer.finish(true).await.map(|_| ()),
        Err(error) => Err(error),
    };
    let cancelled = store.cancel_upload(&repo(), id).await;
    acknowledged.errors.extend(written.and(cancelled).err().map(text));
}

/// What a new process must see. `has_restarted` says that the sessions went through a restart.
pub async fn check(store: &BlobStore, acknowledged: &Acknowledged, has_restarted: bool) {
    for (digest, content) in blobs() {
        let was_acknowledged = acknowledged.blobs.contains(&digest);
        let found = store.read_whole(&digest, u64::MAX).await;
        match found.unwrap_or_else(|error| panic!("{digest}: {error}")) {
            Some(read) => assert!(read == content, "{digest} reads as something else"),
            None => assert!(!was_acknowledged, "{digest} was acknowledged and is gone"),
        }
    }
    if let Some((id, durable)) = acknowledged.session {
        let offset = store.upload_status(&repo(), id).unwrap();
        assert!(offset >= durable, "{durable} bytes were durable, {offset} are left");
        go_on(store, id, offset).await;
    }
    if has_restarted {
        assert_eq!(store.stats().quarantined, 0);
    }
}

/// The client of the open session comes back and finishes.
async fn go_on(store: &BlobStore, id: UploadId, offset: u64) {
    let content = session_content();
    let mut writer = store.upload(&repo(), id).unwrap();
    writer.begin_chunk(offset).unwrap();
    writer.write(content.slice(offset as usize..)).await.unwrap();
    writer.commit(&sha256(&content)).await.unwrap();
    let read = store.read_whole(&sha256(&content), u64::MAX).await.unwrap().unwrap();
    assert!(read == content);
}

/// Every file that is on the disk belongs to a blob or to an open session.
pub async fn check_leftovers(disk: &SimDisk, sessions: usize) {
    let mount: Arc<dyn atoll_node::io::Disk> = disk.mount();
    let count = |folder: &str| mount.list(&PathBuf::from("store").join(folder)).unwrap().len();
    assert!(count("uploads") <= sessions, "{} uploads of {sessions}", count("uploads"));
    assert!(count("sessions") <= sessions, "{} records of {sessions}", count("sessions"));
    assert_eq!(count("quarantine"), 0);
}
