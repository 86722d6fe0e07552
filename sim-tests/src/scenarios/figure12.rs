//! The paper's Figure 12: five nodes under load, one is killed after 20 seconds and comes back after 30.
//!
//! Nobody who pulls from the others may notice: no pull fails, nothing that was acknowledged is lost.
//! The views say that the node is down when its session ends, and that it is back at once.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use atoll_core::Digest;
use tokio::time::Instant;

use super::Verdict;
use crate::{
    cluster::{Machine, Rates, Tuning, fleet::Fleet},
    draw::Draw,
    history::Book,
    invariants::{errors, sessions, views},
    linear::Guard,
    nemesis::{READY, operator::Operator},
    oracle, trace,
    workload::{
        aware::Aware,
        content::{self, Blob},
        push::Upload,
        user::{Answer, User},
    },
};

/// Machines.
const NODES: u8 = 5;
/// Users, each at a survivor.
const USERS: u64 = 4;
/// Users of the replica-aware client, which know every machine.
const AWARE: u64 = 2;
/// When the machine dies, when it is back, and when the run ends.
const KILL: Duration = Duration::from_secs(20);
const BACK: Duration = Duration::from_secs(30);
const END: Duration = Duration::from_secs(60);
/// How long views and copies may take at the beginning and at the end.
const SETTLE: Duration = Duration::from_secs(20);

/// What a user works with.
struct Load {
    user: User,
    draw: Draw,
    number: u64,
    /// What was acknowledged to this user.
    images: Vec<(String, Digest, Vec<Blob>)>,
}

/// Runs a seed.
pub async fn run(seed: u64) -> Verdict {
    let mut draw = Draw::new(seed, 1);
    let rates = Rates {
        replicas: 3,
        groups: *draw.pick(&[1, 1, 2, 3]),
        session_timeout: Duration::from_millis(draw.within(2..7) * 500),
        heartbeat: Duration::from_millis(500),
        down_out: Duration::from_secs(600),
        voter_out: Duration::from_secs(30),
        repair: Duration::from_secs(10),
        scrub: Duration::from_secs(86_400),
        disowned_grace: Duration::from_secs(5),
        gc: None,
        gc_min_age: Duration::from_secs(20),
        gc_batch: 100,
    };
    let tuning = Tuning {
        snapshot_interval: draw.within(10..500),
        batch_bytes: 64 << 10,
        object_bytes_max: *draw.pick(&[0, 64 << 10]),
    };
    trace::note("swarm", format_args!("{rates:?} {tuning:?}"));
    let (book, fleet) = (Book::default(), Fleet::new(rates, tuning, seed));
    let mut violations = Vec::new();
    if let Err(why) = story(&fleet, &book, rates, seed, &mut draw).await {
        violations.push(why);
    }
    violations.append(&mut book.lock().violations);
    let counts = book.lock().counts.clone();
    Verdict { violations, counts }
}

async fn story(
    fleet: &Fleet,
    book: &Book,
    rates: Rates,
    seed: u64,
    draw: &mut Draw,
) -> Result<(), String> {
    let founder = fleet.enlist(None);
    founder.wait_ready(READY).await?;
    for _ in 1..NODES {
        fleet.enlist(Some(&founder));
    }
    for machine in fleet.machines() {
        machine.wait_ready(READY).await?;
    }
    fleet.settle(SETTLE).await?;
    let watching = tokio::spawn(views::watch(fleet.clone(), book.clone()));
    let begun = Instant::now();
    let victim = draw.pick(&fleet.machines()).clone();
    let others = |it: &Machine| it.number != victim.number;
    let survivors: Vec<Machine> = fleet.machines().into_iter().filter(others).collect();
    let survivors = Arc::new(survivors);
    let users: Vec<_> = (0..USERS)
        .map(|number| {
            let at = &survivors[number as usize % survivors.len()];
            let user = User::new(format!("user{number}@{}", at.name()), at.http, book.clone());
            let draw = Draw::new(seed, 100 + number);
            tokio::spawn(Load { user, draw, number, images: Vec::new() }.run(begun + END))
        })
        .collect();
    let seeds: Vec<SocketAddr> = fleet.machines().iter().map(|machine| machine.http).collect();
    let mut aware = Vec::new();
    for number in 0..AWARE {
        let draw = Draw::new(seed, 200 + number);
        let user = Aware::new(number, &seeds, draw, book.clone())?;
        aware.push(tokio::spawn(user.run(begun + END)));
    }
    tokio::time::sleep(KILL).await;
    let operator = Operator { fleet: fleet.clone(), book: book.clone() };
    let leader = operator.leader(&survivors[0]).await;
    let was_leader = leader.is_some_and(|leader| leader.number == victim.number);
    trace::note("nemesis", format_args!("kill {}, leader: {was_leader}", victim.name()));
    victim.kill().await;
    let death = sessions::watch_death(fleet, &victim, rates.session_timeout, was_leader);
    let taken = death.await?;
    trace::note("nemesis", format_args!("down everywhere after {taken:?}"));
    tokio::time::sleep((begun + BACK).saturating_duration_since(Instant::now())).await;
    victim.restart();
    victim.wait_ready(READY).await?;
    let taken = sessions::watch_return(fleet, &victim).await?;
    trace::note("nemesis", format_args!("back everywhere after {taken:?}"));
    for user in users.into_iter().chain(aware) {
        user.await.map_err(|error| format!("a user ended early: {error}"))?;
    }
    fleet.settle(SETTLE).await?;
    errors::expect_none(|_| false)?;
    watching.abort();
    judge(fleet, book).await
}

async fn judge(fleet: &Fleet, book: &Book) -> Result<(), String> {
    let violations = oracle::judge_fleet(fleet, book, Duration::ZERO).await;
    book.lock().violations.extend(violations);
    errors::expect_none(|_| false)
}

impl Load {
    /// Pushes and pulls until `end`.
    async fn run(mut self, end: Instant) {
        for step in 0.. {
            if Instant::now() >= end {
                return;
            }
            let pause = self.draw.millis(50..1_500);
            tokio::time::sleep(pause).await;
            if self.images.is_empty() || self.draw.chance(0.2) {
                self.push(step).await;
            } else {
                self.pull().await;
            }
        }
    }

    async fn push(&mut self, step: u64) {
        let repo = format!("repo{}", self.draw.within(0..3));
        let len = self.draw.within(1..60_000);
        let blob = content::blob(&mut self.draw, len);
        let tag = format!("t{}-{step}", self.number);
        let image = content::manifest(std::slice::from_ref(&blob), &tag, None);
        self.user.book.lock().declare_tag(&repo, &tag);
        let pushed = self.user.push_blob(&repo, &blob, Upload::PostPut).await == Answer::Done
            && self.user.push_manifest(&repo, &image, &[&tag], Guard::Any).await == Answer::Done;
        if pushed {
            self.images.push((format!("{repo}:{tag}"), image.digest, vec![blob]));
        }
        let outcome = if pushed { "images pushed" } else { "pushes failed" };
        self.user.book.lock().count(outcome);
    }

    /// A whole image, as docker does it: everything must be had at the first attempt.
    async fn pull(&mut self) {
        let (name, digest, blobs) = self.draw.pick(&self.images).clone();
        let Some((repo, tag)) = name.split_once(':') else { return };
        let begun = Instant::now();
        let (answer, found) = self.user.pull_tag(repo, tag).await;
        let mut failed = answer != Answer::Done || found != Some(digest);
        for blob in &blobs {
            failed |= self.user.pull_blob(repo, &blob.digest, None).await != Answer::Done;
        }
        let mut book = self.user.book.lock();
        book.count("images pulled");
        if failed {
            book.violation(format!("the pull of {name} failed after {:?}", begun.elapsed()));
        }
    }
}
