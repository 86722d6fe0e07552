//! A node that hears of everything late, while the ring changes and users push at it.
//!
//! Its lease is valid: the others hear it in time, and it hears them within the time-out. But for a while
//! it believes in owners who are none any more. Whoever it tells that a blob is durable must find that
//! blob everywhere afterwards, also when those who own it now were served before the blob came. Nothing
//! here repairs what was missed: repair and the grace of disowned copies are longer than a run.
//!
//! An owner that is late delays the change itself, for it has to be asked. So mostly it is a node that
//! has handed over what it had and goes on answering users.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use atoll_node::io::net::partition;
use tokio::time::Instant;

use super::{Verdict, crash::TUNING, outage::RATES, story::REPO};
use crate::{
    cluster::{Machine, Rates, fleet::Fleet},
    draw::Draw,
    events,
    history::Book,
    nemesis::operator::Operator,
    oracle, trace,
    workload::{content, push::Upload, user::User},
};

/// How long all nodes may take to agree.
const SETTLE: Duration = Duration::from_secs(60);

/// How often views are looked at.
const LOOK: Duration = Duration::from_millis(20);

/// Milliseconds by which it hears late. A heartbeat whose answer takes longer than 800 ms counts as lost,
/// and without any the session ends.
const DELAY: std::ops::Range<u64> = 50..700;

/// Most machines.
const MEMBERS_MAX: usize = 8;

/// Longer than a run.
const NEVER: Duration = Duration::from_secs(3_600);

/// Runs a seed.
pub async fn run(seed: u64) -> Verdict {
    let mut draw = Draw::new(seed, 1);
    let replicas = if draw.chance(0.7) { 2 } else { 3 };
    let nodes = draw.within(4..6);
    let users = draw.within(5..20);
    let owns = draw.chance(0.25);
    trace::note(
        "swarm",
        format_args!("{nodes} nodes, {replicas} copies, {users} users, the late one owns: {owns}"),
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
    let mut violations =
        laggard.fleet.found(nodes, SETTLE).await.err().into_iter().collect::<Vec<_>>();
    if violations.is_empty() {
        violations.extend(laggard.lag(owns).await.err());
        violations.extend(oracle::judge_fleet(&laggard.fleet, &book, Duration::ZERO).await);
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
    /// One hears late; users push at it; machines join, or one leaves.
    async fn lag(&mut self, owns: bool) -> Result<(), String> {
        let machines = self.fleet.machines();
        // Not the founder, mostly: who leads agrees on views, and so hears of them first.
        let rank_and_file = if self.draw.chance(0.8) { &machines[1..] } else { &machines[..] };
        let late = self.draw.pick(rank_and_file).clone();
        let owns = owns || !self.operator.hand_over(&late).await;
        let delay = self.draw.millis(DELAY);
        trace::note("nemesis", format_args!("{} hears {delay:?} late, owns: {owns}", late.name()));
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
        tokio::time::sleep(self.draw.millis(1_000..3_000)).await;
        self.change(&machines, &late).await;
        let agreed = self.agree().await;
        over.store(true, Relaxed);
        for pusher in pushing {
            pusher.await.map_err(|error| format!("a push ended early: {error}"))?;
        }
        partition::quicken_all();
        if !owns {
            self.operator.remove(&late).await;
        }
        // Who hears late may call for help.
        events::take_errors();
        agreed?;
        self.fleet.settle(SETTLE).await.map(drop)
    }

    /// The ring changes, as often as there is room.
    async fn change(&mut self, machines: &[Machine], late: &Machine) {
        let is_other = |one: &&Machine| one.number != late.number;
        let others: Vec<Machine> = machines.iter().filter(is_other).cloned().collect();
        let at = self.draw.pick(&others);
        let room = MEMBERS_MAX.saturating_sub(machines.len()).max(1) as u64;
        let newcomers = self.draw.within(1..room.min(3) + 1);
        let joins = (0..newcomers).map(|_| self.operator.join(at));
        futures_util::future::join_all(joins).await;
        if others.len() > 3 && self.draw.chance(0.3) {
            self.operator.drain(self.draw.pick(&others)).await;
        }
    }

    /// Waits until all nodes hold one view in which nothing is open.
    async fn agree(&self) -> Result<(), String> {
        let begun = Instant::now();
        while begun.elapsed() < SETTLE {
            let machines = self.fleet.machines();
            let views: Vec<_> = machines.iter().filter_map(Machine::view).collect();
            let same = views.windows(2).all(|two| two[0] == two[1]);
            let joined = views.first().is_some_and(|view| {
                view.open.is_empty() && view.members.values().all(|member| member.is_up())
            });
            if same && joined && views.len() == machines.len() {
                return Ok(());
            }
            tokio::time::sleep(LOOK).await;
        }
        Err(format!("the nodes do not agree after {SETTLE:?}"))
    }
}

/// One small blob after the other.
async fn push_until(over: Arc<AtomicBool>, mut user: User, mut draw: Draw) {
    // Not in step with the others, who wait for the same late answers.
    tokio::time::sleep(draw.millis(0..2_000)).await;
    while !over.load(Relaxed) {
        let len = draw.within(1..3_000);
        let blob = content::blob(&mut draw, len);
        user.push_blob(REPO, &blob, Upload::PostPut).await;
        tokio::time::sleep(draw.millis(1..300)).await;
    }
}
