//! `sim crash`: a story cut at its every disk operation.

use anyhow::Context as _;

use super::named;
use crate::{
    runner::{Job, Tally, run_all},
    scenarios::{
        Scenario,
        crash::{CASES, UNCUT},
    },
};

/// Cuts `story`, or all of them; answers whether every run passed.
pub fn run(story: &str, stride: u64, variant: u64, jobs: usize) -> anyhow::Result<bool> {
    let is_story =
        |scenario: &Scenario| matches!(scenario, Scenario::Crash(_) | Scenario::Outage(_));
    let stories: Vec<Scenario> = match story {
        "all" => Scenario::all().into_iter().filter(is_story).collect(),
        name => vec![named(name)?],
    };
    anyhow::ensure!(stories.iter().all(is_story), "`{story}` is no story to be cut");
    let mut passed = true;
    for scenario in stories {
        let tally = cut(scenario, stride, variant, jobs)?;
        passed &= tally.failed == 0 && tally.passed > 0;
    }
    Ok(passed)
}

/// Cuts one story at every `stride`-th case, and at its end.
pub fn cut(scenario: Scenario, stride: u64, variant: u64, jobs: usize) -> anyhow::Result<Tally> {
    let base = variant * CASES;
    let mut tally = Tally::new();
    let mut operations = None;
    run_all([Job::new(scenario, base + UNCUT)], 1, |ended| {
        operations = ended.counts().get("operations").copied();
        tally.add(&ended, 1);
        true
    })?;
    let operations = operations.context("count the operations of the uncut story")?;
    anyhow::ensure!(2 * operations < UNCUT, "{operations} operations are too many to number");
    let cases = (0..2 * operations).step_by(stride.max(1) as usize);
    let expected = cases.clone().count() as u64 + 1;
    run_all(cases.map(|case| Job::new(scenario, base + case)), jobs, |ended| {
        tally.add(&ended, expected);
        true
    })?;
    tally.print(&format!("{} ({operations} operations, every {stride})", scenario.name()));
    anyhow::ensure!(tally.passed + tally.failed == expected, "not all {expected} cases were run");
    Ok(tally)
}
