//! `atoll`: the command line, for who uses a registry and for who runs one.
//!
//! `atoll pull`, `push`, `copy` and so on deal with images; they go by the library, straight to the
//! nodes that own what is asked for. Exit codes: 0 done; 1 failed; 2 the call is wrong; 3 not found;
//! 4 not authorised; 5 nobody reachable; 6 content is not what it should be.
//!
//! `atoll ctl …` asks a node's admin listener, any node's: what one node is told, the cluster agrees
//! on. The tool decides nothing; it asks, shows, and waits. Exit codes: 0 done; 1 refused, failed, or
//! not finished in time; 2 the call is wrong, so that trying again without a change is useless; 3 the
//! admin listener cannot be reached; 4 `status --check` found the cluster not well.
//!
//! `atoll agent …` is a registry on loopback for the programs of this machine.
#![forbid(unsafe_code)]

mod admin;
mod agent;
mod cli;
mod ctl;
mod human;
mod images;
mod problem;
mod render;
mod table;
mod watch;

use std::{io::Write, process::ExitCode};

use clap::Parser as _;

use problem::Problem;

fn main() -> ExitCode {
    let call = cli::Cli::parse();
    images::set_colour(call.color);
    // Several threads: one layer is hashed and written while another one arrives.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    match call.command {
        cli::Command::Ctl(call) => end_of_ctl(runtime.block_on(ctl::run(call))),
        cli::Command::Images(command) => {
            let result = runtime.block_on(images::run(command));
            // Before the end is told: what was not finished takes its temporary files with it.
            drop(runtime);
            end(result)
        }
        cli::Command::Agent(call) => agent::main(call, &runtime),
    }
}

fn end_of_ctl(result: Result<(), Problem>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            // A diagnosis that cannot be written cannot be complained about either.
            let _ = problem.write(&mut std::io::stderr().lock());
            ExitCode::from(problem.exit_code())
        }
    }
}

fn end(result: Result<(), images::Failure>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            images::complain(&failure);
            ExitCode::from(failure.exit_code())
        }
    }
}

/// As [`print`], for the commands that deal with images.
fn print_text(text: &str) -> Result<(), images::Failure> {
    print(text).map_err(|_| images::Failure::failed("cannot write to standard output"))
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
