//! Three voters on loopback, over real gRPC: replication, a dead leader, a state sent whole.

#![allow(clippy::unwrap_used, reason = "a test panics when something is wrong")]

mod metadata_common;

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use atoll_core::metadata::{Command, query};
use atoll_node::{
    io::net,
    metadata::{Metadata, MetadataSettings, NodeId},
    rpc::raft::{RaftPeers, RaftService},
    wire::{Security, server::serve},
};
use metadata_common::*;
use tokio_util::sync::CancellationToken;

const CLUSTER: &str = "test";

/// A voter that can be stopped and started again on its folder and address.
struct Voter {
    id: NodeId,
    folder: tempfile::TempDir,
    address: SocketAddr,
    voters: BTreeMap<NodeId, String>,
    life: Option<(Metadata, CancellationToken)>,
}

impl Voter {
    fn settings(&self) -> MetadataSettings {
        MetadataSettings {
            node: self.id,
            voters: self.voters.clone(),
            cluster_id: CLUSTER.to_owned(),
            snapshot_interval: 20,
            entries_kept: 2,
            // The machine that runs the tests may be busy: elections only when somebody is dead.
            heartbeat_interval: Duration::from_millis(150),
            election_timeout_min: Duration::from_millis(1000),
            election_timeout_max: Duration::from_millis(2000),
            submit_deadline: Duration::from_secs(20),
            read_deadline: Duration::from_secs(20),
            ..Default::default()
        }
    }

    async fn start(&mut self) {
        let peers = Arc::new(RaftPeers::new(CLUSTER, self.id, Security::plaintext()));
        let io = real_io(self.folder.path());
        let metadata = Metadata::open_among(io, self.settings(), peers).await.unwrap();
        let listener = net::listen(self.address, net::BACKLOG).await.unwrap();
        let routes = tonic::service::Routes::new(RaftService::server(metadata.clone()));
        let stop = CancellationToken::new();
        tokio::spawn(serve(listener, routes, Security::plaintext(), stop.clone()));
        self.life = Some((metadata, stop));
    }

    async fn stop(&mut self) {
        let (metadata, stop) = self.life.take().unwrap();
        stop.cancel();
        metadata.shutdown().await;
    }

    fn metadata(&self) -> &Metadata {
        &self.life.as_ref().unwrap().0
    }

    fn leads(&self) -> bool {
        self.life.is_some() && self.metadata().stats().groups[0].leader
    }
}

/// Three addresses nobody uses now.
async fn addresses() -> Vec<SocketAddr> {
    let mut listeners = Vec::new();
    for _ in 0..3 {
        listeners.push(net::listen((Ipv4Addr::LOCALHOST, 0).into(), 1).await.unwrap());
    }
    listeners.iter().map(|listener| listener.local_addr().unwrap()).collect()
}

async fn three_voters() -> Vec<Voter> {
    let addresses = addresses().await;
    let voters: BTreeMap<_, _> =
        (1..).zip(&addresses).map(|(id, address)| (id, address.to_string())).collect();
    let mut all = Vec::new();
    for (id, address) in (1..).zip(addresses) {
        let folder = tempfile::tempdir().unwrap();
        let mut voter = Voter { id, folder, address, voters: voters.clone(), life: None };
        voter.start().await;
        all.push(voter);
    }
    all
}

async fn leader(voters: &[Voter]) -> usize {
    for _ in 0..400 {
        if let Some(leader) = voters.iter().position(Voter::leads) {
            return leader;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("nobody leads");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_leader_loses_nothing() {
    let mut voters = three_voters().await;
    let first = leader(&voters).await;
    // Any voter takes changes, and any voter's linearizable read has those of the others at once.
    for i in 0..12 {
        let (writer, reader) = (&voters[i % 3], &voters[(i + 1) % 3]);
        done(writer.metadata(), put("a", &format!("manifest {i}"), "latest")).await;
        let view = reader.metadata().linearizable(&repo("a")).await.unwrap();
        assert_eq!(tag_in(&view, "a", "latest"), Some(digest(&format!("manifest {i}"))));
    }

    voters[first].stop().await;
    let [second, third] = [(first + 1) % 3, (first + 2) % 3];
    // The submit waits for the election by itself.
    done(voters[second].metadata(), put("a", "after", "latest")).await;
    for alive in [second, third] {
        let view = voters[alive].metadata().linearizable(&repo("a")).await.unwrap();
        assert_eq!(tag_in(&view, "a", "latest"), Some(digest("after")));
        for i in 0..12 {
            let manifest = digest(&format!("manifest {i}"));
            assert!(query::manifest(&view, &repo("a"), &manifest).unwrap().is_some());
        }
    }
    assert_ne!(leader(&voters).await, first);

    // Back again, it follows and answers like the others.
    voters[first].start().await;
    let view = voters[first].metadata().linearizable(&repo("a")).await.unwrap();
    assert_eq!(tag_in(&view, "a", "latest"), Some(digest("after")));
    drop(view);
    for voter in &mut voters {
        voter.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_quorum_nothing_is_acknowledged() {
    let mut voters = three_voters().await;
    let first = leader(&voters).await;
    done(voters[first].metadata(), link("a", "x")).await;
    for other in [(first + 1) % 3, (first + 2) % 3] {
        voters[other].stop().await;
    }
    let alone = voters[first].metadata();
    let refused = |what| async move {
        tokio::time::timeout(Duration::from_secs(3), what).await.ok().is_none_or(|done| done)
    };
    let submit = async { alone.submit(link("a", "y")).await.is_err() };
    assert!(refused(Box::pin(submit) as futures_util::future::BoxFuture<'_, bool>).await);
    let read = async { alone.linearizable(&repo("a")).await.is_err() };
    assert!(refused(Box::pin(read) as futures_util::future::BoxFuture<'_, bool>).await);
    // What it has applied it still shows, as what it is.
    assert!(linked_in(&alone.snapshot(&repo("a")).unwrap(), "a", "x"));
    voters[first].stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_voter_that_missed_the_log_is_sent_the_state() {
    let mut voters = three_voters().await;
    let first = leader(&voters).await;
    done(voters[first].metadata(), put("a", "early", "early")).await;
    let behind = (first + 1) % 3;
    voters[behind].stop().await;
    // Rows of several frames, and entries enough that the log no longer reaches back.
    let padding = "x".repeat(120);
    for i in 0..100 {
        let pushes = (0..20).map(|j| {
            let name = format!("layer {i} {j} {padding}");
            let metadata = voters[first].metadata().clone();
            async move { done(&metadata, link("a", &name)).await }
        });
        futures_util::future::join_all(pushes).await;
    }
    done(voters[first].metadata(), put("a", "late", "latest")).await;
    let purged = |voter: &Voter| voter.metadata().stats().groups[0].purged;
    for _ in 0..100 {
        if purged(&voters[first]) > Some(30) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(purged(&voters[first]) > Some(30), "the log still reaches back");

    voters[behind].start().await;
    let view = voters[behind].metadata().linearizable(&repo("a")).await.unwrap();
    assert_eq!(tag_in(&view, "a", "early"), Some(digest("early")));
    assert_eq!(tag_in(&view, "a", "latest"), Some(digest("late")));
    for i in 0..100 {
        assert!(linked_in(&view, "a", &format!("layer {i} 7 {padding}")), "layer {i} is missing");
    }
    drop(view);
    // What it was sent is on its disk.
    voters[behind].stop().await;
    voters[first].stop().await;
    voters[behind].start().await;
    let view = voters[behind].metadata().linearizable(&repo("a")).await.unwrap();
    assert_eq!(tag_in(&view, "a", "latest"), Some(digest("late")));
    drop(view);
    for voter in &mut voters {
        if voter.life.is_some() {
            voter.stop().await;
        }
    }
}

#[tokio::test]
async fn another_cluster_is_refused() {
    use atoll_node::metadata::peers::{Call, Peer, Peers};
    let voters = three_voters().await;
    let stranger = RaftPeers::new("elsewhere", 9, Security::plaintext());
    let peer = Peer { id: 1, address: voters[0].address.to_string() };
    let asked = stranger.call(peer, 0, Call::Vote, Default::default(), Duration::from_secs(10));
    let error = asked.await.unwrap_err();
    assert!(error.reason.contains("cluster `test`"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenure_begins_with_what_was_removed_before_it() {
    let mut voters = three_voters().await;
    let leading = leader(&voters).await;
    let (away, other) = ((leading + 1) % 3, (leading + 2) % 3);
    done(voters[leading].metadata(), link("a", "blob")).await;
    let settled = voters[away].metadata().settled(&repo("a"), 1).await.unwrap();
    assert!(linked_in(&settled, "a", "blob"));

    // What is removed while a node is away is acknowledged without it.
    voters[away].stop().await;
    let unlink = Command::UnlinkBlob { repo: repo("a"), digest: digest("blob") };
    done(voters[other].metadata(), unlink).await;

    // Back with the state of then, it is not to say that the blob is there.
    voters[away].start().await;
    let settled = voters[away].metadata().settled(&repo("a"), 1).await.unwrap();
    assert!(!linked_in(&settled, "a", "blob"));
    // Within a tenure nobody is asked: not even a quorum that is gone.
    voters[leading].stop().await;
    voters[other].stop().await;
    voters[away].metadata().settled(&repo("a"), 1).await.unwrap();
    voters[away].stop().await;
}
