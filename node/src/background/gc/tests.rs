//! Whole rounds over real stores and real groups.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use atoll_core::{
    Algorithm, RepoName,
    metadata::{
        Command, Outcome, Precondition, PutManifest, Refusal, command::TagProtection, query,
    },
};
use bytes::Bytes;

use super::{holder::Holder, *};
use crate::{
    io::{
        Io,
        clock::{RealClock, SimClock},
        disk::sim::{Faults, SimDisk},
        entropy::SimEntropy,
    },
    metadata::MetadataSettings,
    replicate::{Stamped, Stamps},
    store::{BlobStore, Pinned, StoreSettings},
};

const HOUR: Duration = Duration::from_secs(3_600);

/// Nodes in one process: stores of their own, and one set of groups.
#[derive(Debug)]
struct Nodes {
    stores: BTreeMap<NodeId, BlobStore>,
    holders: BTreeMap<NodeId, Holder>,
    clock: Arc<SimClock>,
    metadata: Metadata,
    down: Mutex<Vec<NodeId>>,
    /// Nodes that are up and do not answer orders to delete.
    mute: AtomicBool,
}

impl Nodes {
    async fn new(count: u16, groups: u16) -> Arc<Nodes> {
        let clock = Arc::new(SimClock::new());
        let io = |seed: u64| Io {
            clock: clock.clone(),
            disk: SimDisk::new(seed, Faults::default()).mount(),
            entropy: Arc::new(SimEntropy::new(seed)),
        };
        let settings = MetadataSettings { groups, ..MetadataSettings::default() };
        let at = Io { clock: Arc::new(RealClock::new()), ..io(100) };
        let metadata = Metadata::open(at, settings).await.unwrap();
        let (mut stores, mut holders) = (BTreeMap::new(), BTreeMap::new());
        for node in 1..=count {
            let settings = StoreSettings { disk_reserve_percent: 0, ..StoreSettings::default() };
            let opened = BlobStore::open(io(u64::from(node)), PathBuf::new(), settings).await;
            let (store, _) = opened.unwrap();
            holders.insert(NodeId(node), Holder::new(store.clone(), metadata.clone()));
            stores.insert(NodeId(node), store);
        }
        let (down, mute) = (Mutex::default(), AtomicBool::new(false));
        Arc::new(Nodes { stores, holders, clock, metadata, down, mute })
    }

    fn gc(self: &Arc<Self>) -> Gc {
        let settings = GcSettings { min_age: HOUR, batch: 3, ..GcSettings::default() };
        Gc::new(self.metadata.clone(), self.clone(), settings)
    }

    fn wait(&self) {
        self.clock.advance(2 * HOUR);
    }

    fn stamps(&self) -> Stamped {
        Stamped::new(self.stores[&NodeId(1)].clone(), self.metadata.clone())
    }

    async fn newest(&self) -> GcEpoch {
        self.stamps().refreshed().await.unwrap()
    }

    /// Copies at every node, stamped with `vg`.
    async fn store(&self, content: &Bytes, vg: GcEpoch) -> Digest {
        let digest = Digest::of(Algorithm::Sha256, content);
        for store in self.stores.values() {
            store.witness(vg).await.unwrap();
            store.put(&digest, content.clone()).await.unwrap();
        }
        digest
    }

    /// Is there a copy everywhere?
    async fn pin(&self, digests: &[Digest], vg: GcEpoch) -> bool {
        let mut all = true;
        for store in self.stores.values() {
            let answers = store.pin(digests, vg).await.unwrap();
            all &= answers.iter().all(|answer| matches!(answer, Pinned::Present { .. }));
        }
        all
    }

    async fn upload(&self, repo: &RepoName, content: &Bytes) -> Digest {
        loop {
            let vg = self.newest().await;
            let digest = self.store(content, vg).await;
            let (repo, size) = (repo.clone(), content.len() as u64);
            let link = Command::LinkBlob { repo, digest, size, vg };
            match self.metadata.submit(link).await.unwrap() {
                Outcome::Done => return digest,
                Outcome::Refused(Refusal::Reverify) => tokio::task::yield_now().await,
                other => panic!("{other:?}"),
            }
        }
    }

    /// Pushes a manifest that needs `layer`; `false` when the layer is gone.
    async fn push(&self, repo: &RepoName, name: &str, layer: Digest) -> bool {
        loop {
            let vg = self.newest().await;
            let digest = self.store(&Bytes::copy_from_slice(name.as_bytes()), vg).await;
            if !self.pin(&[layer], vg).await {
                return false;
            }
            let put = PutManifest {
                repo: repo.clone(),
                digest,
                media_type: "application/vnd.oci.image.manifest.v1+json".to_owned(),
                size: name.len() as u64,
                blobs: vec![layer],
                foreign_blobs: Vec::new(),
                children: Vec::new(),
                subject: None,
                artifact_type: None,
                annotations: Default::default(),
                tags: Vec::new(),
                precondition: Precondition::Always,
                protected: TagProtection::None,
                vg,
            };
            match self.metadata.submit(Command::PutManifest(put)).await.unwrap() {
                Outcome::Done => return true,
                Outcome::Refused(Refusal::Reverify) => tokio::task::yield_now().await,
                Outcome::Refused(Refusal::ManifestBlobUnknown { .. }) => return false,
                other => panic!("{other:?}"),
            }
        }
    }

    async fn unpush(&self, repo: &RepoName, name: &str) {
        let digest = Digest::of(Algorithm::Sha256, name.as_bytes());
        let (repo, protected) = (repo.clone(), TagProtection::None);
        let delete = Command::DeleteManifest { repo, digest, protected };
        assert_eq!(self.metadata.submit(delete).await.unwrap(), Outcome::Done);
    }

    async fn copies(&self, digest: &Digest) -> usize {
        let mut copies = 0;
        for store in self.stores.values() {
            copies += usize::from(store.stat(digest).await.unwrap().is_some());
        }
        copies
    }

    async fn is_linked(&self, repo: &RepoName, digest: &Digest) -> bool {
        let snapshot = self.metadata.linearizable(repo).await.unwrap();
        query::link(&snapshot, repo, digest).unwrap().is_some()
    }
}

impl Holders for Nodes {
    fn up(&self) -> Vec<NodeId> {
        let down = self.down.lock().unwrap();
        self.stores.keys().filter(|node| !down.contains(node)).copied().collect()
    }

    fn candidates(
        &self,
        node: NodeId,
        after: Option<Digest>,
        min_age: Duration,
    ) -> BoxFuture<'_, Result<CandidatePage, HolderError>> {
        Box::pin(async move { self.holders[&node].candidates(after, min_age).await })
    }

    fn untouched(
        &self,
        node: NodeId,
        digests: Vec<Digest>,
        min_age: Duration,
    ) -> BoxFuture<'_, Result<Vec<Digest>, HolderError>> {
        Box::pin(async move { Ok(self.holders[&node].untouched(&digests, min_age)) })
    }

    fn delete(
        &self,
        node: NodeId,
        e: GcEpoch,
        digests: Vec<Digest>,
    ) -> BoxFuture<'_, Result<Vec<u64>, HolderError>> {
        Box::pin(async move {
            if self.mute.load(Ordering::Relaxed) && node == NodeId(2) {
                return Err(HolderError::Unreachable("mute".to_owned()));
            }
            self.holders[&node].delete(e, &digests).await
        })
    }
}

fn repo(name: &str) -> RepoName {
    name.parse().unwrap()
}

fn content(of: &str) -> Bytes {
    of.repeat(100).into()
}

/// Repositories of two different groups.
fn repos() -> (RepoName, RepoName) {
    (repo("a"), repo("library/alpine"))
}

#[tokio::test]
async fn what_nobody_needs_goes_and_the_rest_stays() {
    let nodes = Nodes::new(3, 4).await;
    let (here, there) = repos();
    let kept = nodes.upload(&here, &content("kept")).await;
    let waste = nodes.upload(&here, &content("waste")).await;
    // Needed in one group, linked in another.
    let shared = nodes.upload(&there, &content("shared")).await;
    nodes.upload(&here, &content("shared")).await;
    assert!(nodes.push(&here, "m1", kept).await && nodes.push(&there, "m2", shared).await);
    assert!(nodes.push(&here, "old", waste).await);
    nodes.unpush(&here, "old").await;
    // Its link was never committed.
    let orphan = nodes.store(&content("orphan"), GcEpoch(0)).await;
    let old = Digest::of(Algorithm::Sha256, b"old");

    let gc = nodes.gc();
    gc.pass().await.unwrap();
    assert_eq!(gc.stats().condemned, 0, "everything was touched just now");
    nodes.wait();
    let dry = gc.dry_run().await.unwrap();
    assert_eq!((dry.blobs, dry.bytes), (3, 500 + 600 + 3));
    assert_eq!((dry.copies, dry.copies_bytes), (9, 3 * dry.bytes));
    gc.pass().await.unwrap();
    for digest in [waste, orphan, old] {
        assert_eq!(nodes.copies(&digest).await, 0);
    }
    for digest in [kept, shared, Digest::of(Algorithm::Sha256, b"m1")] {
        assert_eq!(nodes.copies(&digest).await, 3);
    }
    assert!(!nodes.is_linked(&here, &waste).await);
    assert!(nodes.is_linked(&here, &kept).await);
    assert!(nodes.is_linked(&here, &shared).await && nodes.is_linked(&there, &shared).await);
    let stats = gc.stats();
    assert_eq!((stats.condemned, stats.copies, stats.bytes), (3, 9, dry.copies_bytes));
    assert!(gc.settle().await.unwrap() == Round::default());
    // And it can be pushed again.
    assert_eq!(nodes.upload(&here, &content("waste")).await, waste);
    assert!(nodes.push(&here, "old", waste).await);
}

#[tokio::test]
async fn a_touch_at_any_node_spares_a_blob() {
    let nodes = Nodes::new(3, 1).await;
    let waste = nodes.upload(&repo("a"), &content("waste")).await;
    nodes.wait();
    nodes.stores[&NodeId(3)].touch(&waste);
    let gc = nodes.gc();
    gc.pass().await.unwrap();
    assert_eq!((gc.stats().condemned, gc.stats().spared), (0, 1));
    assert_eq!(nodes.copies(&waste).await, 3);
}

#[tokio::test]
async fn a_node_that_does_not_answer_holds_the_round_up_until_it_is_down() {
    let nodes = Nodes::new(3, 4).await;
    let waste = nodes.upload(&repo("a"), &content("waste")).await;
    nodes.wait();
    nodes.mute.store(true, Ordering::Relaxed);
    let gc = nodes.gc();
    assert!(matches!(gc.pass().await, Err(GcError::Holder { node: NodeId(2), .. })));
    assert!(!nodes.is_linked(&repo("a"), &waste).await, "it is condemned");
    assert!(gc.settle().await.is_err());
    nodes.down.lock().unwrap().push(NodeId(2));
    gc.settle().await.unwrap();
    assert_eq!(nodes.copies(&waste).await, 1);
    // The node comes back with its old copy, and an old order arrives after a new push.
    nodes.down.lock().unwrap().clear();
    nodes.mute.store(false, Ordering::Relaxed);
    nodes.upload(&repo("a"), &content("waste")).await;
    for holder in nodes.holders.values() {
        holder.delete(GcEpoch(1), &[waste]).await.unwrap();
    }
    assert_eq!(nodes.copies(&waste).await, 3);
}

#[tokio::test]
async fn what_an_earlier_driver_left_is_ended_by_the_next() {
    let nodes = Nodes::new(2, 3).await;
    let waste = nodes.upload(&repo("a"), &content("waste")).await;
    let open = nodes.upload(&repo("a"), &content("open")).await;
    let condemn =
        |e: u64, digest: Digest| Command::Condemn { e: GcEpoch(e), digests: vec![digest] };
    // The nodes learn what they answered for when they are asked for candidates.
    nodes.gc().dry_run().await.unwrap();
    // One round was decided, another one died before group 0 was asked.
    for group in [1, 2, 0] {
        nodes.metadata.submit_to(group, condemn(1, waste)).await.unwrap();
    }
    nodes.metadata.submit_to(1, condemn(2, open)).await.unwrap();
    nodes.gc().settle().await.unwrap();
    assert_eq!((nodes.copies(&waste).await, nodes.copies(&open).await), (0, 2));
    assert!(!nodes.is_linked(&repo("a"), &waste).await && nodes.is_linked(&repo("a"), &open).await);
    // What the dead driver still had on its way changes nothing.
    let late = nodes.metadata.submit_to(0, condemn(2, open)).await.unwrap();
    assert!(matches!(late, Outcome::Refused(Refusal::GcEpochPassed { .. })));
}

#[tokio::test]
async fn two_drivers_at_a_time_do_no_harm() {
    let nodes = Nodes::new(2, 3).await;
    let kept = nodes.upload(&repo("a"), &content("kept")).await;
    assert!(nodes.push(&repo("a"), "m", kept).await);
    let mut waste = Vec::new();
    for number in 0..10 {
        waste.push(nodes.upload(&repo("a"), &content(&number.to_string())).await);
    }
    nodes.wait();
    for _ in 0..20 {
        let (one, other) = (nodes.gc(), nodes.gc());
        let _ = tokio::join!(one.pass(), other.pass());
    }
    nodes.gc().settle().await.unwrap();
    assert_eq!(nodes.copies(&kept).await, 2);
    for digest in waste {
        assert_eq!(nodes.copies(&digest).await, 0);
    }
}

/// Everything is old at once, so that every push races a round.
#[tokio::test]
async fn pushers_and_rounds_race_and_no_manifest_lacks_its_layer() {
    let nodes = Nodes::new(2, 2).await;
    let stop = CancellationToken::new();
    let collector = {
        let (nodes, stop) = (nodes.clone(), stop.clone());
        tokio::spawn(async move {
            let settings = GcSettings { min_age: Duration::ZERO, ..GcSettings::default() };
            let gc = Gc::new(nodes.metadata.clone(), nodes.clone(), settings);
            while !stop.is_cancelled() {
                gc.pass().await.unwrap();
            }
            gc.stats()
        })
    };
    let mut pushers = Vec::new();
    for pusher in 0..3 {
        let nodes = nodes.clone();
        pushers.push(tokio::spawn(async move {
            let (here, there) = repos();
            let repo = if pusher == 0 { there } else { here };
            let mut pushed = 0;
            for round in 0..40 {
                let layer = nodes.upload(&repo, &content("layer")).await;
                let name = format!("{pusher}-{round}");
                if !nodes.push(&repo, &name, layer).await {
                    continue;
                }
                assert_eq!(nodes.copies(&layer).await, 2, "{name} lacks its layer");
                let manifest = Digest::of(Algorithm::Sha256, name.as_bytes());
                assert_eq!(nodes.copies(&manifest).await, 2, "{name} lacks its bytes");
                pushed += 1;
                nodes.unpush(&repo, &name).await;
            }
            pushed
        }));
    }
    let mut pushed = 0;
    for pusher in pushers {
        pushed += pusher.await.unwrap();
    }
    stop.cancel();
    let stats = collector.await.unwrap();
    println!("{pushed} of 120 pushes, {stats:?}");
    assert!(pushed > 0 && stats.copies > 0, "{pushed} pushes, {stats:?}");
}
