//! The real sides of the seams, and those simulated ones that need no simulator, in one suite each.
#![cfg(not(madsim))]
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::{net::SocketAddr, sync::Arc};

use atoll_node::io::{
    Disk, Io,
    clock::{RealClock, SimClock},
    conformance,
    disk::{
        real::RealDisk,
        sim::{Faults, NameOrder, SimDisk},
    },
    entropy::{OsEntropy, SimEntropy},
    net::{self, BACKLOG},
};

fn real_disk(folder: &tempfile::TempDir) -> Arc<dyn Disk> {
    Arc::new(RealDisk::open(folder.path()).unwrap())
}

#[test]
fn the_real_disk_conforms() {
    let folder = tempfile::tempdir().unwrap();
    conformance::disk::suite(&real_disk(&folder));
}

#[test]
fn the_simulated_disk_conforms() {
    for name_order in [NameOrder::PerFolder, NameOrder::Journal] {
        let device = SimDisk::new(1, Faults { name_order, ..Faults::default() });
        conformance::disk::suite(&device.mount());
    }
}

/// Random histories on both disks: not one answer differs.
#[test]
fn the_disks_are_alike() {
    for seed in 0..40 {
        let folder = tempfile::tempdir().unwrap();
        let device = SimDisk::new(seed, Faults::default());
        conformance::disk_pair::compare(&real_disk(&folder), &device.mount(), seed, 600);
    }
}

#[tokio::test]
async fn the_clocks_conform() {
    conformance::clock::suite(&RealClock::new()).await;
    conformance::clock::suite(&SimClock::with_offset(-86_400_000)).await;
    let drifting = SimClock::new();
    drifting.set_drift(100_000);
    conformance::clock::suite(&drifting).await;
}

#[test]
fn the_entropies_conform() {
    conformance::entropy::suite(&OsEntropy);
    conformance::entropy::suite(&SimEntropy::new(1));
}

/// A connection over the loopback interface.
fn connected(listener: &Arc<net::Listener>) -> conformance::net::Connected {
    let listener = Arc::clone(listener);
    Box::pin(async move {
        let addr = listener.local_addr().unwrap();
        let connecting = net::connect(addr, std::time::Duration::from_secs(10));
        let (client, accepted) = tokio::join!(connecting, listener.accept());
        (client.unwrap(), accepted.unwrap().0)
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_real_network_conforms() {
    let here: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let listener = Arc::new(net::listen(here, BACKLOG).await.unwrap());
    let deserted = {
        let closed = net::listen(here, BACKLOG).await.unwrap();
        closed.local_addr().unwrap()
    };
    conformance::net::suite(&|| connected(&listener), deserted, 1).await;
}

/// The scripts that the simulated network is played under madsim.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_real_network_plays_any_script() {
    let here: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let listener = Arc::new(net::listen(here, BACKLOG).await.unwrap());
    for seed in 0..60 {
        conformance::net_script::play(&|| connected(&listener), seed, 120).await;
    }
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let listener = net::listen("127.0.0.1:0".parse().unwrap(), BACKLOG).await.unwrap();
    let addr = listener.local_addr().unwrap();
    let error = net::listen(addr, BACKLOG).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
    assert!(error.to_string().contains(&addr.to_string()), "{error}");
}

#[tokio::test]
async fn disk_operations_run_off_the_reactor() {
    let folder = tempfile::tempdir().unwrap();
    let io = Io::real(folder.path()).unwrap();
    let reactor = std::thread::current().id();
    let worker = io
        .disk_op(|disk| {
            disk.create_new("a".as_ref()).unwrap();
            std::thread::current().id()
        })
        .await;
    assert_ne!(reactor, worker);
    assert_eq!(io.disk.list("".as_ref()).unwrap().len(), 1);
}
