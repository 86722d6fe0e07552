//! Atoll, distribution and nginx, side by side in one run on one machine.
//!
//! For each cell (operation, size, connections) the servers take turns, round after round, and
//! each figure is the median of its rounds: a disturbance hits all of them or is outvoted. Nothing
//! else runs on the servers' side while one is measured.

// A measuring program: its processes, files and time are the real ones, on purpose.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

mod bars;
mod content;
mod histogram;
mod http1;
mod load;
mod mix;
mod procfs;
mod pulls;
mod report;
mod servers;
mod suite;

use anyhow::Context;
use clap::Parser;
use std::{path::PathBuf, process::ExitCode};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// Compares Atoll with distribution and nginx. Without --get, --push or --pulls: all of them.
#[derive(Parser)]
#[command(name = "atoll-bench", args_override_self = true)]
pub struct Options {
    /// One row of a comparison of whole installations
    #[command(subcommand)]
    row: Option<RowKind>,
    /// Sizes to GET, bytes [default when everything is measured: 1024,65536,1048576,67108864]
    #[arg(long, value_delimiter = ',')]
    get: Option<Vec<u64>>,
    /// Sizes to push, bytes [default when everything is measured: 65536,1048576,67108864]
    #[arg(long, value_delimiter = ',')]
    push: Option<Vec<u64>>,
    /// Parallel slow pulls for the memory figure [default when everything is measured: 1000]
    #[arg(long)]
    pulls: Option<usize>,
    /// Connections
    #[arg(long, value_delimiter = ',', default_value = "1,16,128")]
    connections: Vec<usize>,
    /// Servers
    #[arg(long, value_enum, value_delimiter = ',', default_value = "atoll,distribution,nginx")]
    servers: Vec<servers::Kind>,
    /// Length of each window, seconds
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Rounds of each cell
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Threads of the load generator
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Blob of the slow pulls, bytes
    #[arg(long, default_value_t = 64 * MIB)]
    pull_size: u64,
    /// Rate at which each slow pull reads, bytes per second
    #[arg(long, default_value_t = MIB)]
    pull_rate: u64,
    /// The node's binary
    #[arg(long, env = "ATOLLD", default_value = "target/release/atolld")]
    atolld: PathBuf,
    /// Directory for the servers' data: all on one file system, emptied afterwards
    #[arg(long, default_value = "target/bench-data")]
    directory: PathBuf,
    /// First port; each server has ten of its own
    #[arg(long, default_value_t = 15000)]
    port: u16,
    /// Where every figure of every run is written, as JSON
    #[arg(long, default_value = "target/bench.json")]
    json: PathBuf,
}

/// What is measured instead of the cells.
#[derive(clap::Subcommand)]
enum RowKind {
    /// Many objects from several servers that run already; the row is printed as JSON
    Mix(mix::Options),
}

impl Options {
    /// Nothing chosen means everything.
    fn fill_defaults(&mut self) {
        if self.get.is_none() && self.push.is_none() && self.pulls.is_none() {
            self.get = Some(vec![KIB, 64 * KIB, MIB, 64 * MIB]);
            self.push = Some(vec![64 * KIB, MIB, 64 * MIB]);
            self.pulls = Some(1000);
        }
    }
}

fn main() -> anyhow::Result<ExitCode> {
    let mut options = Options::parse();
    if let Some(RowKind::Mix(options)) = &options.row {
        println!("{}", serde_json::to_string(&mix::run(options)?)?);
        return Ok(ExitCode::SUCCESS);
    }
    options.fill_defaults();
    let report = suite::run(&options)?;
    std::fs::write(&options.json, serde_json::to_vec_pretty(&report)?)
        .with_context(|| format!("write {}", options.json.display()))?;
    println!("{}", report.markdown());
    let missed = report.missed();
    println!("{missed} bars missed or cells failed; every run is in {}", options.json.display());
    Ok(if missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
