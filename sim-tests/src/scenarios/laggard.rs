//! A node that hears of everything late, while the ring changes and users push at it.
//!
//! Its lease is valid: the others hear it in time, and it hears them within the time-out. But for a while
//! it believes in owners who are none any more. Whoever it tells that a blob is durable must find that
//! blob everywhere afterwards, also when those who own it now were served before the blob came. Nothing
//! here repairs what was missed: repair and the grace of disowned copies are longer than a run.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use atoll_node::io::net::partition;

use super::{Verdict, crash::TUNING, outage::RATES, story::REPO};
use crate::{
    cluster::{Machine, Rates, fleet::Fleet},
    draw::Draw,
    events,
    history::Book,
    nemesis::{READY, operator::Operator},
    oracle, trace,
    workload::{content, push::Upload, user::User},
};

/// How long all nodes may take to agree.
const SETTLE: Duration = Duration::from_secs(60);

/// Longer than a run.
const NEVER: Duration = Duration::from_secs(3_600);

/// Runs a seed.
pub async fn run(seed: u64) -> Verdict {
    let mut draw = Draw::new(seed, 1);
    let replicas = if draw.chance(0.7) { 2 } else { 3 };
    let (nodes, rounds) = (draw.within(3..6), draw.within(2..4));
    let users = draw.within(2..6);
    trace::note(
        "swarm",
        format_args!("{nodes} nodes, {replicas} copies, {rounds} rounds, {users} users"),
    );
    let rates = Rates {
        replicas,
        session_timeout: Duration::from_secs(3),
        repair: NEVER,
        disowned_grace: NEVER,
        gc: None,
        ..RATES
    };
    let (book, fleet) = (Book::default(), Fleet::new(rates, TUNING, seed));
    let operator = Operator { fleet: fleet.clone(), book: book.clone() };
    let mut laggard = Laggard { fleet, book: book.clone(), operator, draw, users };
    let mut violations = Vec::new();
    match laggard.found(nodes).await {
        Ok(()) => {
            for _ in 0..rounds {
                violations.extend(laggard.round().await.err());
            }
            violations.extend(laggard.afterwards().await);
        }
        Err(why) => violations.push(why),
    }
    violations.append(&mut book.lock().violations);
    let counts = book.lock().counts.clone();
    Verdict { violations, counts }
}

struct Laggard {
    fleet: Fleet,
    book: Book,
    operator: Operator,
    draw: Draw,
    users: u64,
}

impl Laggard {
    async fn found(&mut self, nodes: u64) -> Result<(), String> {
        let founder = self.fleet.enlist(None);
        founder.wait_ready(READY).await?;
        for _ in 1..nodes {
            self.fleet.enlist(Some(&founder)).wait_ready(READY).await?;
        }
        self.fleet.settle(SETTLE).await.map(drop)
    }

    /// One hears late; users push at it; machines join or one leaves.
    async fn round(&mut self) -> Result<(), String> {
        let machines = self.fleet.machines();
        let late = self.draw.pick(&machines).clone();
        let delay = self.draw.millis(50..700);
        trace::note("nemesis", format_args!("{} hears {delay:?} late", late.name()));
        for other in machines.iter().filter(|other| other.number != late.number) {
            partition::slow(other.id(), late.id(), delay);
        }
        let over = Arc::new(AtomicBool::new(false));
        let pushing: Vec<_> = (0..self.users)
            .map(|number| {
                let user = User::new(format!("pusher{number}"), late.http, self.book.clone());
                let draw = Draw::new(self.draw.within(0..u64::MAX), number);
                tokio::spawn(push_until(over.clone(), user, draw))
            })
            .collect();
        tokio::time::sleep(self.draw.millis(0..500)).await;
        self.change(&machines, &late).await;
        let settled = self.fleet.settle(SETTLE).await;
        over.store(true, Relaxed);
        for pusher in pushing {
            pusher.await.map_err(|error| format!("a push ended early: {error}"))?;
        }
        partition::quicken_all();
        // Who hears late may call for help.
        events::take_errors();
        settled.map(drop)
    }

    /// The ring changes.
    async fn change(&mut self, machines: &[Machine], late: &Machine) {
        let is_other = |one: &&Machine| one.number != late.number;
        let others: Vec<Machine> = machines.iter().filter(is_other).cloned().collect();
        let leaves = machines.len() > 3 && self.draw.chance(0.4);
        if leaves {
            return self.operator.drain(self.draw.pick(&others)).await;
        }
        let at = self.draw.pick(&others);
        // Two who come together change more owners at once.
        match self.draw.chance(0.6) && machines.len() < 5 {
            true => {
                futures_util::future::join(self.operator.join(at), self.operator.join(at)).await;
            }
            false => drop(self.operator.join(at).await),
        }
    }

    async fn afterwards(&mut self) -> Vec<String> {
        let machines = self.fleet.machines();
        let user = |machine: &Machine| {
            let name = format!("oracle at {}", machine.name());
            User::new(name, machine.http, self.book.clone())
        };
        let mut users: Vec<User> = machines.iter().map(user).collect();
        oracle::judge_all(&mut users).await
    }
}

/// One small blob after the other.
async fn push_until(over: Arc<AtomicBool>, mut user: User, mut draw: Draw) {
    while !over.load(Relaxed) {
        let len = draw.within(1..3_000);
        let blob = content::blob(&mut draw, len);
        user.push_blob(REPO, &blob, Upload::PostPut).await;
        tokio::time::sleep(draw.millis(1..60)).await;
    }
}
