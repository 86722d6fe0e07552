//! `sim meta`: the simulator's own first test. One seed twice gives one trace, byte for byte.

use crate::{
    runner::{Job, Tally, run_all},
    scenarios::{Scenario, story::Story},
};

/// Runs seeds of every scenario that draws everything twice, and one crash case; answers whether all
/// traces agree.
pub fn run(count: u64, jobs: usize) -> anyhow::Result<bool> {
    let tally = tally(count, jobs)?;
    Ok(tally.failed == 0 && tally.passed == runs(count))
}

/// How many processes [`tally`] runs.
pub fn runs(count: u64) -> u64 {
    2 * (count * Scenario::SWARM.len() as u64 + 1)
}

/// Runs them and sums them up: one run is counted for each process.
pub fn tally(count: u64, jobs: usize) -> anyhow::Result<Tally> {
    let crash = Job::new(Scenario::Crash(Story::Push), 41);
    let of = |scenario| (0..count).map(move |seed| Job::new(scenario, seed));
    let seeds = Scenario::SWARM.into_iter().flat_map(of).chain([crash]);
    let twice = seeds.flat_map(|job| [0, 1].map(|again| Job { trace: true, again, ..job.clone() }));
    let mut tally = Tally::new();
    let mut first: Option<String> = None;
    run_all(twice, jobs, |mut ended| {
        match first.take() {
            None => first = Some(ended.output.clone()),
            Some(before) if before == ended.output => {}
            Some(before) => {
                ended.passed = false;
                ended.output =
                    format!("VIOLATION two traces: {}", difference(&before, &ended.output));
            }
        }
        tally.add(&ended, runs(count));
        true
    })?;
    tally.print("meta");
    Ok(tally)
}

/// The first line in which they differ.
fn difference(one: &str, other: &str) -> String {
    let differs = |(_, (one, other)): &(usize, (&str, &str))| one != other;
    match one.lines().zip(other.lines()).enumerate().find(differs) {
        Some((at, (one, other))) => format!("line {at}: `{one}` and `{other}`"),
        None => format!("{} and {} lines", one.lines().count(), other.lines().count()),
    }
}
