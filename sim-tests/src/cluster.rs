//! The machines of a simulation, and the cluster that their nodes are.
//!
//! A [`Machine`] is a disk, a clock and an address, on which node processes live and die. What
//! outlasts a process is in here; what a process holds dies with it.

pub mod fleet;
mod settings;

use std::{
    cell::RefCell,
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use atoll_core::view::View;
use atoll_node::{
    app::node::{Node, NodeSettings},
    cluster::Cluster,
    io::{
        Io,
        clock::SimClock,
        disk::sim::{Loss, SimDisk},
        entropy::SimEntropy,
        net::partition,
    },
};
use madsim::{
    runtime::{Handle, NodeHandle},
    task::NodeId,
};
use tokio::sync::Notify;

pub use self::settings::{Belonging, Rates, Tuning};
use self::settings::{address, name, settings};

/// How long the end of a process takes to reach everyone who held something of it.
const DEATH: Duration = Duration::from_millis(5);

/// How often [`Machine::wait_ready`] looks.
const LOOK: Duration = Duration::from_millis(5);

/// Where a process is in its life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// There is none.
    Off,
    /// It recovers what is on the disk.
    Starting,
    /// It serves.
    Ready,
    /// It ended in order.
    Stopped,
    /// It did not start.
    Failed(String),
}

/// A machine.
#[derive(Clone)]
pub struct Machine {
    /// Its number, from 1 on.
    pub number: u8,
    /// Where its registry is served.
    pub http: SocketAddr,
    /// Where its operators are answered.
    pub admin: SocketAddr,
    /// Its disk.
    pub device: SimDisk,
    id: NodeId,
    body: Arc<Body>,
}

struct Body {
    name: String,
    device: SimDisk,
    clock: Arc<SimClock>,
    settings: NodeSettings,
    seed: u64,
    lives: AtomicU64,
    phase: Mutex<Phase>,
    /// What the node that serves knows of its cluster.
    cluster: Mutex<Option<Cluster>>,
    stop: Notify,
}

impl Body {
    fn set(&self, phase: Phase) {
        *self.phase.lock().unwrap_or_else(PoisonError::into_inner) = phase;
    }

    fn see(&self, cluster: Option<Cluster>) {
        *self.cluster.lock().unwrap_or_else(PoisonError::into_inner) = cluster;
    }

    /// One process, from its start to its end.
    async fn live(self: Arc<Self>) {
        self.set(Phase::Starting);
        let life = self.lives.fetch_add(1, Relaxed);
        let io = Io {
            clock: self.clock.clone(),
            disk: self.device.mount(),
            entropy: Arc::new(SimEntropy::new(self.seed ^ life << 32)),
        };
        match Box::pin(Node::start(io, self.settings.clone())).await {
            Ok(node) => {
                self.see(Some(node.cluster().clone()));
                self.set(Phase::Ready);
                self.stop.notified().await;
                node.stop().await;
                self.set(Phase::Stopped);
            }
            Err(error) => {
                tracing::info!(machine = self.name, error = format!("{error:#}"), "no start");
                self.set(Phase::Failed(format!("{error:#}")));
            }
        }
    }
}

thread_local! {
    /// Who is who, for the log. One thread is one simulation.
    static NAMES: RefCell<BTreeMap<NodeId, String>> = RefCell::default();
}

/// A node of the simulated network, known to the partition table.
pub fn host(name: &str, ip: IpAddr) -> NodeHandle {
    let host = Handle::current().create_node().name(name).ip(ip).build();
    introduce(name, ip, host.id());
    host
}

fn introduce(name: &str, ip: IpAddr, id: NodeId) {
    partition::register(ip, id);
    NAMES.with(|names| names.borrow_mut().insert(id, name.to_owned()));
}

/// The name of the machine on which the caller runs.
pub fn here() -> String {
    let name = |names: &RefCell<BTreeMap<_, String>>| {
        // Before the simulation runs there is no machine.
        Handle::try_current().ok()?;
        names.borrow().get(&madsim::plugin::node()).cloned()
    };
    NAMES.with(name).unwrap_or_default()
}

impl Machine {
    /// Sets a machine up and starts its node.
    pub fn start(number: u8, device: SimDisk, tuning: &Tuning, seed: u64) -> Machine {
        Machine::begin(number, device, settings(number, tuning, None), seed)
    }

    /// Sets a machine up whose node belongs to a cluster of several.
    pub fn member(
        number: u8,
        device: SimDisk,
        tuning: &Tuning,
        belonging: &Belonging,
        seed: u64,
    ) -> Machine {
        let settings = settings(number, tuning, Some(belonging));
        Machine::begin(number, device, settings, seed ^ u64::from(number) << 56)
    }

    fn begin(number: u8, device: SimDisk, settings: NodeSettings, seed: u64) -> Machine {
        let ip = address(number);
        let body = Arc::new(Body {
            name: name(number),
            device: device.clone(),
            clock: Arc::new(SimClock::new()),
            settings,
            seed,
            lives: AtomicU64::new(0),
            phase: Mutex::new(Phase::Off),
            cluster: Mutex::new(None),
            stop: Notify::new(),
        });
        let process = body.clone();
        let host = Handle::current()
            .create_node()
            .name(body.name.clone())
            .ip(ip)
            .init(move || process.clone().live())
            .build();
        introduce(&body.name, ip, host.id());
        let NodeSettings { http, admin, .. } = body.settings;
        Machine { number, http, admin, device, id: host.id(), body }
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.body.name
    }

    /// How many processes it has had.
    pub fn lives(&self) -> u64 {
        self.body.lives.load(Relaxed)
    }

    /// The view of its node, while there is one that serves.
    pub fn view(&self) -> Option<Arc<View>> {
        let cluster = self.body.cluster.lock().unwrap_or_else(PoisonError::into_inner);
        cluster.as_ref().map(Cluster::view)
    }

    /// May its node acknowledge and deny?
    pub fn lease_is_valid(&self) -> bool {
        let cluster = self.body.cluster.lock().unwrap_or_else(PoisonError::into_inner);
        cluster.as_ref().is_some_and(Cluster::lease_is_valid)
    }

    /// Where its process is in its life.
    pub fn phase(&self) -> Phase {
        self.body.phase.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until the node serves.
    ///
    /// # Errors
    /// What it did instead.
    pub async fn wait_ready(&self, within: Duration) -> Result<(), String> {
        for _ in 0..within.as_millis() / LOOK.as_millis() {
            match self.phase() {
                Phase::Ready => return Ok(()),
                Phase::Starting | Phase::Off => tokio::time::sleep(LOOK).await,
                phase => return Err(format!("{}: {phase:?}", self.body.name)),
            }
        }
        Err(format!("{} is not ready after {within:?}", self.body.name))
    }

    /// Kills the process (`kill -9`).
    pub async fn kill(&self) {
        // The disk first: what the process still does while it is taken apart must not reach it.
        self.device.process_kill();
        self.end().await;
    }

    /// Cuts the power: the connections fall silent, the disk loses what `loss` says.
    pub async fn power_cut(&self, loss: Loss) {
        partition::power_off(self.id);
        self.device.power_cut(loss);
        self.end().await;
    }

    async fn end(&self) {
        Handle::current().kill(self.id);
        tokio::time::sleep(DEATH).await;
        self.body.see(None);
        self.body.set(Phase::Off);
    }

    /// Starts a new process.
    pub fn restart(&self) {
        partition::power_on(self.id);
        self.body.set(Phase::Starting);
        Handle::current().restart(self.id);
    }

    /// Asks the node to stop in order, and waits for it.
    pub async fn stop(&self, within: Duration) -> Result<(), String> {
        self.body.stop.notify_one();
        for _ in 0..within.as_millis() / LOOK.as_millis() {
            if self.phase() == Phase::Stopped {
                return Ok(());
            }
            tokio::time::sleep(LOOK).await;
        }
        Err(format!("{} did not stop within {within:?}", self.body.name))
    }

    /// The node of the simulated network that it is.
    pub fn id(&self) -> NodeId {
        self.id
    }

    /// Lets the time of day jump by so many hours, and the clock drift from now on.
    pub fn jump_clock(&self, hours: i64, drift_ppm: i64) {
        self.body.clock.jump_wall(hours * 3_600_000);
        self.body.clock.set_drift(drift_ppm);
    }

    /// Gives the clock an error from the start: so many milliseconds off, and a drift.
    pub fn skew_clock(&self, millis: i64, drift_ppm: i64) {
        self.body.clock.jump_wall(millis);
        self.body.clock.set_drift(drift_ppm);
    }

    /// Freezes the process.
    pub fn pause(&self) {
        Handle::current().pause(self.id);
    }

    /// Ends [`Machine::pause`].
    pub fn resume(&self) {
        Handle::current().resume(self.id);
    }
}
