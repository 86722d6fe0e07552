//! `sim ci`: the fixed set that every change is tested with, in a few minutes on two cores.

use super::{bite, campaign, crash, meta};
use crate::{
    runner::Tally,
    scenarios::{Scenario, story::Story},
};

/// Seeds that are run twice.
const META_SEEDS: u64 = 5;
/// Seeds of `mixed`.
const MIXED_SEEDS: u64 = 200;
/// Seeds of the scenarios with several nodes.
const CLUSTERS: [(Scenario, u64); 6] = [
    (Scenario::Cluster, 60),
    (Scenario::Fence, 15),
    (Scenario::Relay, 15),
    (Scenario::Laggard, 15),
    (Scenario::GcRace, 15),
    (Scenario::Figure12, 3),
];

/// How sparsely each story is cut, and how many cases at least that must be. Odd strides meet both
/// sides of an operation.
const STORIES: [(Story, u64, u64); Story::ALL.len()] = [
    (Story::Push, 5, 60),
    (Story::TagMove, 3, 60),
    (Story::Delete, 3, 40),
    (Story::SessionResume, 3, 30),
    (Story::ChunkedFinish, 7, 20),
    (Story::Mount, 7, 10),
    (Story::Referrers, 7, 20),
    (Story::Compact, 17, 20),
    (Story::Heal, 3, 10),
    (Story::FirstStart, 23, 45),
    (Story::Restart, 7, 10),
    (Story::Shutdown, 3, 5),
];

/// Answers whether everything passed and nothing was left out.
pub fn run(jobs: usize) -> anyhow::Result<bool> {
    let meta = meta::tally(META_SEEDS, jobs)?;
    let mut complete = runs(&meta) == meta::runs(META_SEEDS);
    let (mut passed, mut failed) = (meta.passed, meta.failed);
    for (story, stride, least) in STORIES {
        let cut = crash::cut(Scenario::Crash(story), stride, 0, jobs)?;
        complete &= runs(&cut) >= least;
        passed += cut.passed;
        failed += cut.failed;
    }
    let mixed = campaign::tally(Scenario::Mixed, 0, MIXED_SEEDS, jobs)?;
    complete &= runs(&mixed) == MIXED_SEEDS;
    passed += mixed.passed;
    failed += mixed.failed;
    for (scenario, seeds) in CLUSTERS {
        let tally = campaign::tally(scenario, 0, seeds, jobs)?;
        complete &= runs(&tally) == seeds;
        passed += tally.passed;
        failed += tally.failed;
    }
    let caught = bite::caught_quickly(jobs)?;
    passed += caught;
    failed += bite::quick_ones() - caught;
    if !complete {
        println!("some runs did not happen");
    }
    println!("{passed} passed, {failed} failed");
    Ok(complete && failed == 0)
}

fn runs(tally: &Tally) -> u64 {
    tally.passed + tally.failed
}
