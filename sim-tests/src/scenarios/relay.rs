//! Long pulls through nodes that have no copy, while those that have one die in the middle.
//!
//! The swarm's blobs fit into one message between nodes, so that a minute holds many of them; here they
//! take several. The network is slow and loses packets, an owner is killed or loses a bit at rest, and
//! whoever pulls meanwhile, wherever, gets the right bytes or none. Then everyone is back.

use std::{path::PathBuf, time::Duration};

use super::{Verdict, crash::TUNING, outage::RATES, story::REPO};
use crate::{
    cluster::{Machine, Rates, fleet::Fleet},
    draw::Draw,
    events,
    history::Book,
    nemesis::READY,
    oracle, trace,
    workload::{
        content::{self, Blob},
        push::Upload,
        user::User,
    },
};

/// How long all nodes may take to agree.
const SETTLE: Duration = Duration::from_secs(30);

/// Lengths of blobs: two and three messages.
const BLOB_BYTES: std::ops::Range<u64> = 1_100_000..2_600_000;

/// Runs a seed.
pub async fn run(seed: u64) -> Verdict {
    let mut draw = Draw::new(seed, 1);
    let (nodes, blobs) = (draw.within(3..6), draw.within(1..3));
    let rounds = draw.within(2..5);
    trace::note("swarm", format_args!("{nodes} nodes, {blobs} blobs, {rounds} rounds"));
    let rates = Rates { replicas: 2, gc: None, ..RATES };
    let book = Book::default();
    let mut relay =
        Relay { fleet: Fleet::new(rates, TUNING, seed), book: book.clone(), draw, may_rot: true };
    let mut violations = Vec::new();
    match relay.found(nodes, blobs).await {
        Ok(blobs) => {
            for _ in 0..rounds {
                violations.extend(relay.round(&blobs).await.err());
            }
            violations.extend(oracle::judge_fleet(&relay.fleet, &book, Duration::ZERO).await);
        }
        Err(why) => violations.push(why),
    }
    violations.append(&mut book.lock().violations);
    let counts = book.lock().counts.clone();
    Verdict { violations, counts }
}

struct Relay {
    fleet: Fleet,
    book: Book,
    draw: Draw,
    may_rot: bool,
}

impl Relay {
    async fn found(&mut self, nodes: u64, blobs: u64) -> Result<Vec<Blob>, String> {
        self.fleet.found(nodes, SETTLE).await?;
        let mut user = User::new("pusher", self.fleet.targets()[0], self.book.clone());
        let mut pushed = Vec::new();
        for _ in 0..blobs {
            let len = self.draw.within(BLOB_BYTES);
            let blob = content::blob(&mut self.draw, len);
            user.push_blob(REPO, &blob, Upload::PostPut).await;
            pushed.push(blob);
        }
        Ok(pushed)
    }

    /// Everybody pulls, and something happens to an owner.
    async fn round(&mut self, blobs: &[Blob]) -> Result<(), String> {
        let machines = self.fleet.machines();
        let victim = self.draw.pick(&machines).clone();
        slow_network(true);
        let mut pulls = Vec::new();
        for machine in machines.iter().filter(|machine| machine.number != victim.number) {
            let blob = self.draw.pick(blobs).clone();
            let len = blob.bytes.len() as u64;
            let start = self.draw.within(0..len - 1);
            let range = self.draw.chance(0.6).then(|| start..self.draw.within(start + 1..len));
            let name = format!("puller at {}", machine.name());
            let mut user = User::new(name, machine.http, self.book.clone());
            pulls.push(tokio::spawn(async move {
                user.pull_blob(REPO, &blob.digest, range).await;
            }));
        }
        // Of two copies one may rot, once.
        if self.may_rot && self.draw.chance(0.3) {
            self.may_rot = false;
            let blob = self.draw.pick(blobs).clone();
            self.rot(&machines, &blob);
        }
        tokio::time::sleep(self.draw.millis(10..900)).await;
        victim.kill().await;
        for pull in pulls {
            pull.await.map_err(|error| format!("a pull ended early: {error}"))?;
        }
        slow_network(false);
        victim.restart();
        victim.wait_ready(READY).await?;
        events::take_errors();
        self.fleet.settle(SETTLE).await.map(drop)
    }

    /// One bit of one copy, anywhere in it.
    fn rot(&mut self, machines: &[Machine], blob: &Blob) {
        let hex = blob.digest.hex();
        let path = PathBuf::from(format!("blobs/sha256/{}/{hex}/data", &hex[..2]));
        let offset = self.draw.within(0..blob.bytes.len() as u64);
        let rotten = machines.iter().find(|machine| machine.device.rot(&path, offset, 3).is_ok());
        if let Some(machine) = rotten {
            trace::note("nemesis", format_args!("byte {offset} rots at {}", machine.name()));
        }
    }
}

fn slow_network(is_slow: bool) {
    madsim::net::NetSim::current().update_config(|config| {
        let usual = madsim::Config::default().net;
        *config = usual;
        if is_slow {
            config.packet_loss_rate = 0.02;
            config.send_latency = Duration::from_millis(1)..Duration::from_millis(80);
        }
    });
}
