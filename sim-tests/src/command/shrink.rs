//! `sim shrink`: a run that fails, made smaller while it still fails.
//!
//! Classes of faults are switched off one by one, then nodes are taken away, then time. Whatever the
//! run does without and still fails is no part of the reason. Not bisection over single events: a
//! seed draws everything first, so a class that is off leaves the rest of the run alone, while an
//! event less would change all that follow.

use crate::{
    runner::{Ended, Job, repro, run_all},
    scenarios::Scenario,
};

/// Classes that are no faults of a nemesis.
const OTHER_CLASSES: [&str; 4] = ["short-io", "together", "gc", "blackout"];

/// Numbers of nodes to try, the smallest first.
const NODES: [u8; 4] = [3, 4, 5, 6];

/// Seconds under faults to try, the shortest first.
const SECONDS: [u64; 6] = [2, 5, 10, 20, 30, 45];

/// A run, and what it is told to do without.
#[derive(Clone, Debug, Default)]
struct Smaller {
    off: Vec<String>,
    nodes: Option<u8>,
    seconds: Option<u64>,
}

impl Smaller {
    fn env(&self) -> Vec<(&'static str, String)> {
        let mut env = Vec::new();
        if !self.off.is_empty() {
            env.push(("SIM_OFF", self.off.join(",")));
        }
        env.extend(self.nodes.map(|nodes| ("SIM_NODES", nodes.to_string())));
        env.extend(self.seconds.map(|seconds| ("SIM_SECONDS", seconds.to_string())));
        env
    }
}

/// Makes the run smaller; answers whether it fails at all.
pub fn run(scenario: Scenario, seed: u64, plant: Option<&'static str>) -> anyhow::Result<bool> {
    let attempt = |smaller: &Smaller| -> anyhow::Result<Ended> {
        let mut env = smaller.env();
        env.extend(plant.map(|plant| ("SIM_PLANT", plant.to_owned())));
        let mut ended = None;
        run_all([Job { env, ..Job::new(scenario, seed) }], 1, |it| {
            ended = Some(it);
            true
        })?;
        ended.ok_or_else(|| anyhow::anyhow!("the run was not started"))
    };
    let whole = attempt(&Smaller::default())?;
    if whole.passed {
        println!("{} {seed} passes: there is nothing to make smaller", scenario.name());
        return Ok(false);
    }
    tell(&whole);
    let mut best = Smaller::default();
    let mut try_out = |smaller: Smaller, what: String| -> anyhow::Result<bool> {
        let fails = !attempt(&smaller)?.passed;
        println!("{what}: {}", if fails { "still fails" } else { "passes" });
        if fails {
            best = smaller;
        }
        Ok(fails)
    };
    let mut now = Smaller::default();
    for class in classes(&whole) {
        let mut off = now.off.clone();
        off.push(class.clone());
        let smaller = Smaller { off, ..now.clone() };
        if try_out(smaller.clone(), format!("without {class}"))? {
            now = smaller;
        }
    }
    for nodes in NODES {
        let smaller = Smaller { nodes: Some(nodes), ..now.clone() };
        if try_out(smaller.clone(), format!("with {nodes} nodes"))? {
            now = smaller;
            break;
        }
    }
    for seconds in SECONDS {
        let smaller = Smaller { seconds: Some(seconds), ..now.clone() };
        if try_out(smaller, format!("for {seconds} s"))? {
            break;
        }
    }
    tell(&attempt(&best)?);
    let mut env = best.env();
    env.extend(plant.map(|plant| ("SIM_PLANT", plant.to_owned())));
    let env: String = env.iter().map(|(name, value)| format!("{name}={value} ")).collect();
    println!("SMALLEST: {env}{}", repro(scenario, seed).trim_start_matches("REPRO: "));
    Ok(true)
}

/// The classes of faults that struck in a run.
fn classes(ended: &Ended) -> Vec<String> {
    let counts = ended.counts();
    let faults = counts.keys().filter_map(|name| name.strip_prefix("fault "));
    faults.map(kebab).chain(OTHER_CLASSES.map(str::to_owned)).collect()
}

/// `PowerCut` as it is called on the command line; what is spelled like that already stays.
fn kebab(name: &str) -> String {
    let mut spelled = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !spelled.is_empty() {
            spelled.push('-');
        }
        spelled.push(letter.to_ascii_lowercase());
    }
    spelled
}

fn tell(ended: &Ended) {
    for line in ended.output.lines().filter(|line| line.starts_with("VIOLATION")).take(3) {
        println!("{line}");
    }
}
