//! `sim swarm`: many seeds over all scenarios that draw everything, and what they came to.

use std::collections::BTreeMap;

use super::rare;
use crate::{
    runner::{Job, Tally, run_all},
    scenarios::Scenario,
};

/// Runs `count` seeds from `from` on, of each scenario in turn; answers whether all passed, none was
/// left out, and every rare path was taken if there were seeds enough for that.
pub fn run(from: u64, count: u64, jobs: usize) -> anyhow::Result<bool> {
    let mut of_each: BTreeMap<&str, Tally> = BTreeMap::new();
    let mut all = Tally::new();
    let turns = Scenario::SWARM.len() as u64;
    let seeds = (0..count).map(|at| {
        let scenario = Scenario::SWARM[(at % turns) as usize];
        Job::new(scenario, from.saturating_add(at / turns))
    });
    run_all(seeds, jobs, |ended| {
        all.add(&ended, count);
        of_each.entry(ended.job.scenario.name()).or_default().absorb(&ended);
        true
    })?;
    for (name, tally) in &of_each {
        println!("{name}: {} passed, {} failed", tally.passed, tally.failed);
    }
    all.print("swarm");
    let is_complete = all.passed + all.failed == count;
    if !is_complete {
        println!("only {} of {count} seeds were run", all.passed + all.failed);
    }
    let all_taken = rare::judge(&all, &Scenario::SWARM);
    Ok(is_complete && all.failed == 0 && all_taken)
}
