//! The simulated sides of the seams under madsim: the suites that the real sides pass, and what
//! only a simulation can do to a network.
#![cfg(madsim)]
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::{
    future::Future,
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use atoll_node::io::{
    Clock, Entropy, Io,
    clock::{RealClock, SimClock},
    conformance::{self, net::Connected},
    disk::sim::{Faults, SimDisk},
    entropy::{OsEntropy, SimEntropy},
    net::{self, BACKLOG, Stream, partition},
};
use madsim::{
    runtime::{Handle, NodeHandle, Runtime},
    task::NodeId,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const PATIENCE: Duration = Duration::from_secs(10);

/// Runs one simulation of its own.
fn simulate<F: Future<Output = ()>>(seed: u64, scenario: impl FnOnce() -> F) {
    let runtime = Runtime::with_seed_and_config(seed, madsim::Config::default());
    runtime.block_on(async { scenario().await });
}

/// A node that the partition table knows.
fn node(number: u8) -> NodeHandle {
    let addr = addr(number);
    let node = Handle::current().create_node().name(format!("n{number}")).ip(addr.ip()).build();
    partition::register(addr.ip(), node.id());
    node
}

fn addr(number: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, number], 5000))
}

/// Two nodes and a connection from the first to the second whenever one is wanted.
struct Two {
    client: NodeHandle,
    server: NodeHandle,
    accepted: Arc<tokio::sync::Mutex<tokio::sync::mpsc::UnboundedReceiver<Stream>>>,
}

impl Two {
    async fn start() -> Two {
        let (client, server) = (node(1), node(2));
        let (sender, accepted) = tokio::sync::mpsc::unbounded_channel();
        let (ready, listening) = tokio::sync::oneshot::channel();
        server.spawn(async move {
            let listener = net::listen(addr(2), BACKLOG).await.unwrap();
            let _ = ready.send(());
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let _ = sender.send(stream);
            }
        });
        listening.await.unwrap();
        Two { client, server, accepted: Arc::new(tokio::sync::Mutex::new(accepted)) }
    }

    fn connect(&self) -> Connected {
        let connecting = self.client.spawn(net::connect(addr(2), PATIENCE));
        let accepted = Arc::clone(&self.accepted);
        Box::pin(async move {
            let client = connecting.await.unwrap().unwrap();
            let server = accepted.lock().await.recv().await.unwrap();
            (client, server)
        })
    }

    fn ids(&self) -> (NodeId, NodeId) {
        (self.client.id(), self.server.id())
    }
}

#[test]
fn the_network_conforms() {
    for seed in 0..5 {
        simulate(seed, || async move {
            let two = Two::start().await;
            conformance::net::suite(&|| two.connect(), addr(9), seed).await;
        });
    }
}

/// Short reads and writes, slow sends.
#[test]
fn the_network_conforms_under_buggify() {
    simulate(7, || async {
        let two = Two::start().await;
        madsim::buggify::enable();
        conformance::net::suite(&|| two.connect(), addr(9), 7).await;
        madsim::buggify::disable();
    });
}

#[test]
fn the_network_conforms_under_loss_and_latency() {
    simulate(11, || async {
        madsim::net::NetSim::current().update_config(|config| {
            config.packet_loss_rate = 0.05;
            config.send_latency = Duration::from_millis(1)..Duration::from_millis(20);
        });
        let two = Two::start().await;
        conformance::net::suite(&|| two.connect(), addr(9), 11).await;
    });
}

#[test]
fn the_network_conforms_over_links_of_different_speed() {
    simulate(12, || async {
        let two = Two::start().await;
        let (client, server) = two.ids();
        partition::slow(client, server, Duration::from_millis(30));
        partition::slow(server, client, Duration::from_millis(3));
        conformance::net::suite(&|| two.connect(), addr(9), 12).await;
    });
}

/// The scripts that real TCP is played, and many more.
#[test]
fn the_network_plays_any_script() {
    for seed in 0..300 {
        simulate(seed, || async move {
            let two = Two::start().await;
            match seed % 4 {
                1 => madsim::buggify::enable(),
                2 => lose_packets(),
                3 => partition::slow(two.ids().0, two.ids().1, Duration::from_millis(seed % 40)),
                _ => {}
            }
            conformance::net_script::play(&|| two.connect(), seed, 120).await;
            madsim::buggify::disable();
        });
    }
}

fn lose_packets() {
    madsim::net::NetSim::current().update_config(|config| {
        config.packet_loss_rate = 0.05;
        config.send_latency = Duration::from_millis(1)..Duration::from_millis(20);
    });
}

/// Links that are cut and healed all the time, one way or both: what is sent arrives late, in order
/// and whole, and so does its end.
#[test]
fn what_is_sent_arrives_whole_through_cuts_and_loss() {
    for seed in 0..40_u64 {
        simulate(seed, || async move {
            let two = Two::start().await;
            lose_packets();
            let (a, b) = two.ids();
            let (mut client, mut server) = two.connect().await;
            let flapping = tokio::spawn(async move {
                let mut turn = seed;
                loop {
                    turn = turn.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    match turn >> 61 {
                        0 | 1 => partition::cut(a, b),
                        2 | 3 => partition::cut(b, a),
                        4 => partition::cut_both(a, b),
                        _ => partition::heal_both(a, b),
                    }
                    tokio::time::sleep(Duration::from_millis((turn >> 33) % 1_500)).await;
                }
            });
            let sent: Vec<u8> = (0..700_000_u32).map(|at| (at ^ at >> 8) as u8).collect();
            let expected = sent.clone();
            let sending = tokio::spawn(async move {
                client.write_all(&sent).await.unwrap();
                client.shutdown().await.unwrap();
                // Kept, so that the end is the half close and not the drop.
                client
            });
            let mut received = Vec::new();
            let mut part = vec![0; 50_000];
            let heal_at = Instant::now() + Duration::from_secs(30);
            let reading = async {
                loop {
                    match server.read(&mut part).await.unwrap() {
                        0 => break,
                        read => received.extend_from_slice(&part[..read]),
                    }
                }
            };
            let healing = async {
                tokio::time::sleep(heal_at - Instant::now()).await;
                flapping.abort();
                partition::heal_all();
            };
            let both = async { tokio::join!(reading, healing) };
            tokio::time::timeout(Duration::from_secs(120), both).await.expect("the end comes");
            assert!(received == expected, "seed {seed}");
            drop(sending.await.unwrap());
        });
    }
}

#[test]
fn the_clocks_conform() {
    simulate(1, || async {
        conformance::clock::suite(&RealClock::new()).await;
        conformance::clock::suite(&SimClock::with_offset(5_000)).await;
        let clocks = [SimClock::new(), SimClock::new()];
        clocks[0].set_drift(50_000);
        tokio::time::sleep(Duration::from_secs(100)).await;
        let apart = clocks[0].monotonic() - clocks[1].monotonic();
        assert_eq!(apart.as_millis() / 100, 50, "5 % of 100 s: {apart:?}");
    });
}

#[test]
fn the_entropies_conform_and_repeat() {
    let draw = || {
        let mut id = [0; 16];
        simulate(1, || async {
            conformance::entropy::suite(&SimEntropy::new(1));
            conformance::entropy::suite(&OsEntropy);
            OsEntropy.fill(&mut id);
        });
        id
    };
    assert_eq!(draw(), draw(), "the simulator answers for the operating system");
}

#[test]
fn the_disk_conforms_and_takes_simulated_time() {
    simulate(1, || async {
        let device = SimDisk::new(1, Faults::default());
        conformance::disk::suite(&device.mount());
        let latency = Duration::from_millis(10);
        device.set_faults(|faults| faults.latency = latency..=latency);
        let io = Io {
            clock: Arc::new(SimClock::new()),
            disk: device.mount(),
            entropy: Arc::new(SimEntropy::new(1)),
        };
        let start = Instant::now();
        io.disk_op(|disk| {
            let file = disk.create_new("slow".as_ref()).unwrap();
            file.write_at(b"bytes", 0).unwrap();
            file.sync().unwrap();
        })
        .await;
        let took = start.elapsed();
        assert!(took >= 3 * latency && took < 4 * latency, "three calls took {took:?}");
    });
}

/// A connection over a cut link is not refused, it stays unanswered; one that stood waits and then
/// goes on where it was.
#[test]
fn a_cut_link_is_silent_and_heals() {
    simulate(3, || async {
        let two = Two::start().await;
        let (client_id, server_id) = two.ids();
        let (mut client, mut server) = two.connect().await;
        for (from, to) in [(client_id, server_id), (server_id, client_id)] {
            partition::cut(from, to);
            let start = Instant::now();
            let attempt = two.client.spawn(net::connect(addr(2), PATIENCE)).await.unwrap();
            assert_eq!(attempt.unwrap_err().kind(), io::ErrorKind::TimedOut);
            assert!(start.elapsed() >= PATIENCE);
            partition::heal_all();
        }
        partition::cut_both(client_id, server_id);
        client.write_all(b"through").await.unwrap();
        let mut received = [0; 7];
        let early = tokio::time::timeout(PATIENCE, server.read_exact(&mut received)).await;
        early.expect_err("nothing passes a cut link");
        partition::heal_both(client_id, server_id);
        tokio::time::timeout(2 * PATIENCE, server.read_exact(&mut received))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(&received, b"through");
        two.connect().await;
    });
}

/// The end of a peer does not outrun a cut link.
#[test]
fn a_dropped_stream_is_not_heard_through_a_cut_link() {
    simulate(4, || async {
        let two = Two::start().await;
        let (client_id, server_id) = two.ids();
        let (mut client, server) = two.connect().await;
        partition::cut_both(client_id, server_id);
        drop(server);
        tokio::time::timeout(PATIENCE, client.read(&mut [0])).await.expect_err("silence");
        partition::heal_all();
        let end = tokio::time::timeout(2 * PATIENCE, client.read(&mut [0])).await;
        assert_eq!(end.unwrap().unwrap(), 0);
    });
}

/// What a slow link is given takes longer, in order, and so does the end behind it; the other way is as
/// quick as before.
#[test]
fn a_slow_link_delays_everything_and_keeps_the_order() {
    const LONGER: Duration = Duration::from_millis(400);
    simulate(8, || async {
        let two = Two::start().await;
        let (client_id, server_id) = two.ids();
        let (mut client, mut server) = two.connect().await;
        partition::slow(client_id, server_id, LONGER);
        let begun = Instant::now();
        client.write_all(b"one").await.unwrap();
        tokio::time::sleep(LONGER / 2).await;
        // Under way already: what follows may be as quick as it likes, it does not overtake.
        partition::quicken_all();
        client.write_all(b"two").await.unwrap();
        drop(client);
        let mut heard = [0; 3];
        server.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"one");
        assert!((LONGER..2 * LONGER).contains(&begun.elapsed()), "{:?}", begun.elapsed());
        let mut rest = Vec::new();
        server.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b"two");

        let begun = Instant::now();
        partition::slow(server_id, client_id, LONGER);
        let (mut client, mut server) = two.connect().await;
        assert!(begun.elapsed() >= LONGER, "an attempt needs an answer: {:?}", begun.elapsed());
        let begun = Instant::now();
        client.write_all(b"quick").await.unwrap();
        server.read_exact(&mut [0; 5]).await.unwrap();
        assert!(begun.elapsed() < LONGER, "{:?}", begun.elapsed());
    });
}

/// The server's task holds the stream, so that it dies with its node.
async fn served(two: &Two) -> Stream {
    let (client, mut server) = two.connect().await;
    two.server.spawn(async move {
        server.write_all(b"last words").await.unwrap();
        std::future::pending::<()>().await;
    });
    client
}

#[test]
fn a_killed_process_closes_its_connections_behind_its_last_words() {
    simulate(5, || async {
        let two = Two::start().await;
        let mut client = served(&two).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        Handle::current().kill(two.server.id());
        let mut heard = Vec::new();
        tokio::time::timeout(PATIENCE, client.read_to_end(&mut heard)).await.unwrap().unwrap();
        assert_eq!(heard, b"last words");
        let attempt = two.client.spawn(net::connect(addr(2), PATIENCE)).await.unwrap();
        assert_eq!(attempt.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    });
}

#[test]
fn a_machine_without_power_says_nothing_and_resets_when_it_is_back() {
    simulate(6, || async {
        let two = Two::start().await;
        let server_id = two.server.id();
        let mut client = served(&two).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        partition::power_off(server_id);
        Handle::current().kill(server_id);
        client.read_exact(&mut [0; 10]).await.unwrap();
        tokio::time::timeout(PATIENCE, client.read(&mut [0])).await.expect_err("silence");
        client.write_all(b"anybody there?").await.unwrap();
        let attempt = two.client.spawn(net::connect(addr(2), PATIENCE)).await.unwrap();
        assert_eq!(attempt.unwrap_err().kind(), io::ErrorKind::TimedOut);

        partition::power_on(server_id);
        let end = tokio::time::timeout(2 * PATIENCE, client.read(&mut [0])).await.unwrap();
        assert_eq!(end.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        let error = client.write_all(b"x").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    });
}

/// One seed twice gives one trace: madsim compares every random draw and its time.
#[test]
fn a_seed_repeats_itself() {
    Runtime::check_determinism(42, madsim::Config::default(), || async {
        let two = Two::start().await;
        madsim::buggify::enable();
        conformance::net::suite(&|| two.connect(), addr(9), 42).await;
        madsim::buggify::disable();
    });
}
