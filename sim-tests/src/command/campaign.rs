//! `sim campaign`: many seeds of one scenario.

use super::rare;
use crate::{
    runner::{Job, Tally, run_all},
    scenarios::Scenario,
};

/// Runs the seeds; answers whether all passed.
pub fn run(scenario: Scenario, from: u64, count: u64, jobs: usize) -> anyhow::Result<bool> {
    let tally = tally(scenario, from, count, jobs)?;
    let all_taken = rare::judge(&tally, &[scenario]);
    Ok(tally.failed == 0 && tally.passed == count && all_taken)
}

/// Runs the seeds and sums them up.
pub fn tally(scenario: Scenario, from: u64, count: u64, jobs: usize) -> anyhow::Result<Tally> {
    let mut tally = Tally::new();
    let seeds = (from..from.saturating_add(count)).map(|seed| Job::new(scenario, seed));
    run_all(seeds, jobs, |ended| {
        tally.add(&ended, count);
        true
    })?;
    tally.print(scenario.name());
    Ok(tally)
}
