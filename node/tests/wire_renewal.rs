//! Certificates that renew themselves while calls go on, and CAs that are replaced.

#![allow(clippy::unwrap_used, reason = "a test panics when something is wrong")]

mod wire_support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use atoll_node::{
    cluster::{
        ca::Authorities,
        certificate::{self, Renewal},
    },
    io::{Io, clock::SimClock},
    wire::Security,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use wire_support::*;

/// A node whose certificate is kept by a [`Renewal`].
struct Node {
    io: Io,
    clock: Arc<SimClock>,
    security: Security,
    stop: CancellationToken,
}

impl Node {
    fn start(node: u16, authorities: &watch::Sender<Option<Authorities>>, folder: Io) -> Node {
        let clock = Arc::new(SimClock::new());
        let io = Io { clock: clock.clone(), ..folder };
        let security = Security::mtls(clock.clone());
        let stop = CancellationToken::new();
        let renewal = Renewal {
            io: io.clone(),
            me: name(CLUSTER, node),
            lifetime: Duration::from_secs(3),
            security: security.clone(),
            authorities: authorities.subscribe(),
        };
        tokio::spawn(renewal.run(stop.clone()));
        Node { io, clock, security, stop }
    }

    /// The certificate, once it is another than `old`.
    async fn renewed(&self, old: Option<&[u8]>) -> Vec<u8> {
        for _ in 0..500 {
            if let Some(identity) = self.security.identity()
                && old != Some(identity.chain()[0].as_ref())
            {
                return identity.chain()[0].to_vec();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("no new certificate");
    }

    fn certificate(&self) -> Vec<u8> {
        self.security.identity().unwrap().chain()[0].to_vec()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// A data folder, and the doors to it.
fn folder() -> (tempfile::TempDir, Io) {
    let folder = tempfile::tempdir().unwrap();
    let io = Io::real(folder.path()).unwrap();
    (folder, io)
}

#[tokio::test]
async fn renewals_under_load_drop_no_call_and_no_connection() {
    let authorities = watch::Sender::new(Some(authorities(CLUSTER)));
    let ((_one, one), (_two, two)) = (folder(), folder());
    let server_node = Node::start(1, &authorities, one);
    let caller = Node::start(2, &authorities, two);
    let first = server_node.renewed(None).await;
    caller.renewed(None).await;
    let server = Server::start(&server_node.security).await;

    let stop = Arc::new(AtomicBool::new(false));
    let (old_channel, stopped) = (server.channel(&caller.security), stop.clone());
    let on_one_connection = tokio::spawn(async move {
        let mut calls = 0_u32;
        while !stopped.load(Ordering::Relaxed) {
            assert_eq!(call(&old_channel, OTHER).await.unwrap(), "atoll://c1/node/2");
            calls += 1;
        }
        calls
    });
    let (address, security, stopped) = (server.address, caller.security.clone(), stop.clone());
    let on_new_connections = tokio::spawn(async move {
        let mut calls = 0_u32;
        while !stopped.load(Ordering::Relaxed) {
            let channel = atoll_node::wire::Channel::new(&address.to_string(), &security).unwrap();
            assert_eq!(call(&channel, OTHER).await.unwrap(), "atoll://c1/node/2");
            calls += 1;
        }
        calls
    });
    let mut last = first;
    for _ in 0..2 {
        last = server_node.renewed(Some(&last)).await;
    }
    stop.store(true, Ordering::Relaxed);
    let (old, new) = (on_one_connection.await.unwrap(), on_new_connections.await.unwrap());
    assert!(old > 100 && new > 20, "{old} calls on one connection, {new} on new ones");
}

#[tokio::test]
async fn a_node_that_was_off_for_too_long_comes_back_by_itself() {
    let authorities = watch::Sender::new(Some(authorities(CLUSTER)));
    let (_folder, folder) = folder();
    let node = Node::start(1, &authorities, folder.clone());
    let before = node.renewed(None).await;
    drop(node);
    assert_eq!(certificate::load(&folder).await.unwrap().unwrap().chain()[0].as_ref(), before);

    let node = Node::start(1, &authorities, folder);
    node.security.install(certificate::load(&node.io).await.unwrap().unwrap()).unwrap();
    // Its clock goes far enough beyond, and not beyond the life of the authority.
    node.clock.advance(Duration::from_secs(86_400));
    node.renewed(Some(&before)).await;
}

#[tokio::test]
async fn what_is_on_the_disk_is_what_is_used() {
    let authorities = watch::Sender::new(Some(authorities(CLUSTER)));
    let (_folder, folder) = folder();
    let node = Node::start(1, &authorities, folder);
    let first = node.renewed(None).await;
    node.renewed(Some(&first)).await;
    let kept = certificate::load(&node.io).await.unwrap().unwrap();
    assert_eq!(kept.chain()[0].as_ref(), node.certificate());
}

/// Each step reaches the two nodes one after the other; at no moment may they be apart.
#[tokio::test]
async fn the_ca_is_replaced_without_a_moment_of_distrust() {
    let old = authorities(CLUSTER);
    let (of_one, of_two) =
        (watch::Sender::new(Some(old.clone())), watch::Sender::new(Some(old.clone())));
    let ((_one, io_one), (_two, io_two)) = (folder(), folder());
    let (one, two) = (Node::start(1, &of_one, io_one), Node::start(2, &of_two, io_two));
    let (mut one_has, mut two_has) = (one.renewed(None).await, two.renewed(None).await);
    let server = Server::start(&one.security).await;
    let now = now();
    let staged = old.with_successor(CLUSTER, now).unwrap();
    assert!(staged.with_successor(CLUSTER, now).is_err(), "one at a time");
    let promoted = staged.promoted().unwrap();
    assert!(promoted.promoted().is_err());
    assert!(promoted.with_successor(CLUSTER, now).is_err(), "the old one first");
    let finished = promoted.without_retired();
    assert_ne!(finished.fingerprint().unwrap(), old.fingerprint().unwrap());
    for step in [staged, promoted, finished] {
        of_one.send_replace(Some(step.clone()));
        one_has = one.renewed(Some(&one_has)).await;
        assert!(server.call(&two.security, OTHER).await.is_ok());
        of_two.send_replace(Some(step));
        two_has = two.renewed(Some(&two_has)).await;
        assert!(server.call(&two.security, OTHER).await.is_ok());
    }
    let stranger = Security::joining(clock(), old.fingerprint().unwrap());
    assert!(server.call(&stranger, JOIN).await.is_err(), "tokens of the old CA are worth nothing");
}
