//! Crash enumeration: the power goes at one operation of a story, and every kind of loss is tried.
//!
//! A seed names one case: `variant × CASES + 2 × operation + (0 before it, 1 after it)`. The variant
//! draws sizes and bytes, so the cases of one variant cut the very same story at its every disk
//! operation. The crashed disk is copied once per kind of loss, and a new machine starts on each copy;
//! then, on one of them, a second crash cuts the recovery itself.
//!
//! Why copies, and not a run for each loss: the story up to the crash is the same for all of them.

use std::{collections::BTreeSet, time::Duration};

use atoll_core::Digest;
use atoll_node::io::disk::sim::{CrashPoint, Faults, Loss, SimDisk};

use super::{
    Verdict,
    story::{REPO, Stage, Story},
};
use crate::{
    cluster::{Machine, Phase, Tuning},
    draw::Draw,
    events,
    history::Book,
    oracle, trace,
    workload::user::User,
};

/// Cases of one variant. More operations than half of this no story has.
pub const CASES: u64 = 10_000;

/// The case that never crashes, but at its quiet end: it also counts the operations.
pub const UNCUT: u64 = CASES - 2;

/// What a case beyond the end of its story is told.
pub const STORY_ENDED: &str = "the story has but";

/// How each crashed disk is cut. The last two draw what survives, so each is tried twice.
const LOSSES: [Loss; 6] =
    [Loss::DropAll, Loss::KeepAll, Loss::Random, Loss::Random, Loss::Torn, Loss::Torn];

/// Crashes in the recovery, per case.
const SECOND_CRASHES: u64 = 2;

/// How long a node may take to be ready.
const READY: Duration = Duration::from_secs(60);

/// Batches of 64 KiB: an upload takes several. Snapshots come within a story.
pub const TUNING: Tuning =
    Tuning { snapshot_interval: 8, batch_bytes: 64 << 10, object_bytes_max: 0 };

/// One case.
pub struct Case {
    number: u64,
    /// Which sizes and bytes.
    pub variant: u64,
    /// Where the power goes.
    pub operation: u64,
    /// Before the operation or after it.
    pub point: CrashPoint,
}

impl Case {
    /// The one that a seed names.
    pub fn new(seed: u64) -> Case {
        let number = seed % CASES;
        let is_even = number.is_multiple_of(2);
        let point = if is_even { CrashPoint::Before } else { CrashPoint::After };
        Case { number, variant: seed / CASES, operation: number / 2, point }
    }

    /// Is it the case of that number?
    pub fn is(&self, number: u64) -> bool {
        self.number == number
    }
}

/// Runs the case that `seed` names.
pub async fn run(story: Story, seed: u64) -> Verdict {
    let case = Case::new(seed);
    let mut verdict = Verdict::default();
    let book = Book::default();
    let device = SimDisk::new(seed, Faults::default());
    trace::watch(&device);
    match crash(story, &case, &device, &book).await {
        Ok(operations) => {
            verdict.counts.insert("operations".to_owned(), operations);
            // A case whose crash never comes would pass without having tested anything.
            if operations <= case.operation && !case.is(UNCUT) {
                verdict.violations.push(format!("{STORY_ENDED} {operations} operations"));
            }
        }
        Err(violation) => verdict.violations.push(violation),
    }
    trace::note("nemesis", "the machine is dark");
    let mut draw = Draw::new(seed, 2);
    let mut recovery = Recovery { device, book, verdict, seed, machines: 1 };
    for (at, loss) in LOSSES.into_iter().enumerate() {
        recovery.check(loss, at as u64, None).await;
    }
    for _ in 0..SECOND_CRASHES {
        let at = draw.within(0..LOSSES.len() as u64);
        let second = draw.seed();
        recovery.check(LOSSES[at as usize], at, Some(second)).await;
    }
    recovery.verdict
}

/// Lives the story until its crash; answers how many operations it took.
async fn crash(story: Story, case: &Case, device: &SimDisk, book: &Book) -> Result<u64, String> {
    let mut draw = Draw::new(case.variant, 1);
    let from_the_start = story == Story::FirstStart;
    if from_the_start {
        device.crash_at(case.operation, case.point);
    }
    let machine = Machine::start(1, device.clone(), &TUNING, case.variant);
    let ready = machine.wait_ready(READY).await;
    let mut base = 0;
    if !from_the_start {
        ready?;
        let mut user = User::new("user", machine.http, book.clone());
        let mut stage = Stage { machine: &machine, user: &mut user, draw: &mut draw };
        story.prepare(&mut stage).await;
        base = device.operation_count();
        device.crash_at(base + case.operation, case.point);
        story.act(&mut stage).await;
    }
    let operations = device.operation_count() - base;
    // The machine is dark; its disk stays as it is, to be cut in many ways.
    machine.kill().await;
    // What a node without a disk had to say is of no interest.
    events::take_errors();
    let broken = std::mem::take(&mut book.lock().violations);
    broken.into_iter().next().map_or(Ok(operations), Err)
}

struct Recovery {
    device: SimDisk,
    book: Book,
    verdict: Verdict,
    seed: u64,
    machines: u8,
}

impl Recovery {
    /// Cuts a copy of the disk and lets a new machine make the best of it. `second` draws a crash
    /// in between.
    async fn check(&mut self, loss: Loss, at: u64, second: Option<u64>) {
        let device = self.device.fork(self.seed ^ at << 48);
        device.power_cut(loss);
        trace::watch(&device);
        trace::note("nemesis", format_args!("power cut: {loss:?}"));
        let mut told = format!("{loss:?} #{at}");
        if let Some(second) = second {
            told += &self.cut_again(&device, second).await;
        }
        self.machines += 1;
        let machine = Machine::start(self.machines, device, &TUNING, self.seed);
        let ready = machine.wait_ready(READY).await;
        let violations = match ready {
            Ok(()) => {
                let mut user = User::new("oracle", machine.http, self.book.fork());
                list_referrers(&mut user).await;
                let broken = oracle::judge(&mut user).await;
                for (name, count) in &user.book.lock().counts {
                    *self.verdict.counts.entry(name.clone()).or_default() += count;
                }
                broken
            }
            Err(why) => vec![format!("the node does not start again: {why}")],
        };
        *self.verdict.counts.entry("recoveries".to_owned()).or_default() += 1;
        let is_damaged = !self.book.lock().damaged.is_empty();
        let errors = events::take_errors().into_iter().filter(|_| !is_damaged);
        let errors = errors.map(|line| format!("ERROR event: {line}"));
        let violations = violations.into_iter().chain(errors);
        self.verdict.violations.extend(violations.map(|what| format!("after {told}: {what}")));
        machine.kill().await;
    }

    /// A node starts and its power goes at some operation of the recovery.
    async fn cut_again(&mut self, device: &SimDisk, second: u64) -> String {
        let mut draw = Draw::new(second, 3);
        let whole = self.recovery_operations(device).await;
        let operation = draw.within(0..whole.max(1));
        let point = *draw.pick(&[CrashPoint::Before, CrashPoint::After]);
        let loss = *draw.pick(&Loss::ALL);
        device.crash_at(device.operation_count() + operation, point);
        self.machines += 1;
        let machine = Machine::start(self.machines, device.clone(), &TUNING, self.seed);
        let _ = machine.wait_ready(READY).await;
        machine.kill().await;
        device.power_cut(loss);
        events::take_errors();
        *self.verdict.counts.entry("second crashes".to_owned()).or_default() += 1;
        let told = format!(", then {loss:?} {point:?} operation {operation} of the recovery");
        trace::note("nemesis", &told);
        told
    }

    /// How many operations the recovery takes when nothing cuts it.
    async fn recovery_operations(&mut self, device: &SimDisk) -> u64 {
        let copy = device.fork(self.seed);
        let before = copy.operation_count();
        self.machines += 1;
        let machine = Machine::start(self.machines, copy.clone(), &TUNING, self.seed);
        if machine.wait_ready(READY).await != Ok(()) || machine.phase() != Phase::Ready {
            return 0;
        }
        let operations = copy.operation_count() - before;
        machine.kill().await;
        operations
    }
}

/// Lists the referrers of everything that was ever referred to, for the registers to be judged by.
async fn list_referrers(user: &mut User) {
    let subjects: BTreeSet<Digest> = {
        let book = user.book.lock();
        book.manifests.values().filter_map(|manifest| manifest.subject).collect()
    };
    for subject in subjects {
        user.list_referrers(REPO, &subject).await;
    }
}
