//! The simulator: `sim run SCENARIO SEED` and everything around it.
//!
//! Built without `--cfg madsim` it refuses to run: it would test nothing and look as if it had.

#[cfg(madsim)]
mod client;
#[cfg(madsim)]
mod cluster;
#[cfg(madsim)]
mod command;
#[cfg(madsim)]
mod draw;
#[cfg(madsim)]
mod events;
#[cfg(madsim)]
mod history;
#[cfg(madsim)]
mod invariants;
#[cfg(any(madsim, test))]
mod linear;
#[cfg(madsim)]
mod nemesis;
#[cfg(madsim)]
mod oracle;
#[cfg(madsim)]
mod overrides;
#[cfg(madsim)]
mod runner;
#[cfg(madsim)]
mod scenarios;
#[cfg(madsim)]
mod swarm;
#[cfg(madsim)]
mod trace;
#[cfg(madsim)]
mod workload;

use std::process::ExitCode;

/// As the node's. A fifth of a run's time went to that of the C library.
#[cfg(madsim)]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[cfg(madsim)]
fn main() -> ExitCode {
    command::run()
}

#[cfg(not(madsim))]
fn main() -> ExitCode {
    eprintln!(
        "sim: built without `--cfg madsim`, so it would simulate nothing. Use `cargo sim`; if that \
         says this too, unset RUSTFLAGS, which hides the flag from cargo."
    );
    ExitCode::from(2)
}
