//! Random clients of a cluster under random faults, several at a time.
//!
//! The seed draws the machines, what their nodes are told, the clients, and what happens to whom. Then
//! all faults end: within a bounded time every node must hold the same view with everyone in it; each must
//! answer for everything that was ever acknowledged at any of them; and the disks must hold what they
//! should. In some runs the power of the whole cluster goes first.

pub mod size;

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use atoll_core::Digest;
use atoll_node::io::{disk::sim::Loss, net::partition};
use tokio::time::Instant;

use self::size::Size;
use super::Verdict;
use crate::{
    cluster::{Machine, fleet::Fleet},
    draw::Draw,
    events,
    history::Book,
    invariants::{bounds, copies::Copies, errors, tasks, views},
    nemesis::{READY, atlas::Atlas, squad::Squad},
    oracle, trace,
    workload::{user::User, walk::Walk},
};

/// How long after the last fault all nodes must hold one view in which nothing is open. Ten seconds for
/// the view (an election, a session that had to end first), and twenty for the copies that a node must
/// have fetched before its configuration closes.
const SETTLE: Duration = Duration::from_secs(30);

/// How long it may take to find a copy that came back with a node that does not own it any more: a quarter
/// of the grace that such copies have, and a delivery.
const FOUND: Duration = Duration::from_secs(10);

/// How long copies may take to be where they belong: some rounds of repair, and of the grace that
/// copies of others have; and of collections, where blobs must be old enough first.
const HEAL: Duration = Duration::from_secs(90);

/// How long nodes may take to come to rest when copies are in order: what is owed of a blob that was
/// collected is dropped after a minute, and tried at most a minute apart.
const REST: Duration = Duration::from_secs(130);

/// The machines, and what everybody did.
struct Cluster {
    squad: Squad,
    size: Size,
    seed: u64,
    draw: Draw,
}

/// Runs a seed.
pub async fn run(seed: u64) -> Verdict {
    let mut draw = Draw::new(seed, 1);
    let size = Size::draw(&mut draw);
    trace::note("swarm", &size);
    let book = Book::default();
    book.lock().collects = size.swarm.collects;
    let fleet = Fleet::new(size.rates, size.swarm.tuning, seed);
    let members_min = usize::from(size.rates.replicas).max(3);
    let weak = draw.within(1..u64::from(size.nodes) + 1) as u8;
    let atlas = Atlas::new(size.out_max, members_min..=7, weak);
    let squad = Squad {
        fleet: fleet.clone(),
        book: book.clone(),
        atlas: Arc::new(Mutex::new(atlas)),
        faults: size.swarm.faults.clone(),
        pause_millis: size.pause_millis,
        away_millis: size.away_millis,
    };
    let mut cluster = Cluster { squad, size, seed, draw };
    let mut violations = Vec::new();
    match cluster.found().await {
        Ok(()) => {
            let watching = tokio::spawn(views::watch(fleet.clone(), book.clone()));
            let glancing = tokio::spawn(bounds::watch(fleet, book.clone()));
            violations.extend(cluster.under_faults().await.err());
            glancing.abort();
            violations.extend(cluster.afterwards().await);
            watching.abort();
            violations.extend(bounds::expect_little_memory().err());
        }
        Err(why) => violations.push(why),
    }
    violations.append(&mut book.lock().violations);
    let counts = book.lock().counts.clone();
    Verdict { violations, counts }
}

impl Cluster {
    fn fleet(&self) -> &Fleet {
        &self.squad.fleet
    }

    fn book(&self) -> &Book {
        &self.squad.book
    }

    /// One founds, the others join it, all at once or one after the other.
    async fn found(&mut self) -> Result<(), String> {
        let founder = self.fleet().enlist(None);
        founder.wait_ready(READY).await?;
        for _ in 1..self.size.nodes {
            let machine = self.fleet().enlist(Some(&founder));
            if !self.size.together {
                machine.wait_ready(READY).await?;
            }
        }
        self.ready_and_settled().await
    }

    async fn ready_and_settled(&self) -> Result<(), String> {
        for machine in self.fleet().machines() {
            machine.wait_ready(READY).await?;
        }
        let taken = self.fleet().settle(SETTLE).await?;
        trace::note("cluster", format_args!("settled after {taken:?}"));
        self.expect_no_errors()
    }

    fn expect_no_errors(&self) -> Result<(), String> {
        let atlas = self.squad.atlas();
        errors::expect_none(|line| atlas.excuses(line))
    }

    /// The safety phase.
    async fn under_faults(&mut self) -> Result<(), String> {
        let swarm = Arc::new(self.size.swarm.clone());
        for repo in &swarm.repos {
            swarm.tags.iter().for_each(|tag| self.book().lock().declare_tag(repo, tag));
        }
        if swarm.short_io {
            madsim::buggify::enable();
        }
        let end = Instant::now() + Duration::from_secs(self.size.seconds);
        let user = |number| {
            let draw = Draw::new(self.seed, 1_000 + number);
            let name = format!("user{number}");
            let user = User::roaming(name, self.fleet().clone(), self.book().clone(), draw);
            let walk = Walk::new(user, Draw::new(self.seed, 100 + number), swarm.clone(), number);
            tokio::spawn(walk.walk_until(end))
        };
        let users: Vec<_> = (0..swarm.users).map(user).collect();
        let striker = |number| {
            let draw = Draw::new(self.seed, 200 + number);
            tokio::spawn(self.squad.clone().strike_until(end, draw))
        };
        let strikers: Vec<_> = (0..self.size.strikers).map(striker).collect();
        let listening = tokio::spawn(watch_errors(self.squad.clone()));
        let mut outcome = Ok(());
        for striker in strikers {
            let struck = striker.await.map_err(|error| format!("a striker ended early: {error}"));
            outcome = outcome.and(struck.flatten());
            outcome = outcome.and(self.expect_no_errors());
        }
        for user in users {
            user.await.map_err(|error| format!("a user ended early: {error}"))?;
        }
        listening.abort();
        madsim::buggify::disable();
        partition::heal_all();
        outcome
    }

    /// Liveness and the durability scan, at every node.
    async fn afterwards(&mut self) -> Vec<String> {
        trace::note("cluster", "all faults are over");
        if self.size.blackout {
            self.lose_all_power().await;
        }
        let settled = self.ready_and_settled().await;
        let mut violations = oracle::judge_fleet(self.fleet(), self.book(), FOUND).await;
        violations.extend(settled.err());
        let present = std::mem::take(&mut self.book().lock().present);
        violations.extend(self.heal(present).await.err());
        let machines = self.fleet().machines();
        violations.extend(bounds::wait(&machines, REST, self.book()).await.err());
        match tasks::expect_few(&machines) {
            Ok(most) => trace::note("cluster", format_args!("at most {most} tasks")),
            Err(why) => violations.push(why),
        }
        violations.extend(self.expect_no_errors().err());
        violations
    }

    /// The disks hold what they should.
    async fn heal(&self, mut present: BTreeSet<Digest>) -> Result<(), String> {
        let collects = self.size.swarm.collects;
        let needed = collects.then(|| self.book().lock().needed(&present));
        if let Some(needed) = &needed {
            // The rest may be collected while this waits.
            present.retain(|digest| needed.contains(digest));
        }
        let (fleet, book) = (self.fleet(), self.book());
        let is_scrubbed = self.size.rates.scrub < HEAL;
        let copies = Copies { fleet, book, is_scrubbed, present, needed };
        let taken = copies.wait(HEAL).await?;
        trace::note("cluster", format_args!("copies are in order after {taken:?}"));
        Ok(())
    }

    /// What was acknowledged outlasts even this: it was durable on a quorum.
    async fn lose_all_power(&mut self) {
        let machines = self.fleet().machines();
        let losses: Vec<Loss> = machines.iter().map(|_| *self.draw.pick(&Loss::ALL)).collect();
        trace::note("nemesis", format_args!("power cut everywhere: {losses:?}"));
        for (machine, loss) in machines.iter().zip(losses) {
            machine.power_cut(loss).await;
        }
        events::take_errors();
        machines.iter().for_each(Machine::restart);
    }
}

/// Judges every ERROR soon, while it is known what it may come from.
async fn watch_errors(squad: Squad) {
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let outcome = {
            let atlas = squad.atlas();
            errors::expect_none(|line| atlas.excuses(line))
        };
        if let Err(why) = outcome {
            squad.book.lock().violation(why);
        }
    }
}
