//! `sim bite`: known bugs are planted, and every one of them must be caught.

use atoll_node::io::plant::Plant;

use crate::{
    runner::{Job, run_all},
    scenarios::{Scenario, crash::STORY_ENDED, story::Story},
};

/// Where a planted bug must show, and how long that may take.
struct Trap {
    plant: Plant,
    scenario: Scenario,
    /// Distance of the seeds: crash cases next to each other are alike.
    stride: u64,
    seeds_max: u64,
    /// Is it quick enough to be part of what every change is tested with?
    is_quick: bool,
}

const fn story(plant: Plant, story: Story, stride: u64) -> Trap {
    Trap { plant, scenario: Scenario::Crash(story), stride, seeds_max: 200, is_quick: false }
}

const fn at(scenario: Scenario, plant: Plant) -> Trap {
    Trap { plant, scenario, stride: 1, seeds_max: 1_000, is_quick: false }
}

const fn quick(trap: Trap) -> Trap {
    Trap { is_quick: true, ..trap }
}

const TRAPS: [Trap; Plant::ALL.len()] = [
    quick(story(Plant::SkipNameSync, Story::Push, 5)),
    story(Plant::SkipDataSync, Story::Push, 5),
    quick(story(Plant::AckBeforeLogSync, Story::TagMove, 3)),
    story(Plant::PurgeUnsynced, Story::Compact, 37),
    story(Plant::RecordBeforeBytes, Story::SessionResume, 3),
    at(Scenario::Mixed, Plant::SkipBlockCheck),
    at(Scenario::Mixed, Plant::ReuseRequestId),
    at(Scenario::Mixed, Plant::IgnoreCondition),
    at(Scenario::Mixed, Plant::ShortListing),
    at(Scenario::Cluster, Plant::AckFirstCopy),
    at(Scenario::Cluster, Plant::AbsenceFromOne),
    at(Scenario::Laggard, Plant::AcceptStaleEpoch),
    at(Scenario::Relay, Plant::ResumeOffByOne),
    quick(at(Scenario::Cluster, Plant::SkipRelayCheck)),
    at(Scenario::Cluster, Plant::ReportUnsynced),
    at(Scenario::Cluster, Plant::DisownedTooEarly),
    at(Scenario::Cluster, Plant::NeverOffered),
    at(Scenario::GcRace, Plant::PinWithoutStamp),
    at(Scenario::Cluster, Plant::DeleteUncondemned),
    at(Scenario::Cluster, Plant::StaleTagRead),
    at(Scenario::Cluster, Plant::ForgottenCommit),
    at(Scenario::Cluster, Plant::AckUnknown),
    at(Scenario::Cluster, Plant::ThinSnapshot),
    at(Scenario::Laggard, Plant::DeafLeader),
    at(Scenario::Cluster, Plant::ViewFromGossip),
    at(Scenario::Fence, Plant::LeaseNotFenced),
    at(Scenario::Fence, Plant::HeartbeatUnconfirmed),
    at(Scenario::Fence, Plant::ReuseSession),
    at(Scenario::Fence, Plant::SessionNeverEnds),
];

/// The end of a run that took longer than it may.
const STUCK_STATUS: &str = "exit status: 124";

/// What is to be tried.
pub struct Bite {
    /// The bugs; all of them when there are none.
    pub plants: Vec<String>,
    /// At most so many seeds for each.
    pub seeds_max: u64,
    /// The first one, counted in strides.
    pub from: u64,
    /// Processes at a time.
    pub jobs: usize,
}

/// Answers whether every bug was caught.
pub fn run(bite: &Bite) -> anyhow::Result<bool> {
    for name in &bite.plants {
        anyhow::ensure!(Plant::named(name).is_some(), "no bug is called `{name}`");
    }
    let is_asked = |trap: &&Trap| {
        bite.plants.is_empty() || bite.plants.iter().any(|name| name == trap.plant.name())
    };
    let traps: Vec<&Trap> = TRAPS.iter().filter(is_asked).collect();
    let planted = traps.len() as u64;
    Ok(caught(&traps, bite)? == planted)
}

/// How many bugs [`caught_quickly`] plants.
pub fn quick_ones() -> u64 {
    TRAPS.iter().filter(|trap| trap.is_quick).count() as u64
}

/// Answers how many of the quick ones were caught.
pub fn caught_quickly(jobs: usize) -> anyhow::Result<u64> {
    let traps: Vec<&Trap> = TRAPS.iter().filter(|trap| trap.is_quick).collect();
    caught(&traps, &Bite { plants: Vec::new(), seeds_max: u64::MAX, from: 0, jobs })
}

fn caught(traps: &[&Trap], bite: &Bite) -> anyhow::Result<u64> {
    let mut caught = 0;
    println!("| planted bug | looked for by | seeds needed | of at most | what was seen |");
    println!("|---|---|--:|--:|---|");
    for trap in traps {
        caught += u64::from(spring(trap, bite)?);
    }
    println!("bite: {caught} of {} planted bugs caught", traps.len());
    Ok(caught)
}

fn spring(trap: &Trap, bite: &Bite) -> anyhow::Result<bool> {
    let Trap { plant, scenario, stride, seeds_max, .. } = trap;
    let seeds_max = (*seeds_max).min(bite.seeds_max);
    let env = vec![("SIM_PLANT", plant.name().to_owned())];
    let job = |at| Job { env: env.clone(), ..Job::new(*scenario, at * stride) };
    let mut tried = 0;
    let mut found = None;
    run_all((bite.from..bite.from + seeds_max).map(job), bite.jobs, |ended| {
        if found.is_some() {
            return false;
        }
        tried += 1;
        if !ended.passed {
            let violation = ended.output.lines().find_map(|line| line.strip_prefix("VIOLATION "));
            let violation = violation.unwrap_or_default();
            // A story that has ended has nothing more to show.
            if violation.contains(STORY_ENDED) {
                return false;
            }
            // A run that a busy machine gave no time to says nothing either way.
            if violation.contains(STUCK_STATUS) {
                return true;
            }
            found = Some((ended.job.seed, violation.to_owned()));
        }
        found.is_none()
    })?;
    // What fails without the bug as well says nothing about it.
    let mut is_innocent = true;
    let without = found.iter().map(|(seed, _)| Job::new(*scenario, *seed));
    run_all(without, 1, |ended| {
        is_innocent &= ended.passed;
        true
    })?;
    let (seeds, seen) = match &found {
        Some((seed, _)) if !is_innocent => {
            ("**unclear**".to_owned(), format!("seed {seed} fails without the bug, too"))
        }
        Some((seed, violation)) => (tried.to_string(), format!("seed {seed}: {violation}")),
        None => ("**not caught**".to_owned(), String::new()),
    };
    let name = scenario.name();
    println!("| `{}` | `{name}` | {seeds} | {seeds_max} | {seen} |", plant.name());
    Ok(found.is_some() && is_innocent)
}
