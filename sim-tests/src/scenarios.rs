//! The scenarios by name.

pub mod cluster;
pub mod crash;
pub mod fence;
pub mod figure12;
pub mod gc_race;
pub mod laggard;
pub mod mixed;
pub mod outage;
pub mod relay;
pub mod story;

use std::collections::BTreeMap;

use atoll_node::io::Sometimes;
use madsim::runtime::Runtime;

use crate::{cluster::host, runner::SIMULATED, trace};
use outage::Outage;
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
    /// A power cut of one machine of a cluster; the seed says when.
    Outage(Outage),
    /// Random clients under random faults.
    Mixed,
    /// Random clients of a cluster, under every class of faults.
    Cluster,
    /// The paper's Figure 12: one of five is killed under load and comes back.
    Figure12,
    /// Nodes that are cut off or frozen.
    Fence,
    /// Long pulls while owners die.
    Relay,
    /// Pushes at a node that hears of new views late.
    Laggard,
    /// Blobs that are needed again while they are collected.
    GcRace,
}

impl Scenario {
    /// All of them.
    pub fn all() -> Vec<Scenario> {
        let stories = Story::ALL.into_iter().map(Scenario::Crash);
        let stories = stories.chain(Outage::ALL.into_iter().map(Scenario::Outage));
        stories
            .chain([
                Scenario::Mixed,
                Scenario::Cluster,
                Scenario::Figure12,
                Scenario::Fence,
                Scenario::Relay,
                Scenario::Laggard,
                Scenario::GcRace,
            ])
            .collect()
    }

    /// Those that draw everything from the seed.
    pub const SWARM: [Scenario; 6] = [
        Scenario::Cluster,
        Scenario::Mixed,
        Scenario::Fence,
        Scenario::Relay,
        Scenario::Laggard,
        Scenario::GcRace,
    ];

    /// Must enough seeds of it take this path?
    pub fn takes(self, point: Sometimes) -> bool {
        use Sometimes::{
            Collected, CollectionSpared, DiskFull, OpenSetConsulted, Quarantined, ResumedMidBody,
            Reverified, RoundSettled, UploadRestored,
        };
        match self {
            Scenario::Mixed => matches!(point, DiskFull | Quarantined | UploadRestored),
            Scenario::Cluster => {
                !matches!(point, DiskFull | OpenSetConsulted | ResumedMidBody | UploadRestored)
            }
            Scenario::GcRace => matches!(
                point,
                Collected | CollectionSpared | OpenSetConsulted | Reverified | RoundSettled
            ),
            Scenario::Relay => matches!(point, ResumedMidBody),
            Scenario::Figure12 | Scenario::Fence | Scenario::Laggard => false,
            Scenario::Crash(_) | Scenario::Outage(_) => false,
        }
    }

    /// What it is called on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Scenario::Crash(story) => story.name(),
            Scenario::Outage(outage) => outage.name(),
            Scenario::Mixed => "mixed",
            Scenario::Cluster => "cluster",
            Scenario::Figure12 => "figure12",
            Scenario::Fence => "fence",
            Scenario::Relay => "relay",
            Scenario::Laggard => "laggard",
            Scenario::GcRace => "gc-race",
        }
    }

    /// What it does, in a line.
    pub fn about(self) -> &'static str {
        match self {
            Scenario::Crash(story) => story.about(),
            Scenario::Outage(outage) => outage.about(),
            Scenario::Mixed => "random clients, random faults, then everything is looked for",
            Scenario::Cluster => "3 to 7 nodes, clients at all of them, every class of faults",
            Scenario::Figure12 => "five nodes, one is killed under load and comes back",
            Scenario::Fence => "nodes cut off or frozen: no lease outlasts its session",
            Scenario::Relay => "long pulls through nodes without a copy, while owners die",
            Scenario::Laggard => "pushes at a node that hears late of a ring that changes",
            Scenario::GcRace => "blobs that are needed again while they are collected",
        }
    }

    /// The scenario of that name.
    pub fn named(name: &str) -> Option<Scenario> {
        Scenario::all().into_iter().find(|scenario| scenario.name() == name)
    }

    /// Runs it. Once per process: a seed means the same only in a fresh one.
    pub fn run(self, seed: u64) -> Verdict {
        let runtime_seed = match self {
            Scenario::Crash(_) | Scenario::Outage(_) => seed / crash::CASES,
            Scenario::Mixed
            | Scenario::Cluster
            | Scenario::Figure12
            | Scenario::Fence
            | Scenario::Relay
            | Scenario::Laggard
            | Scenario::GcRace => seed,
        };
        let runtime = Runtime::with_seed_and_config(runtime_seed, madsim::Config::default());
        runtime.block_on(async move {
            trace::start();
            // Scenarios run on a machine of their own: it is the clients' address.
            let clients = host("clients", [10, 0, 1, 1].into());
            let scenario = clients.spawn(async move {
                match self {
                    Scenario::Crash(story) => crash::run(story, seed).await,
                    Scenario::Outage(outage) => outage::run(outage, seed).await,
                    Scenario::Mixed => mixed::run(seed).await,
                    Scenario::Cluster => cluster::run(seed).await,
                    Scenario::Figure12 => figure12::run(seed).await,
                    Scenario::Fence => fence::run(seed).await,
                    Scenario::Relay => relay::run(seed).await,
                    Scenario::Laggard => laggard::run(seed).await,
                    Scenario::GcRace => gc_race::run(seed).await,
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
