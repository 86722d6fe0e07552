//! The command line of `atolld`.
//!
//! Exit codes: 0 all went well, 1 something failed while it ran, 2 the call or the configuration
//! is wrong, so that trying again without a change is useless.

use std::{
    ffi::OsString,
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use clap::{Args, Parser, Subcommand};
use tracing::{error, info, warn};

use super::{dev, node, shutdown::Shutdown};
use crate::{
    config::{Config, ConfigErrors, Loaded, render, schema},
    telemetry::{
        log,
        process::{COMMIT, VERSION},
    },
};

const FAILED: u8 = 1;
const WRONG_CALL: u8 = 2;

/// How long blocking work may take after the node has stopped, before the process ends without
/// it. What was acknowledged is durable already.
const BLOCKING_WORK_DEADLINE: Duration = Duration::from_secs(5);

/// A container registry whose nodes are their own storage cluster.
#[derive(Debug, Parser)]
#[command(name = "atolld", version = VERSION, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run one node
    Serve(Serve),
    /// Run nodes on this machine, to try Atoll or to develop against it
    Dev(dev::Options),
    /// Check and explain the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print the version of this binary
    Version,
}

#[derive(Debug, Args)]
struct Serve {
    #[command(flatten)]
    file: ConfigFile,
    /// A member of the cluster to enter at the first start; may be given more than once
    #[arg(long, value_name = "HOST:PORT")]
    join: Vec<String>,
    /// The token for that; better in ATOLL__CLUSTER__TOKEN or a file, where no list of processes
    /// shows it
    #[arg(long, value_name = "TOKEN")]
    token: Option<String>,
    /// Stop when the process with this id, which must be the parent, is gone
    #[arg(long, hide = true, value_name = "PID")]
    parent: Option<i32>,
}

impl Serve {
    /// The environment with what the command line says in its place.
    fn variables(
        &self,
        environment: impl Iterator<Item = (OsString, OsString)>,
    ) -> impl Iterator<Item = (OsString, OsString)> {
        let join = (!self.join.is_empty()).then(|| (JOIN_VARIABLE, self.join.join(",")));
        let token = self.token.clone().map(|token| (TOKEN_VARIABLE, token));
        let given: Vec<_> = join.into_iter().chain(token).collect();
        let names: Vec<_> = given.iter().map(|(name, _)| *name).collect();
        environment
            .filter(move |(name, _)| !names.iter().any(|given| name == given))
            .chain(given.into_iter().map(|(name, value)| (name.into(), value.into())))
    }
}

/// The variables that `--join` and `--token` stand for.
const JOIN_VARIABLE: &str = "ATOLL__CLUSTER__JOIN";
const TOKEN_VARIABLE: &str = "ATOLL__CLUSTER__TOKEN";

#[derive(Debug, Args)]
struct ConfigFile {
    /// The configuration file; without it the defaults and the ATOLL__… variables count
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Print OK, or everything that is wrong
    Check(ConfigFile),
    /// Print the effective configuration, and where each value came from
    Show(ConfigFile),
    /// Print the JSON Schema of the configuration file
    Schema(ConfigFile),
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Serve(options) => serve(&options),
        Command::Dev(options) => dev::main(&options),
        Command::Config(command) => config(&command),
        Command::Version => print(&version()),
    }
}

fn serve(options: &Serve) -> ExitCode {
    let file = options.file.config.as_deref();
    let loaded = match Config::load(file, options.variables(std::env::vars_os())) {
        Ok(loaded) => loaded,
        Err(errors) => return refuse(&errors),
    };
    log::start(&loaded.config.log);
    let result = runtime().and_then(|runtime| {
        let result = runtime.block_on(run(options, loaded));
        runtime.shutdown_timeout(BLOCKING_WORK_DEADLINE);
        result
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!(error = format!("{error:#}"), "node failed");
            ExitCode::from(FAILED)
        }
    }
}

async fn run(options: &Serve, loaded: Loaded) -> anyhow::Result<()> {
    if let Some(parent) = options.parent {
        dev::child::end_with_parent(parent)?;
    }
    let shutdown = Shutdown::on_signals()?;
    info!(version = VERSION, commit = COMMIT, pid = std::process::id(), "starting");
    for entry in render::overrides(&loaded.entries) {
        let value = entry.value.as_deref().unwrap_or("not set");
        info!(key = entry.path(), value, origin = %entry.origin, "configured");
    }
    raise_descriptor_limit(loaded.config.http.connections_max);
    let asked = shutdown.clone();
    tokio::select! {
        biased;
        result = node::serve(loaded.config, async move { asked.requested().await }) => result,
        () = shutdown.requested_now() => anyhow::bail!("stopped before running work had ended"),
    }
}

fn config(command: &ConfigCommand) -> ExitCode {
    let (ConfigCommand::Check(file) | ConfigCommand::Show(file) | ConfigCommand::Schema(file)) =
        command;
    if let ConfigCommand::Schema(_) = command {
        let schema = schema::schema(&Config::defaults().entries);
        return print(&format!("{schema:#}\n"));
    }
    match load(file.config.as_deref()) {
        Ok(_) if matches!(command, ConfigCommand::Check(_)) => print("OK\n"),
        Ok(loaded) => print(&render::effective(&loaded.entries)),
        Err(errors) => refuse(&errors),
    }
}

fn version() -> String {
    use std::env::consts::{ARCH, OS};
    format!("atolld {VERSION}\ncommit {COMMIT}\ntarget {ARCH}-{OS}\n")
}

fn load(file: Option<&Path>) -> Result<Loaded, ConfigErrors> {
    Config::load(file, std::env::vars_os())
}

/// Tells what is wrong with the configuration.
pub(super) fn refuse(errors: &ConfigErrors) -> ExitCode {
    eprintln!("{errors}");
    ExitCode::from(WRONG_CALL)
}

/// Tells that the call is wrong.
pub(super) fn refuse_call(message: &str) -> ExitCode {
    eprintln!("error: {message}");
    ExitCode::from(WRONG_CALL)
}

/// Tells what failed.
pub(super) fn fail(message: &str) -> ExitCode {
    eprintln!("error: {message}");
    ExitCode::from(FAILED)
}

/// Prints to standard output. A reader that has seen enough, as in `… | head`, is no failure.
pub(super) fn print(text: &str) -> ExitCode {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            fail(&format!("cannot write to standard output: {error}"))
        }
        _ => ExitCode::SUCCESS,
    }
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().thread_name("atolld").enable_all().build()?)
}

/// Lets the process open as many files as the system allows: the usual soft limit of 1024 stands
/// for programs that use `select`, not for servers.
fn raise_descriptor_limit(connections_max: usize) {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        warn!(%error, "cannot raise the limit of open files");
    }
    let Some(descriptors) = getrlimit(Resource::Nofile).current else { return };
    // One for each connection and one for the file it reads.
    if descriptors < 2 * connections_max as u64 {
        warn!(
            descriptors,
            connections_max, "the limit of open files is less than two for each connection allowed"
        );
    }
}
