//! `atoll`: the command line of Atoll's operators.
//!
//! `atoll ctl …` asks a node's admin listener, any node's: what one node is told, the cluster agrees
//! on. The tool decides nothing; it asks, shows, and waits.
//!
//! Exit codes: 0 done; 1 refused, failed, or not finished in time; 2 the call is wrong, so that trying
//! again without a change is useless; 3 the admin listener cannot be reached; 4 `status --check` found
//! the cluster not well.
#![forbid(unsafe_code)]

mod admin;
mod agent;
mod cli;
mod ctl;
mod human;
mod problem;
mod render;
mod table;
mod watch;

use std::{io::Write, process::ExitCode};

use clap::Parser as _;

use problem::Problem;

fn main() -> ExitCode {
    let call = match cli::Cli::parse() {
        cli::Cli { command: cli::Command::Agent(agent) } => return agent::main(agent),
        call => call,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(ctl::run(call)),
        Err(error) => Err(Problem::Failed(format!("cannot start: {error}"))),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            // A diagnosis that cannot be written cannot be complained about either.
            let _ = problem.write(&mut std::io::stderr().lock());
            ExitCode::from(problem.exit_code())
        }
    }
}

/// Prints to standard output. A reader that has seen enough, as in `… | head`, is no failure.
fn print(text: &str) -> Result<(), Problem> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Problem::Failed(format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}
