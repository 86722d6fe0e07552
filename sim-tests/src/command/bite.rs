//! `sim bite`: known bugs are planted, and every one of them must be caught.

use atoll_node::io::plant::Plant;

use crate::{
    runner::{Job, run_all},
    scenarios::{Scenario, story::Story},
};

/// Where a planted bug must show, and how long that may take.
struct Trap {
    plant: Plant,
    scenario: Scenario,
    /// Distance of the seeds: crash cases next to each other are alike.
    stride: u64,
    seeds_max: u64,
}

const TRAPS: [Trap; 4] = [
    Trap {
        plant: Plant::SkipNameSync,
        scenario: Scenario::Crash(Story::Push),
        stride: 5,
        seeds_max: 40,
    },
    Trap {
        plant: Plant::AckBeforeLogSync,
        scenario: Scenario::Crash(Story::TagMove),
        stride: 3,
        seeds_max: 40,
    },
    Trap {
        plant: Plant::RecordBeforeBytes,
        scenario: Scenario::Crash(Story::SessionResume),
        stride: 3,
        seeds_max: 40,
    },
    Trap { plant: Plant::SkipBlockCheck, scenario: Scenario::Mixed, stride: 1, seeds_max: 200 },
];

/// How many bugs are planted.
pub const PLANTED: u64 = TRAPS.len() as u64;

/// Answers whether every bug was caught.
pub fn run(jobs: usize) -> anyhow::Result<bool> {
    Ok(caught(jobs)? == PLANTED)
}

/// Answers how many bugs were caught.
pub fn caught(jobs: usize) -> anyhow::Result<u64> {
    let mut caught = 0;
    for trap in &TRAPS {
        caught += u64::from(spring(trap, jobs)?);
    }
    println!("bite: {caught} of {PLANTED} planted bugs caught");
    Ok(caught)
}

fn spring(trap: &Trap, jobs: usize) -> anyhow::Result<bool> {
    let Trap { plant, scenario, stride, seeds_max } = trap;
    let job = |at| Job { plant: Some(plant.name()), ..Job::new(*scenario, at * stride) };
    let mut tried = 0;
    let mut found = None;
    run_all((0..*seeds_max).map(job), jobs, |ended| {
        if found.is_some() {
            return false;
        }
        tried += 1;
        if !ended.passed {
            let violation = ended.output.lines().find(|line| line.starts_with("VIOLATION"));
            found = Some((ended.job.seed, violation.unwrap_or_default().to_owned()));
        }
        found.is_none()
    })?;
    match &found {
        Some((seed, violation)) => {
            println!("{:<20} caught by {} after {tried} seeds", plant.name(), scenario.name());
            println!("  seed {seed}: {violation}");
        }
        None => println!("{:<20} NOT CAUGHT in {tried} seeds", plant.name()),
    }
    Ok(found.is_some())
}
