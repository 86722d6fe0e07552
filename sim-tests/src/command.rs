//! The command line.

mod bite;
mod campaign;
mod ci;
mod crash;
mod meta;
mod rare;
mod shrink;
mod swarm;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    process::ExitCode,
};

use atoll_node::io::{Sometimes, plant::Plant};
use clap::{Parser, Subcommand};

use crate::{
    events,
    runner::{COUNT_MARK, fix_addresses, repro},
    scenarios::{Scenario, Verdict},
    trace,
};

/// Whole nodes under simulation, with faults from one seed.
#[derive(Parser)]
#[command(name = "sim", max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Lists the scenarios.
    List,
    /// Runs one seed of a scenario, its log on standard error.
    Run {
        /// One of `sim list`.
        scenario: String,
        /// What everything is drawn from.
        seed: u64,
        /// Prints the trace on standard output.
        #[arg(long)]
        trace: bool,
    },
    /// Runs many seeds, one process each.
    Campaign {
        /// One of `sim list`.
        scenario: String,
        /// How many seeds.
        count: u64,
        /// The first one.
        #[arg(long, default_value_t = 0)]
        from: u64,
        /// Processes at a time.
        #[arg(long, default_value_t = 2)]
        jobs: usize,
    },
    /// Cuts a story, or all of them, at every disk operation.
    Crash {
        /// One of `sim list`, or `all`.
        story: String,
        /// Only every so manieth case.
        #[arg(long, default_value_t = 1)]
        stride: u64,
        /// Which sizes and bytes.
        #[arg(long, default_value_t = 0)]
        variant: u64,
        /// Processes at a time.
        #[arg(long, default_value_t = 2)]
        jobs: usize,
    },
    /// Runs each seed twice, in two processes: the traces must be identical.
    Meta {
        /// How many seeds.
        count: u64,
        /// Processes at a time.
        #[arg(long, default_value_t = 2)]
        jobs: usize,
    },
    /// Runs many seeds, in turn of every scenario that draws everything.
    Swarm {
        /// How many seeds.
        count: u64,
        /// The first one.
        #[arg(long, default_value_t = 0)]
        from: u64,
        /// Processes at a time.
        #[arg(long, default_value_t = 2)]
        jobs: usize,
    },
    /// Makes a run that fails smaller: fewer classes of faults, fewer nodes, less time.
    Shrink {
        /// One of `sim list`.
        scenario: String,
        /// The seed that fails.
        seed: u64,
        /// A bug to plant.
        #[arg(long)]
        plant: Option<String>,
    },
    /// Plants known bugs: each must be caught.
    Bite {
        /// Which; all of them when none is named.
        plants: Vec<String>,
        /// At most so many seeds for each.
        #[arg(long, default_value_t = 1_000)]
        seeds: u64,
        /// The first seed.
        #[arg(long, default_value_t = 0)]
        from: u64,
        /// Processes at a time.
        #[arg(long, default_value_t = 2)]
        jobs: usize,
    },
    /// The fixed set that every change is tested with.
    Ci {
        /// Processes at a time.
        #[arg(long, default_value_t = 2)]
        jobs: usize,
    },
}

/// Runs what the command line asks for.
pub fn run() -> ExitCode {
    let passed = match Arguments::parse().command {
        Command::List => list(),
        Command::Run { scenario, seed, trace } => named(&scenario).and_then(|scenario| {
            fix_addresses()?;
            Ok(run_one(scenario, seed, trace))
        }),
        Command::Campaign { scenario, count, from, jobs } => {
            named(&scenario).and_then(|scenario| campaign::run(scenario, from, count, jobs))
        }
        Command::Crash { story, stride, variant, jobs } => {
            crash::run(&story, stride, variant, jobs)
        }
        Command::Meta { count, jobs } => meta::run(count, jobs),
        Command::Swarm { count, from, jobs } => swarm::run(from, count, jobs),
        Command::Shrink { scenario, seed, plant } => named(&scenario).and_then(|scenario| {
            shrink::run(scenario, seed, plant.as_deref().map(plant_named).transpose()?)
        }),
        Command::Bite { plants, seeds, from, jobs } => {
            bite::run(&bite::Bite { plants, seeds_max: seeds, from, jobs })
        }
        Command::Ci { jobs } => ci::run(jobs),
    };
    match passed {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("sim: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn named(name: &str) -> anyhow::Result<Scenario> {
    Scenario::named(name).ok_or_else(|| anyhow::anyhow!("no scenario `{name}`; see `sim list`"))
}

fn plant_named(name: &str) -> anyhow::Result<&'static str> {
    let plant = Plant::named(name).ok_or_else(|| anyhow::anyhow!("no bug is called `{name}`"))?;
    Ok(plant.name())
}

fn list() -> anyhow::Result<bool> {
    for scenario in Scenario::all() {
        println!("{:<16} {}", scenario.name(), scenario.about());
    }
    Ok(true)
}

/// A panic anywhere in the simulation ends it, and is a failure like any other.
fn run_one(scenario: Scenario, seed: u64, with_trace: bool) -> bool {
    events::install();
    if with_trace {
        trace::tell_disks();
    }
    let verdict = catch_unwind(AssertUnwindSafe(|| scenario.run(seed))).unwrap_or_else(|_| {
        let violations = vec!["a task panicked; its message is above".to_owned()];
        Verdict { violations, ..Verdict::default() }
    });
    if with_trace {
        trace::lines().iter().for_each(|line| println!("{line}"));
    }
    for (name, count) in &verdict.counts {
        println!("{COUNT_MARK}{name}={count}");
    }
    for point in Sometimes::all_reached() {
        println!("{COUNT_MARK}{}{}=1", rare::MARK, point.name());
    }
    if verdict.violations.is_empty() {
        println!("PASS {} {seed}", scenario.name());
        return true;
    }
    for violation in &verdict.violations {
        println!("VIOLATION {violation}");
    }
    println!("{}", repro(scenario, seed));
    false
}
