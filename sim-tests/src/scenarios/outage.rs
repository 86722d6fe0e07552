//! Crash enumeration in a cluster: one machine loses its power at one of its disk operations, while
//! the others go on.
//!
//! Cases are numbered as those of [`super::crash`]. There the crashed disk is copied and cut in every
//! way; here the others have moved on meanwhile and cannot be copied, so one kind of loss is drawn from
//! the seed, and neighbouring cases draw others. The machine comes back after a while, perhaps after its
//! session has ended; then all nodes must agree, and each answers for everything.

use std::time::Duration;

use atoll_node::io::disk::sim::Loss;

use super::{
    Verdict,
    crash::{Case, STORY_ENDED, TUNING, UNCUT},
    story::REPO,
};
use crate::{
    cluster::{Machine, Rates, fleet::Fleet},
    draw::Draw,
    events,
    history::Book,
    linear::Guard,
    nemesis::READY,
    oracle, trace,
    workload::{content, push::Upload, user::User},
};

/// What the cluster is told. Everything that waits in a real one for minutes happens within seconds.
pub const RATES: Rates = Rates {
    replicas: 2,
    groups: 1,
    session_timeout: Duration::from_secs(2),
    heartbeat: Duration::from_millis(500),
    down_out: Duration::from_secs(600),
    voter_out: Duration::from_secs(600),
    repair: Duration::from_secs(5),
    scrub: Duration::from_secs(600),
    disowned_grace: Duration::from_secs(1),
    gc: Some(Duration::from_secs(1)),
    gc_min_age: Duration::from_secs(2),
    gc_batch: 10,
};

/// How long all nodes may take to agree.
const SETTLE: Duration = Duration::from_secs(30);

/// How long a collection is watched: some rounds, and the age that blobs must have.
const COLLECTION: Duration = Duration::from_secs(10);

/// Pushes behind the back of a voter that is away: the log does not reach back to it any more.
const BEHIND: u64 = 40;

/// What happens when the power goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outage {
    /// The machine is joining the cluster.
    Join,
    /// Blobs and manifests are pushed at another node.
    Push,
    /// What nobody needs any more is collected, and pushed anew.
    Collect,
    /// The machine was away and is sent the whole state.
    Snapshot,
}

impl Outage {
    /// All of them.
    pub const ALL: [Outage; 4] = [Outage::Join, Outage::Push, Outage::Collect, Outage::Snapshot];

    /// What it is called.
    pub const fn name(self) -> &'static str {
        match self {
            Outage::Join => "cluster-join",
            Outage::Push => "cluster-push",
            Outage::Collect => "cluster-collect",
            Outage::Snapshot => "cluster-snapshot",
        }
    }

    /// What it does, in a line.
    pub const fn about(self) -> &'static str {
        match self {
            Outage::Join => "power cut of a machine that joins a cluster of two",
            Outage::Push => "power cut of one of three machines while another takes a push",
            Outage::Collect => "power cut of one of three machines while blobs are collected",
            Outage::Snapshot => "power cut of a machine that is sent the whole metadata",
        }
    }
}

/// Runs the case that `seed` names.
pub async fn run(outage: Outage, seed: u64) -> Verdict {
    let case = Case::new(seed);
    let book = Book::default();
    book.lock().collects = true;
    let fleet = Fleet::new(RATES, TUNING, case.variant);
    let draw = Draw::new(case.variant, 1);
    let mut play = Play { outage, case, fleet, book: book.clone(), draw };
    let mut verdict = Verdict::default();
    match play.until_the_crash().await {
        Ok((victim, operations)) => {
            verdict.counts.insert("operations".to_owned(), operations);
            if operations <= play.case.operation && !play.case.is(UNCUT) {
                verdict.violations.push(format!("{STORY_ENDED} {operations} operations"));
            }
            verdict.violations.extend(play.afterwards(&victim, seed).await);
        }
        Err(why) => verdict.violations.push(why),
    }
    verdict.violations.append(&mut book.lock().violations);
    verdict.counts.extend(book.lock().counts.clone());
    verdict
}

struct Play {
    outage: Outage,
    case: Case,
    fleet: Fleet,
    book: Book,
    draw: Draw,
}

impl Play {
    /// Answers which machine was cut, and how many operations its disk did in the story.
    async fn until_the_crash(&mut self) -> Result<(Machine, u64), String> {
        for tag in ["v1", "v2", "v3"] {
            self.book.lock().declare_tag(REPO, tag);
        }
        let founder = self.fleet.enlist(None);
        founder.wait_ready(READY).await?;
        let second = self.fleet.enlist(Some(&founder));
        second.wait_ready(READY).await?;
        let mut user = User::new("user", founder.http, self.book.clone());
        if self.outage == Outage::Join {
            self.fleet.settle(SETTLE).await?;
            self.push(&mut user, "before", &["v1"]).await;
            let victim = self.fleet.enlist(Some(&founder));
            // It has not begun: its first operation is number 0.
            victim.device.crash_at(self.case.operation, self.case.point);
            let _ = victim.wait_ready(READY).await;
            self.push(&mut user, "meanwhile", &["v2"]).await;
            let operations = victim.device.operation_count();
            return Ok((victim, operations));
        }
        let victim = self.fleet.enlist(Some(&founder));
        victim.wait_ready(READY).await?;
        self.fleet.settle(SETTLE).await?;
        self.push(&mut user, "before", &["v1"]).await;
        if self.outage == Outage::Snapshot {
            victim.kill().await;
            for turn in 0..BEHIND {
                self.push(&mut user, &format!("behind {turn}"), &["v2"]).await;
            }
        }
        let base = victim.device.operation_count();
        victim.device.crash_at(base + self.case.operation, self.case.point);
        match self.outage {
            Outage::Join => {}
            Outage::Push => {
                for serial in ["one", "two", "three"] {
                    self.push(&mut user, serial, &["v1", "v2"]).await;
                }
            }
            Outage::Collect => self.collect(&mut user).await,
            Outage::Snapshot => {
                victim.restart();
                let _ = victim.wait_ready(READY).await;
                self.push(&mut user, "meanwhile", &["v3"]).await;
                tokio::time::sleep(RATES.session_timeout).await;
            }
        }
        let operations = victim.device.operation_count() - base;
        Ok((victim, operations))
    }

    /// An image of two blobs. What is not acknowledged is told to the book, and that is all.
    async fn push(&mut self, user: &mut User, serial: &str, tags: &[&str]) {
        let blobs = [content::blob(&mut self.draw, 90_000), content::blob(&mut self.draw, 700)];
        for (blob, how) in blobs.iter().zip([Upload::Chunked(40_000), Upload::PostPut]) {
            user.push_blob(REPO, blob, how).await;
        }
        let image = content::manifest(&blobs, serial, None);
        user.push_manifest(REPO, &image, tags, Guard::Any).await;
    }

    /// An image loses its manifest and is collected; it is pushed anew while that goes on.
    async fn collect(&mut self, user: &mut User) {
        let blob = content::blob(&mut self.draw, 5_000);
        let image = content::manifest(std::slice::from_ref(&blob), "short-lived", None);
        user.push_blob(REPO, &blob, Upload::PostPut).await;
        user.push_manifest(REPO, &image, &["v3"], Guard::Any).await;
        user.delete_manifest(REPO, &image.digest).await;
        tokio::time::sleep(COLLECTION).await;
        user.push_blob(REPO, &blob, Upload::PostPut).await;
        user.push_manifest(REPO, &image, &["v3"], Guard::Any).await;
    }

    /// The machine comes back.
    async fn afterwards(&mut self, victim: &Machine, seed: u64) -> Vec<String> {
        let mut draw = Draw::new(seed, 2);
        let loss = *draw.pick(&Loss::ALL);
        let away = draw.millis(0..6_000);
        trace::note("nemesis", format_args!("{} is dark for {away:?}: {loss:?}", victim.name()));
        victim.power_cut(loss).await;
        tokio::time::sleep(away).await;
        // What a node without a disk had to say, and others about it, is of no interest.
        events::take_errors();
        victim.restart();
        if let Err(why) = victim.wait_ready(READY).await {
            return vec![format!("after {loss:?}: {why}")];
        }
        let settled = self.fleet.settle(SETTLE).await;
        let mut violations = oracle::judge_fleet(&self.fleet, &self.book, Duration::ZERO).await;
        violations.extend(settled.err());
        violations
    }
}
