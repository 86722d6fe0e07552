//! The state of the node's parts, as probes ask for it.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU8, Ordering::Relaxed},
};

use serde::Serialize;

/// A part of the node that must be up before it gets requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// The data folder is open and recovered.
    Storage,
    /// Every metadata group has a leader and has applied what it had committed.
    Metadata,
    /// The public listener accepts connections.
    Listener,
    /// The node is up in the cluster's view.
    Cluster,
}

/// The state of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum CheckState {
    /// Not yet up.
    Starting = 0,
    /// Up.
    Ready = 1,
    /// Down; the log tells why.
    Failed = 2,
}

/// The health of one node. Cheap to clone; all clones are one.
#[derive(Clone, Debug, Default)]
pub struct Health(Arc<Cells>);

#[derive(Debug, Default)]
struct Cells {
    storage: AtomicU8,
    metadata: AtomicU8,
    listener: AtomicU8,
    cluster: AtomicU8,
    draining: AtomicBool,
    started: AtomicBool,
}

/// The health as `/readyz` tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Should the node get requests?
    pub ready: bool,
    /// Is it about to stop?
    pub draining: bool,
    /// Each part.
    pub checks: Checks,
}

/// The state of each part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Checks {
    /// [`Check::Storage`]
    pub storage: CheckState,
    /// [`Check::Metadata`]
    pub metadata: CheckState,
    /// [`Check::Listener`]
    pub listener: CheckState,
    /// [`Check::Cluster`]
    pub cluster: CheckState,
}

impl Health {
    /// A node whose parts are all starting.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the state of a part.
    pub fn set(&self, check: Check, state: CheckState) {
        self.cell(check).store(state as u8, Relaxed);
        if self.checks().all_ready() {
            self.0.started.store(true, Relaxed);
        }
    }

    /// From now on the node is not ready; there is no way back.
    pub fn drain(&self) {
        self.0.draining.store(true, Relaxed);
    }

    /// Is the node about to stop?
    pub fn is_draining(&self) -> bool {
        self.0.draining.load(Relaxed)
    }

    /// Has every part been up at once, at any time?
    pub fn has_started(&self) -> bool {
        self.0.started.load(Relaxed)
    }

    /// Everything at once.
    pub fn report(&self) -> Report {
        let (checks, draining) = (self.checks(), self.is_draining());
        Report { ready: checks.all_ready() && !draining, draining, checks }
    }

    fn checks(&self) -> Checks {
        let state = |check| match self.cell(check).load(Relaxed) {
            1 => CheckState::Ready,
            2 => CheckState::Failed,
            _ => CheckState::Starting,
        };
        Checks {
            storage: state(Check::Storage),
            metadata: state(Check::Metadata),
            listener: state(Check::Listener),
            cluster: state(Check::Cluster),
        }
    }

    fn cell(&self, check: Check) -> &AtomicU8 {
        match check {
            Check::Storage => &self.0.storage,
            Check::Metadata => &self.0.metadata,
            Check::Listener => &self.0.listener,
            Check::Cluster => &self.0.cluster,
        }
    }
}

impl Checks {
    fn all_ready(&self) -> bool {
        [self.storage, self.metadata, self.listener, self.cluster]
            .iter()
            .all(|state| *state == CheckState::Ready)
    }
}
