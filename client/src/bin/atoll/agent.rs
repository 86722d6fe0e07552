//! `atoll agent`: the words of its command line, and what each of them starts.

use std::{
    io::{IsTerminal as _, Write as _},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use atoll_client::{
    Client, Seed,
    agent::{
        api::Nodes,
        cache::Cache,
        config::{Config, Settings},
        connections::Connections,
        doctor,
        install::{Program, Root, Wish},
        namespace::Names,
        placement::{Placement as _, Ring},
        server::Server,
        upstream::Upstream,
    },
};
use clap::{Args, Subcommand};
use tokio::runtime::Runtime;
use tracing::info;

use crate::problem::Problem;

/// How long the first look at the cluster may take; an agent also starts without.
const FIRST_LOOK: Duration = Duration::from_secs(2);

#[derive(Debug, Args)]
pub struct Agent {
    #[command(subcommand)]
    command: AgentCommand,
}

#[derive(Debug, Subcommand)]
enum AgentCommand {
    /// Serve docker, containerd and podman of this machine
    Run(RunOptions),
    /// Tell docker, containerd or podman of the agent
    Install(InstallOptions),
    /// Put every file back as it was
    Uninstall(UninstallOptions),
    /// Find out why pulls do not go through the agent
    Doctor(DoctorOptions),
}

#[derive(Debug, Args)]
struct Told {
    /// Nodes of the registry to start from
    #[arg(long, env = "ATOLL_AGENT_REGISTRY", value_name = "HOST:PORT", value_delimiter = ',')]
    registry: Option<Vec<String>>,
    /// Further names of the registry in image names
    #[arg(
        long = "name",
        env = "ATOLL_AGENT_NAMES",
        value_name = "HOST:PORT",
        value_delimiter = ','
    )]
    names: Option<Vec<String>>,
    /// The nodes speak plain HTTP (on loopback they always do)
    #[arg(long, env = "ATOLL_AGENT_PLAIN_HTTP")]
    plain_http: bool,
    /// Certificates to trust beside those of the system, PEM
    #[arg(long, env = "ATOLL_AGENT_CA_FILES", value_name = "FILE", value_delimiter = ',')]
    ca_file: Option<Vec<PathBuf>>,
    /// Where the agent listens, on loopback
    #[arg(long, env = "ATOLL_AGENT_LISTEN", value_name = "ADDR")]
    listen: Option<String>,
    /// Folder of the cache
    #[arg(long, env = "ATOLL_AGENT_CACHE_DIR", value_name = "DIR")]
    cache_dir: Option<PathBuf>,
    /// How much the cache may hold, such as 10GiB
    #[arg(long, env = "ATOLL_AGENT_CACHE_BYTES", value_name = "SIZE")]
    cache_bytes: Option<String>,
    /// Configuration file [default: /etc/atoll/agent.toml, if it is there]
    #[arg(long, env = "ATOLL_AGENT_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct RunOptions {
    #[command(flatten)]
    told: Told,
    /// What is logged, such as info or atoll_client=debug
    #[arg(long, env = "ATOLL_AGENT_LOG", value_name = "FILTER", default_value = "info")]
    log: String,
}

#[derive(Debug, Args)]
struct Programs {
    /// docker
    #[arg(long)]
    docker: bool,
    /// containerd, also under Kubernetes
    #[arg(long)]
    containerd: bool,
    /// podman, buildah, skopeo, CRI-O
    #[arg(long)]
    podman: bool,
    /// Folder that stands for /
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
}

#[derive(Debug, Args)]
struct InstallOptions {
    #[command(flatten)]
    programs: Programs,
    #[command(flatten)]
    told: Told,
    /// Only show what would change
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Args)]
struct UninstallOptions {
    #[command(flatten)]
    programs: Programs,
    /// Also put files back that were changed since; those changes are lost
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Args)]
struct DoctorOptions {
    #[command(flatten)]
    told: Told,
    /// Folder that stands for /
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
}

/// Runs one call to its end.
pub fn main(agent: Agent, runtime: &Runtime) -> ExitCode {
    let result = match agent.command {
        AgentCommand::Run(options) => run(options, runtime),
        AgentCommand::Install(options) => install(options),
        AgentCommand::Uninstall(options) => uninstall(options),
        AgentCommand::Doctor(options) => examine(options, runtime),
    };
    match result {
        Ok(code) => code,
        Err(problem) => {
            // A diagnosis that cannot be written cannot be complained about either.
            let _ = problem.write(&mut std::io::stderr().lock());
            ExitCode::from(problem.exit_code())
        }
    }
}

impl Told {
    fn config(self) -> Result<Config, Problem> {
        let call = |error: &dyn std::fmt::Display| Problem::Call(error.to_string());
        let file = Settings::load(self.config.as_deref()).map_err(|error| call(&error))?;
        let line = Settings {
            registry: self.registry,
            names: self.names,
            plain_http: self.plain_http.then_some(true),
            ca_files: self.ca_file,
            listen: self.listen,
            cache_dir: self.cache_dir,
            cache_bytes: self.cache_bytes,
        };
        line.over(file).check(usual_cache_dir).map_err(|error| call(&error))
    }
}

/// The folder systemd made, else the user's own.
fn usual_cache_dir() -> PathBuf {
    let folder =
        |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    folder("CACHE_DIRECTORY")
        .or_else(|| folder("XDG_CACHE_HOME").map(|home| home.join("atoll-agent")))
        .or_else(|| folder("HOME").map(|home| home.join(".cache/atoll-agent")))
        .unwrap_or_else(|| PathBuf::from("/var/cache/atoll-agent"))
}

impl Programs {
    fn chosen(&self) -> Vec<Program> {
        let all = [
            (self.docker, Program::Docker),
            (self.containerd, Program::Containerd),
            (self.podman, Program::Podman),
        ];
        all.into_iter().filter_map(|(chosen, program)| chosen.then_some(program)).collect()
    }
}

fn failed(error: impl std::fmt::Display) -> Problem {
    Problem::Failed(error.to_string())
}

fn run(options: RunOptions, runtime: &Runtime) -> Result<ExitCode, Problem> {
    let filter = tracing_subscriber::EnvFilter::try_new(&options.log)
        .map_err(|error| Problem::Call(format!("--log: {error}")))?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
    let config = options.told.config()?;
    runtime.block_on(serve(config))
}

async fn serve(config: Config) -> Result<ExitCode, Problem> {
    let seeds = config.registry.iter().cloned().map(Seed::Node).collect();
    let client = Client::builder(seeds).tls(config.tls.clone()).build().map_err(failed)?;
    let ring = Ring::new(client, config.registry.clone());
    // It is looked again as soon as it listens.
    let _ = tokio::time::timeout(FIRST_LOOK, ring.refresh()).await;
    let upstream = Upstream::new(Connections::new(&config.tls).map_err(failed)?);
    let nodes = Nodes { placement: Arc::new(ring), upstream };
    let cache = Cache::open(&config.cache_dir, config.cache_bytes).await.map_err(|error| {
        failed(format_args!("cannot use the cache {}: {error}", config.cache_dir.display()))
    })?;
    let names = Names::new(config.names);
    let server = Server::bind(config.listen, names, nodes, cache)
        .await
        .map_err(|error| failed(format_args!("cannot listen on {}: {error}", config.listen)))?;
    info!(listen = %config.listen, registry = ?config.registry, "agent serves");
    server.run(told_to_stop()).await;
    Ok(ExitCode::SUCCESS)
}

async fn told_to_stop() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        // Without signals it is stopped by force only.
        return std::future::pending().await;
    };
    tokio::select! {
        biased;
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

fn print(text: &str) -> Result<(), Problem> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(failed(error)),
        _ => Ok(()),
    }
}

fn install(options: InstallOptions) -> Result<ExitCode, Problem> {
    let programs = options.programs.chosen();
    if programs.is_empty() {
        return Err(Problem::Call("say for whom: --docker, --containerd, --podman".to_owned()));
    }
    let config = options.told.config()?;
    let wish = Wish {
        is_plain: config.names.iter().all(|name| config.is_plain(name)),
        agent: config.listen.to_string(),
        registries: config.names,
    };
    let root = Root::new(&options.programs.root);
    let plan = root.plan(&programs, &wish).map_err(failed)?;
    let mut text = String::new();
    if options.dry_run {
        text.push_str(&root.show(&plan).map_err(failed)?);
    } else {
        for path in root.install(&plan).map_err(failed)? {
            text.push_str(&format!("wrote {}\n", root.at(&path).display()));
        }
    }
    for note in &plan.notes {
        text.push_str(&format!("{note}\n"));
    }
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn uninstall(options: UninstallOptions) -> Result<ExitCode, Problem> {
    let mut programs = options.programs.chosen();
    if programs.is_empty() {
        programs = vec![Program::Docker, Program::Containerd, Program::Podman];
    }
    let root = Root::new(&options.programs.root);
    let back = root.uninstall(&programs, options.force).map_err(failed)?;
    let lines = back.iter().map(|path| format!("put back {}\n", root.at(path).display()));
    let text: String = lines.collect();
    print(if text.is_empty() { "nothing was installed\n" } else { &text })?;
    Ok(ExitCode::SUCCESS)
}

fn examine(options: DoctorOptions, runtime: &Runtime) -> Result<ExitCode, Problem> {
    let config = options.told.config()?;
    let root = Root::new(&options.root);
    let findings = runtime.block_on(doctor::examine(&config, &root)).map_err(failed)?;
    let text: String = findings.iter().map(ToString::to_string).collect();
    print(&text)?;
    let is_well = findings.iter().all(|finding| !finding.is_bad());
    Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
