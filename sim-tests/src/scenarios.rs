//! The scenarios by name.

pub mod cluster;
pub mod crash;
pub mod figure12;
pub mod mixed;
pub mod story;

use std::collections::BTreeMap;

use atoll_node::io::Sometimes;
use madsim::runtime::Runtime;

use crate::{cluster::host, nemesis::Fault, runner::SIMULATED, trace};
use story::Story;

/// What one run came to.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// What is broken; nothing, when the run passed.
    pub violations: Vec<String>,
    /// Figures of the run, for the sums of a campaign.
    pub counts: BTreeMap<String, u64>,
}

/// A scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// A power cut at one operation of a story; the seed says at which.
    Crash(Story),
    /// Random clients under random faults.
    Mixed,
    /// Random clients of a cluster under random faults.
    Cluster,
    /// The paper's Figure 12: one of five is killed under load and comes back.
    Figure12,
    /// Random clients, failed syncs, and a restart that does not reboot the machine. Not survived
    /// yet: kept to be run by whoever mends that, and no part of `sim ci`.
    FailedSync,
}

impl Scenario {
    /// All of them.
    pub fn all() -> Vec<Scenario> {
        let stories = Story::ALL.into_iter().map(Scenario::Crash);
        stories
            .chain([Scenario::Mixed, Scenario::Cluster, Scenario::Figure12, Scenario::FailedSync])
            .collect()
    }

    /// Those that draw everything from the seed.
    pub const SWARM: [Scenario; 2] = [Scenario::Cluster, Scenario::Mixed];

    /// Must enough seeds of it take this path?
    pub fn takes(self, point: Sometimes) -> bool {
        use Sometimes::{DiskFull, Quarantined, UploadRestored};
        match self {
            Scenario::Mixed => matches!(point, DiskFull | Quarantined | UploadRestored),
            Scenario::Cluster => !matches!(point, DiskFull | UploadRestored),
            Scenario::Crash(_) | Scenario::Figure12 | Scenario::FailedSync => false,
        }
    }

    /// What it is called on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Scenario::Crash(story) => story.name(),
            Scenario::Mixed => "mixed",
            Scenario::Cluster => "cluster",
            Scenario::Figure12 => "figure12",
            Scenario::FailedSync => "failed-sync",
        }
    }

    /// What it does, in a line.
    pub fn about(self) -> &'static str {
        match self {
            Scenario::Crash(story) => story.about(),
            Scenario::Mixed => "random clients, random faults, then everything is looked for",
            Scenario::Cluster => {
                "3 to 7 nodes, clients at all, several faults of any class at a time"
            }
            Scenario::Figure12 => "five nodes, one is killed under load and comes back",
            Scenario::FailedSync => "(not survived yet) failed syncs, a restart, later a power cut",
        }
    }

    /// The scenario of that name.
    pub fn named(name: &str) -> Option<Scenario> {
        Scenario::all().into_iter().find(|scenario| scenario.name() == name)
    }

    /// Runs it. Once per process: a seed means the same only in a fresh one.
    pub fn run(self, seed: u64) -> Verdict {
        let runtime_seed = match self {
            Scenario::Crash(_) => seed / crash::CASES,
            Scenario::Mixed | Scenario::Cluster | Scenario::Figure12 | Scenario::FailedSync => seed,
        };
        let runtime = Runtime::with_seed_and_config(runtime_seed, madsim::Config::default());
        runtime.block_on(async move {
            trace::start();
            // Scenarios run on a machine of their own: it is the clients' address.
            let clients = host("clients", [10, 0, 1, 1].into());
            let scenario = clients.spawn(async move {
                match self {
                    Scenario::Crash(story) => crash::run(story, seed).await,
                    Scenario::Mixed => mixed::run(seed, None).await,
                    Scenario::Cluster => cluster::run(seed).await,
                    Scenario::Figure12 => figure12::run(seed).await,
                    Scenario::FailedSync => mixed::run(seed, Some(Fault::FailedSync)).await,
                }
            });
            let mut verdict = scenario.await.unwrap_or_else(|error| Verdict {
                violations: vec![format!("the scenario ended early: {error}")],
                ..Verdict::default()
            });
            verdict.counts.insert(SIMULATED.to_owned(), trace::elapsed_millis());
            verdict
        })
    }
}
