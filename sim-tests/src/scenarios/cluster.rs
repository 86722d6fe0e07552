//! Random clients of a cluster of three, one of whose machines at a time is out.
//!
//! The seed draws the clients, what they do at which node, and what happens to which machine for how
//! long. Three copies and a quorum of two promise that nothing acknowledged is lost and nothing stale
//! is read, whichever machine is out. Then all faults end: within a bounded time every node must hold
//! the same view with everyone in it; and each must answer for everything that was ever acknowledged
//! at any of them. In every other run the power of the whole cluster goes first.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use atoll_core::view::{Epoch, NodeId, View};
use atoll_node::io::disk::sim::{Faults, Loss, SimDisk};

use super::Verdict;
use crate::{
    cluster::{Belonging, Machine},
    draw::Draw,
    events,
    history::Book,
    nemesis::{Nemesis, READY},
    oracle,
    swarm::Swarm,
    trace,
    workload::{user::User, walk::Walk},
};

/// Machines, and copies of every blob.
const NODES: u8 = 3;

/// How long after the last fault all nodes must hold one view in which nothing is open.
const SETTLE: Duration = Duration::from_secs(30);

/// How often views are looked at.
const LOOK: Duration = Duration::from_millis(20);

/// Longest absence of a machine, in milliseconds: about three times what its session outlasts.
const AWAY_MILLIS: u64 = 9_000;

/// The machines, and what everybody did.
struct Cluster {
    machines: Vec<Machine>,
    book: Book,
    swarm: Arc<Swarm>,
    seed: u64,
    draw: Draw,
}

/// Runs a seed.
pub async fn run(seed: u64) -> Verdict {
    let mut draw = Draw::new(seed, 1);
    let swarm = Arc::new(Swarm::draw_cluster(&mut draw));
    trace::note("swarm", format_args!("{swarm:?}"));
    let book = Book::default();
    let mut cluster = Cluster { machines: Vec::new(), book: book.clone(), swarm, seed, draw };
    let mut violations = Vec::new();
    match cluster.found().await {
        Ok(()) => {
            let watching = tokio::spawn(watch_epochs(cluster.machines.clone(), book.clone()));
            violations.extend(cluster.under_faults().await.err());
            violations.extend(cluster.afterwards().await);
            watching.abort();
        }
        Err(why) => violations.push(why),
    }
    violations.append(&mut book.lock().violations);
    let counts = book.lock().counts.clone();
    Verdict { violations, counts }
}

impl Cluster {
    /// One founds, the others join it, all at once or one after the other.
    async fn found(&mut self) -> Result<(), String> {
        let groups = self.draw.within(1..4) as u16;
        let timeout = Duration::from_millis(self.draw.within(2..7) * 500);
        let founder = Belonging::founder(groups, timeout, self.seed);
        let together = self.draw.chance(0.5);
        for number in 1..=NODES {
            let device = SimDisk::new(self.seed ^ u64::from(number) << 48, Faults::default());
            trace::watch_also(&device);
            let belonging = if number == 1 { founder.clone() } else { founder.joining(1) };
            let tuning = &self.swarm.tuning;
            let machine = Machine::member(number, device, tuning, &belonging, self.seed);
            self.machines.push(machine.clone());
            if number == 1 || !together {
                machine.wait_ready(READY).await?;
            }
        }
        for machine in &self.machines {
            machine.wait_ready(READY).await?;
        }
        self.settle().await
    }

    /// Waits until all nodes hold one view, with everyone in it and nothing open.
    async fn settle(&self) -> Result<(), String> {
        let begun = tokio::time::Instant::now();
        while !is_settled(&self.views()) {
            if begun.elapsed() > SETTLE {
                let told: Vec<String> =
                    self.machines.iter().map(|it| told(it.name(), it.view())).collect();
                return Err(format!("not settled after {SETTLE:?}: {}", told.join("; ")));
            }
            tokio::time::sleep(LOOK).await;
        }
        trace::note("cluster", format_args!("settled after {:?}", begun.elapsed()));
        Ok(())
    }

    fn views(&self) -> Vec<Option<Arc<View>>> {
        self.machines.iter().map(Machine::view).collect()
    }

    /// The safety phase.
    async fn under_faults(&mut self) -> Result<(), String> {
        for repo in &self.swarm.repos {
            self.swarm.tags.iter().for_each(|tag| self.book.lock().declare_tag(repo, tag));
        }
        if self.swarm.short_io {
            madsim::buggify::enable();
        }
        let targets: Vec<_> = self.machines.iter().map(|machine| machine.http).collect();
        let users: Vec<_> = (0..self.swarm.users)
            .map(|number| {
                let draw = Draw::new(self.seed, 1_000 + number);
                let name = format!("user{number}");
                let user = User::roaming(name, &targets, self.book.clone(), draw);
                let draw = Draw::new(self.seed, 100 + number);
                tokio::spawn(Walk::new(user, draw, self.swarm.clone(), number).walk())
            })
            .collect();
        let struck = self.strike().await;
        for user in users {
            user.await.map_err(|error| format!("a user ended early: {error}"))?;
        }
        madsim::buggify::disable();
        struck?;
        expect_no_errors(&self.book)
    }

    /// One fault after another, each at a machine that is drawn anew.
    async fn strike(&mut self) -> Result<(), String> {
        if self.swarm.faults.is_empty() {
            return Ok(());
        }
        for strike in 0..self.swarm.strikes {
            tokio::time::sleep(self.draw.millis(50..5_000)).await;
            expect_no_errors(&self.book)?;
            let mut others = self.machines.clone();
            let machine = others.remove(self.draw.within(0..u64::from(NODES)) as usize);
            trace::note("nemesis", format_args!("strikes {}", machine.name()));
            let mut nemesis = Nemesis {
                machine,
                others,
                away_millis: AWAY_MILLIS,
                book: self.book.clone(),
                draw: Draw::new(self.seed, 200 + strike),
            };
            let fault = *self.draw.pick(&self.swarm.faults);
            nemesis.strike(fault).await?;
            if fault.explains_errors() {
                events::take_errors();
            }
        }
        Ok(())
    }

    /// Liveness and the durability scan, at every node.
    async fn afterwards(&mut self) -> Vec<String> {
        if self.draw.chance(0.5) {
            self.lose_all_power().await;
        }
        for machine in &self.machines {
            if let Err(why) = machine.wait_ready(READY).await {
                return vec![why];
            }
        }
        let settled = self.settle().await;
        let book = &self.book;
        let user = |machine: &Machine| {
            User::new(format!("oracle at {}", machine.name()), machine.http, book.clone())
        };
        let mut users: Vec<User> = self.machines.iter().map(user).collect();
        let mut violations = oracle::judge_all(&mut users).await;
        violations.extend(settled.err());
        violations.extend(expect_no_errors(book).err());
        violations
    }

    /// What was acknowledged outlasts even this: it was durable on a quorum.
    async fn lose_all_power(&mut self) {
        let losses: Vec<Loss> = self.machines.iter().map(|_| *self.draw.pick(&Loss::ALL)).collect();
        trace::note("nemesis", format_args!("power cut everywhere: {losses:?}"));
        for (machine, loss) in self.machines.iter().zip(losses) {
            machine.power_cut(loss).await;
        }
        events::take_errors();
        self.machines.iter().for_each(Machine::restart);
    }
}

/// An ERROR says that someone must look. A peer that does not answer is none of them: Raft asks it
/// again, and a node that lost touch says 503.
fn expect_no_errors(book: &Book) -> Result<(), String> {
    let is_outage = |line: &String| line.contains(" openraft::") || line.contains(" status=503 ");
    let error = events::take_errors().into_iter().find(|line| !is_outage(line));
    match error {
        Some(line) if book.lock().damaged.is_empty() => {
            Err(format!("ERROR event that no fault explains: {line}"))
        }
        _ => Ok(()),
    }
}

/// A node never goes back to an older view, and two nodes never hold different views of one epoch.
async fn watch_epochs(machines: Vec<Machine>, book: Book) {
    let mut newest: BTreeMap<(String, u64), Epoch> = BTreeMap::new();
    let mut known: BTreeMap<Epoch, Arc<View>> = BTreeMap::new();
    loop {
        for machine in &machines {
            let Some(view) = machine.view() else { continue };
            let (name, epoch) = (machine.name(), view.epoch);
            // A node that starts knows what it had applied, which may be older than what it adopted.
            let life = (name.to_owned(), machine.lives());
            if let Some(before) = newest.insert(life, epoch)
                && before > epoch
            {
                book.lock().violation(format!("{name} went from epoch {before} to {epoch}"));
            }
            // Before it knows any view a node makes one up in which nobody acts.
            if epoch == Epoch(0) {
                continue;
            }
            let first = known.entry(epoch).or_insert_with(|| view.clone());
            if **first != *view {
                book.lock().violation(format!("{name} has another view of epoch {epoch}"));
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn is_settled(views: &[Option<Arc<View>>]) -> bool {
    let all: Vec<NodeId> = (1..=u16::from(NODES)).map(NodeId).collect();
    let Some(Some(first)) = views.first() else { return false };
    let is_whole = first.open.is_empty() && first.ring_up().into_iter().eq(all);
    is_whole && views.iter().all(|view| view.as_deref() == Some(first))
}

fn told(name: &str, view: Option<Arc<View>>) -> String {
    let Some(view) = view else { return format!("{name} has no view") };
    let up: Vec<u16> = view.ring_up().iter().map(|node| node.0).collect();
    format!("{name}: epoch {}, up {up:?}, {} open", view.epoch, view.open.len())
}
