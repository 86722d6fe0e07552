//! `atolld dev`: nodes on this machine, with one command and nothing to configure.
//!
//! Each node is a child process of the same binary with a configuration file of its own, so that
//! what is tried here is what runs elsewhere: it can be looked at, killed and started again like
//! any node. The parent only writes files, waits, and stops its children.
//!
//! ```text
//! DIR/dev.json               the running nodes, for scripts; there from the moment all are ready
//! DIR/join-token             lets the later nodes join the first
//! DIR/node1/atolld.toml      configuration, written anew at each start
//! DIR/node1/atolld.log       standard error of the node, appended to
//! DIR/node1/data/            its data folder
//! ```

pub mod child;
pub mod plan;

mod probe;

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use child::{Child, Ended};
use plan::NodePlan;

use super::{cli, shutdown::Shutdown};
use crate::config::ConfigErrors;

/// How often children are looked after.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// How long all nodes may take until they are ready. Recovery of a large folder takes a while; a
/// node that hangs should still be told.
const READY_DEADLINE: Duration = Duration::from_secs(120);

/// How much longer than its own drain a node may take to end, before it is killed.
const STOP_MARGIN: Duration = Duration::from_secs(10);

/// Options of `atolld dev`.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Number of nodes
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=100))]
    pub nodes: u16,
    /// Folder for everything the nodes keep
    #[arg(long, value_name = "DIR", default_value = "data/dev")]
    pub data_dir: PathBuf,
    /// Port of the first node's registry; it also takes the two ports after it, and node k takes
    /// those 10·(k-1) higher
    #[arg(long, default_value_t = 5000, value_parser = clap::value_parser!(u16).range(1..))]
    pub port: u16,
}

/// Why `atolld dev` ends other than by being asked to.
#[derive(Debug, thiserror::Error)]
pub enum DevError {
    /// The call is wrong.
    #[error("{0}")]
    Call(String),
    /// A variable of the environment is wrong.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// A port is taken.
    #[error(
        "{id} cannot listen on {address} ({listener}): {error}; stop what uses it, or choose \
         another port with --port"
    )]
    Port {
        /// The node.
        id: String,
        /// Which of its listeners.
        listener: &'static str,
        /// The address.
        address: std::net::SocketAddr,
        /// What the system said.
        error: io::Error,
    },
    /// A node ended by itself.
    #[error("{id} ended ({status}); its log is {}\n{tail}", log.display())]
    Ended {
        /// The node.
        id: String,
        /// How.
        status: std::process::ExitStatus,
        /// Its log.
        log: PathBuf,
        /// The last lines of it.
        tail: String,
    },
    /// The nodes did not become ready.
    #[error("{id} is not ready after {}s; its log is {}", READY_DEADLINE.as_secs(), log.display())]
    NotReady {
        /// The first node that is not.
        id: String,
        /// Its log.
        log: PathBuf,
    },
    /// A file or a process.
    #[error("cannot {action}: {error}")]
    System {
        /// What was tried.
        action: String,
        /// What the system said.
        error: io::Error,
    },
}

/// Names what was tried when the system refused it.
pub(super) fn system(action: impl Into<String>) -> impl FnOnce(io::Error) -> DevError {
    let action = action.into();
    move |error| DevError::System { action, error }
}

/// Runs `atolld dev`.
pub fn main(options: &Options) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return cli::fail(&format!("cannot start: {error}")),
    };
    match runtime.block_on(run(options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(DevError::Call(message)) => cli::refuse_call(&message),
        Err(DevError::Config(errors)) => cli::refuse(&errors),
        Err(error) => cli::fail(&error.to_string()),
    }
}

async fn run(options: &Options) -> Result<(), DevError> {
    let shutdown = Shutdown::on_signals().map_err(system("listen for signals"))?;
    let plans = plan::plan(options)?;
    let summary = plans[0].summary_path();
    child::remove_file(&summary)?;
    for plan in &plans {
        plan.check_ports()?;
    }
    let mut children = Vec::new();
    let result = supervise(&plans, &mut children, &summary, &shutdown).await;
    stop(&plans, &mut children, &shutdown).await;
    child::remove_file(&summary)?;
    result
}

/// Starts the children and looks after them until a stop is asked for.
async fn supervise(
    plans: &[NodePlan],
    children: &mut Vec<Child>,
    summary: &Path,
    shutdown: &Shutdown,
) -> Result<(), DevError> {
    let begun = tokio::time::Instant::now();
    let mut waiting: Vec<&NodePlan> = plans.iter().collect();
    let mut lost = BTreeSet::new();
    while !shutdown.is_requested() {
        start_next(plans, children).await?;
        // A cluster that stands goes on without a node; one that is being set up cannot.
        still_running(plans, children, waiting.is_empty().then_some(&mut lost))?;
        if let Some(plan) = waiting.first() {
            if is_ready(plan, plans.len()).await {
                waiting.remove(0);
            } else if begun.elapsed() > READY_DEADLINE {
                return Err(DevError::NotReady { id: plan.id(), log: plan.log_path() });
            }
            if waiting.is_empty() {
                let pids: Vec<u32> = children.iter().map(Child::pid).collect();
                child::write_file(summary, &plan::summary(plans, &pids))?;
                cli::print(&plan::welcome(plans, &pids));
            }
        }
        tokio::select! {
            biased;
            () = shutdown.requested() => {}
            () = tokio::time::sleep(LOOK_INTERVAL) => {}
        }
    }
    Ok(())
}

/// Starts the nodes: all at once, but for new ones, which join one after the other, so that the
/// cluster numbers them as their names do.
async fn start_next(plans: &[NodePlan], children: &mut Vec<Child>) -> Result<(), DevError> {
    while let Some(plan) = plans.get(children.len()) {
        if let Some(before) = children.len().checked_sub(1)
            && !plan.has_data()
            && !probe::is_ready(plans[before].admin()).await
        {
            return Ok(());
        }
        children.push(Child::start(plan)?);
    }
    Ok(())
}

/// Is the node ready, and are all of them in the ring as it sees it?
async fn is_ready(plan: &NodePlan, nodes: usize) -> bool {
    probe::is_ready(plan.admin()).await
        && probe::members_in_ring(plan.http()).await.is_some_and(|members| members >= nodes)
}

/// Looks after the nodes. The first that has ended is an error, unless there are `lost` ones to put it
/// with and others that go on.
fn still_running(
    plans: &[NodePlan],
    children: &mut [Child],
    mut lost: Option<&mut BTreeSet<String>>,
) -> Result<(), DevError> {
    let anybody = children.iter_mut().any(Child::is_running);
    for (plan, child) in plans.iter().zip(children) {
        let Some(Ended { status, tail }) = child.ended()? else { continue };
        let (id, log) = (plan.id(), plan.log_path());
        match &mut lost {
            Some(lost) if anybody => {
                if lost.insert(id.clone()) {
                    let config = plan.config_path();
                    let (log, config) = (log.display(), config.display());
                    eprintln!(
                        "{id} ended ({status}); the others go on. Its log is {log}\n\
                         Start it again with: atolld serve --config {config}"
                    );
                }
            }
            _ => return Err(DevError::Ended { id, status, log, tail }),
        }
    }
    Ok(())
}

/// Asks every child to stop, and kills those that take too long.
async fn stop(plans: &[NodePlan], children: &mut [Child], shutdown: &Shutdown) {
    for child in children.iter_mut() {
        child.terminate();
    }
    let drain = plans.iter().map(NodePlan::drain_timeout).max().unwrap_or_default();
    let deadline = tokio::time::Instant::now() + drain + STOP_MARGIN;
    while children.iter_mut().any(Child::is_running) {
        tokio::select! {
            biased;
            () = shutdown.requested_now() => break,
            () = tokio::time::sleep_until(deadline) => break,
            () = tokio::time::sleep(LOOK_INTERVAL) => {}
        }
    }
    for child in children.iter_mut().filter_map(Child::kill) {
        eprintln!("killed process {child}, which did not stop in time");
    }
}
