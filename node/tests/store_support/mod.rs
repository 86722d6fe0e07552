//! What the tests of the store share: stores on a real folder, and content to push.
#![allow(dead_code, reason = "every test takes what it needs")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "a test looks at the folder from outside")]

pub mod story;

use std::{path::PathBuf, sync::Arc, time::Duration};

use atoll_core::{Algorithm, Digest, RepoName};
use atoll_node::{
    io::{
        Io,
        clock::SimClock,
        disk::real::RealDisk,
        entropy::{OsEntropy, SimEntropy},
    },
    store::{BlobStore, RecoveryReport, StoreSettings},
};
use bytes::Bytes;

/// Length of a block.
pub const BLOCK_LEN: usize = atoll_node::store::BLOCK_BYTES as usize;

/// A repository to push to.
pub fn repo() -> RepoName {
    "team/app".parse().unwrap()
}

/// Content that differs from seed to seed and from byte to byte.
pub fn content(len: usize, seed: u64) -> Bytes {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes.into()
}

/// The sha256 digest.
pub fn sha256(content: &[u8]) -> Digest {
    Digest::of(Algorithm::Sha256, content)
}

/// A store in a folder of the machine, which can be closed and opened again.
pub struct RealStore {
    pub folder: tempfile::TempDir,
    pub clock: Arc<SimClock>,
    pub settings: StoreSettings,
}

impl RealStore {
    pub fn new(settings: StoreSettings) -> RealStore {
        let folder = tempfile::tempdir().unwrap();
        RealStore { folder, clock: Arc::new(SimClock::new()), settings }
    }

    /// Opens it; whoever had it open before must be gone.
    pub async fn open(&self) -> (BlobStore, RecoveryReport) {
        let io = Io {
            clock: Arc::clone(&self.clock) as Arc<_>,
            disk: Arc::new(RealDisk::open(self.folder.path()).unwrap()),
            entropy: Arc::new(OsEntropy),
        };
        BlobStore::open(io, PathBuf::new(), self.settings.clone()).await.unwrap()
    }

    /// The file of a blob.
    pub fn blob_file(&self, digest: &Digest) -> PathBuf {
        let hex = digest.hex();
        let shard = PathBuf::from("blobs").join(digest.algorithm().name()).join(&hex[..2]);
        self.folder.path().join(shard).join(hex).join("data")
    }

    /// The names in one of the store's folders.
    pub fn names_in(&self, folder: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder.path().join(folder)).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

/// Seams with simulated time and chance over `disk`.
pub fn sim_io(disk: Arc<dyn atoll_node::io::Disk>, seed: u64) -> Io {
    Io { clock: Arc::new(SimClock::new()), disk, entropy: Arc::new(SimEntropy::new(seed)) }
}

/// Pushes `content` through a session, in pieces of `piece` bytes.
pub async fn push(store: &BlobStore, content: &Bytes, piece: usize, digest: &Digest) {
    let id = store.create_upload(&repo(), Algorithm::Sha256).unwrap();
    let mut writer = store.upload(&repo(), id).unwrap();
    for start in (0..content.len()).step_by(piece) {
        let end = content.len().min(start + piece);
        writer.write(content.slice(start..end)).await.unwrap();
    }
    let info = writer.commit(digest).await.unwrap();
    assert_eq!((info.digest, info.size), (*digest, content.len() as u64));
}

/// The whole blob, read block by block.
pub async fn read_by_blocks(store: &BlobStore, digest: &Digest, blocks: usize) -> Bytes {
    let reader = store.open_blob(digest).await.unwrap().unwrap();
    let step = blocks * BLOCK_LEN;
    let mut all = Vec::new();
    while (all.len() as u64) < reader.size() {
        let left = reader.size() as usize - all.len();
        let first = (all.len() / BLOCK_LEN) as u64;
        all.extend(reader.read_blocks(first, vec![0; left.min(step)]).await.unwrap());
    }
    all.into()
}

/// Waits until `condition` holds; fails the test after ten seconds.
pub async fn eventually(condition: impl Fn() -> bool) {
    for _ in 0..1_000 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it never came true");
}
