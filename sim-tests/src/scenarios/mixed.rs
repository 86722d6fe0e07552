//! Random clients under random faults on one node: safety, then liveness, then a durability scan.
//!
//! The seed draws everything: how many clients and tags, what they do, which classes of faults are on
//! and when they strike. While they do, nothing acknowledged may be denied and no wrong byte served.
//! Then all faults end, the machine is rebooted without warning once more, and everything that was
//! ever acknowledged is looked for.

use std::{sync::Arc, time::Duration};

use atoll_core::Digest;
use atoll_node::io::disk::sim::{Faults, Loss, SimDisk};

use super::Verdict;
use crate::{
    cluster::{Machine, Tuning},
    draw::Draw,
    events,
    history::Book,
    linear::Guard,
    nemesis::{Fault, Nemesis, READY},
    oracle, trace,
    workload::{
        content::{self, Blob},
        push::Upload,
        user::{Answer, User},
    },
};

/// Every size of a run.
#[derive(Clone, Debug)]
struct Swarm {
    tuning: Tuning,
    users: u64,
    steps: u64,
    repos: Vec<String>,
    tags: Vec<String>,
    faults: Vec<Fault>,
    strikes: u64,
    think_millis: u64,
    blob_bytes_max: u64,
}

impl Swarm {
    fn draw(draw: &mut Draw) -> Swarm {
        let names = |prefix: &str, count| (0..count).map(|n| format!("{prefix}{n}")).collect();
        Swarm {
            tuning: Tuning {
                snapshot_interval: draw.within(4..60),
                batch_bytes: *draw.pick(&[16 << 10, 64 << 10, 1 << 20]),
                object_bytes_max: *draw.pick(&[0, 64 << 10, 1 << 20]),
            },
            users: draw.within(1..5),
            steps: draw.within(10..40),
            repos: names("repo", draw.within(1..3)),
            tags: names("t", draw.within(1..4)),
            faults: Fault::ALL.into_iter().filter(|_| draw.chance(0.5)).collect(),
            strikes: draw.within(1..6),
            think_millis: draw.within(5..150),
            blob_bytes_max: *draw.pick(&[5_000, 80_000, 400_000]),
        }
    }
}

/// Runs a seed.
pub async fn run(seed: u64) -> Verdict {
    let mut draw = Draw::new(seed, 1);
    let swarm = Arc::new(Swarm::draw(&mut draw));
    let device = SimDisk::new(seed, Faults::default());
    trace::watch(&device);
    trace::note("swarm", format_args!("{swarm:?}"));
    let machine = Machine::start(1, device, &swarm.tuning, seed);
    let book = Book::default();
    let mut violations = Vec::new();
    if let Err(why) = under_faults(&machine, &book, &swarm, seed, &mut draw).await {
        violations.push(why);
    }
    violations.extend(afterwards(&machine, &book, &mut draw).await);
    let counts = book.lock().counts.clone();
    Verdict { violations, counts }
}

/// The safety phase.
async fn under_faults(
    machine: &Machine,
    book: &Book,
    swarm: &Arc<Swarm>,
    seed: u64,
    draw: &mut Draw,
) -> Result<(), String> {
    machine.wait_ready(READY).await?;
    for repo in &swarm.repos {
        swarm.tags.iter().for_each(|tag| book.lock().declare_tag(repo, tag));
    }
    let users: Vec<_> = (0..swarm.users)
        .map(|number| {
            let user = User::new(format!("user{number}"), machine.http, book.clone());
            let draw = Draw::new(seed, 100 + number);
            tokio::spawn(
                Walk { user, draw, swarm: swarm.clone(), blobs: Vec::new(), number }.walk(),
            )
        })
        .collect();
    let mut nemesis =
        Nemesis { machine: machine.clone(), book: book.clone(), draw: Draw::new(seed, 2) };
    let mut struck = Ok(());
    for _ in 0..swarm.strikes {
        tokio::time::sleep(draw.millis(50..1_500)).await;
        if swarm.faults.is_empty() || struck.is_err() {
            break;
        }
        let fault = *draw.pick(&swarm.faults);
        struck = nemesis.strike(fault).await;
    }
    for user in users {
        user.await.map_err(|error| format!("a user ended early: {error}"))?;
    }
    if swarm.faults.is_empty() {
        let errors = events::take_errors();
        if let Some(line) = errors.first() {
            return Err(format!("ERROR event without any fault: {line}"));
        }
    }
    struck
}

/// Liveness and the durability scan.
async fn afterwards(machine: &Machine, book: &Book, draw: &mut Draw) -> Vec<String> {
    let loss = *draw.pick(&Loss::ALL);
    trace::note("nemesis", format_args!("last power cut: {loss:?}"));
    machine.power_cut(loss).await;
    events::take_errors();
    machine.restart();
    if let Err(why) = machine.wait_ready(READY).await {
        return vec![why];
    }
    let mut user = User::new("oracle", machine.http, book.clone());
    let mut violations = oracle::judge(&mut user).await;
    // A damaged copy is an error, and is told as one.
    if book.lock().damaged.is_empty() {
        let errors = events::take_errors();
        violations.extend(errors.into_iter().map(|line| format!("ERROR event: {line}")));
    }
    violations
}

/// One user's random walk.
struct Walk {
    user: User,
    draw: Draw,
    swarm: Arc<Swarm>,
    /// What this user pushed, and where.
    blobs: Vec<(String, Blob)>,
    number: u64,
}

impl Walk {
    async fn walk(mut self) {
        for step in 0..self.swarm.steps {
            let pause = self.draw.millis(0..self.swarm.think_millis);
            tokio::time::sleep(pause).await;
            self.step(step).await;
        }
    }

    async fn step(&mut self, step: u64) {
        let swarm = self.swarm.clone();
        let repo = self.draw.pick(&swarm.repos).clone();
        let tag = self.draw.pick(&swarm.tags).clone();
        match self.draw.within(0..100) {
            0..20 => self.push_blob(&repo).await,
            20..45 => self.push_image(&repo, &tag, step).await,
            45..65 => {
                self.user.pull_tag(&repo, &tag).await;
            }
            65..72 => self.pull_something(&repo).await,
            72..77 => self.mount(&repo).await,
            77..82 => {
                self.user.delete_tag(&repo, &tag).await;
            }
            82..87 => self.delete_something(&repo).await,
            87..93 => {
                self.user.list_tags(&repo).await;
            }
            93..96 => self.referrers(&repo).await,
            _ => tokio::time::sleep(Duration::from_millis(500)).await,
        }
    }

    fn new_blob(&mut self) -> Blob {
        let len = self.draw.within(1..self.swarm.blob_bytes_max);
        content::blob(&mut self.draw, len)
    }

    fn way(&mut self) -> Upload {
        let ways = [
            Upload::Single,
            Upload::PostPut,
            Upload::Streamed,
            Upload::StreamedPut,
            Upload::Chunked(30_000),
            Upload::Chunked(1_000_000),
        ];
        *self.draw.pick(&ways)
    }

    async fn push_blob(&mut self, repo: &str) {
        let old = self.blobs.iter().filter(|_| self.draw.chance(0.15)).next_back();
        let blob = match old {
            Some((_, blob)) => blob.clone(),
            None => self.new_blob(),
        };
        let how = self.way();
        if self.user.push_blob(repo, &blob, how).await == Answer::Done {
            self.blobs.push((repo.to_owned(), blob));
        }
    }

    /// A manifest over blobs of this user, tagged with or without a condition.
    async fn push_image(&mut self, repo: &str, tag: &str, step: u64) {
        let mine: Vec<Blob> = {
            let here = self.blobs.iter().filter(|(at, _)| at == repo);
            here.map(|(_, blob)| blob.clone()).rev().take(2).collect()
        };
        if mine.is_empty() {
            return self.push_blob(repo).await;
        }
        let subject = self.any_manifest().filter(|_| self.draw.chance(0.2));
        let subject =
            subject.and_then(|digest| self.user.book.lock().manifests.get(&digest).cloned());
        let serial = format!("{}-{step}", self.number);
        let image = match self.any_manifest().filter(|_| self.draw.chance(0.2)) {
            // An older image again: tags move back, too.
            Some(old) => self.user.book.lock().manifests.get(&old).cloned(),
            None => None,
        };
        let image = image.unwrap_or_else(|| content::manifest(&mine, &serial, subject.as_ref()));
        let guard = match self.draw.within(0..10) {
            0 => Guard::Absent,
            1 => Guard::Present,
            2 | 3 => self.any_manifest().map_or(Guard::Absent, Guard::Is),
            _ => Guard::Any,
        };
        let all: Vec<&str> = self.swarm.tags.iter().map(String::as_str).collect();
        let tags = match self.draw.within(0..8) {
            0 => vec![],
            1 => all,
            _ => vec![tag],
        };
        let guard = if tags.is_empty() { Guard::Any } else { guard };
        self.user.push_manifest(repo, &image, &tags, guard).await;
    }

    fn any_manifest(&mut self) -> Option<Digest> {
        let known: Vec<Digest> = self.user.book.lock().manifests.keys().copied().collect();
        (!known.is_empty()).then(|| *self.draw.pick(&known))
    }

    async fn pull_something(&mut self, repo: &str) {
        if self.draw.chance(0.4)
            && let Some(digest) = self.any_manifest()
        {
            self.user.pull_manifest(repo, &digest).await;
            return;
        }
        if self.blobs.is_empty() {
            return;
        }
        let (at, blob) = self.draw.pick(&self.blobs).clone();
        let len = blob.bytes.len() as u64;
        let range = self.draw.chance(0.3).then(|| {
            let start = self.draw.within(0..len);
            start..self.draw.within(start + 1..len + 1)
        });
        self.user.pull_blob(&at, &blob.digest, range).await;
    }

    async fn mount(&mut self, repo: &str) {
        if self.blobs.is_empty() {
            return;
        }
        let (from, blob) = self.draw.pick(&self.blobs).clone();
        if self.user.mount(repo, &from, &blob.digest).await == Answer::Done {
            self.blobs.push((repo.to_owned(), blob));
        }
    }

    async fn delete_something(&mut self, repo: &str) {
        if self.draw.chance(0.6)
            && let Some(digest) = self.any_manifest()
        {
            self.user.delete_manifest(repo, &digest).await;
            return;
        }
        if self.blobs.is_empty() {
            return;
        }
        let at = self.draw.within(0..self.blobs.len() as u64) as usize;
        let (repo, blob) = self.blobs.swap_remove(at);
        self.user.delete_blob(&repo, &blob.digest).await;
    }

    async fn referrers(&mut self, repo: &str) {
        if let Some(subject) = self.any_manifest() {
            self.user.list_referrers(repo, &subject).await;
        }
    }
}
