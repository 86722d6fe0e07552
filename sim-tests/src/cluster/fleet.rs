//! The machines that belong to a cluster now. Some come, some leave.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use atoll_core::view::{NodeId, View};
use atoll_node::io::disk::sim::{Faults, SimDisk};
use tokio::time::Instant;

use super::{Belonging, Machine, Rates, Tuning};
use crate::{draw::Draw, nemesis::READY, trace};

/// How often views are looked at.
const LOOK: Duration = Duration::from_millis(20);

/// Clocks of real machines differ by less than this per second, in millionths.
const DRIFT_PPM: u64 = 500;

/// A cluster's machines. Clones are the same fleet.
#[derive(Clone)]
pub struct Fleet(Arc<Mutex<State>>);

struct State {
    machines: Vec<Machine>,
    next: u8,
    founder: Belonging,
    tuning: Tuning,
    seed: u64,
    clocks: Draw,
}

impl Fleet {
    /// A fleet without machines yet.
    pub fn new(rates: Rates, tuning: Tuning, seed: u64) -> Fleet {
        let founder = Belonging::founder(rates, seed);
        let clocks = Draw::new(seed, 3);
        let machines = Vec::new();
        Fleet(Arc::new(Mutex::new(State { machines, next: 1, founder, tuning, seed, clocks })))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts one more machine: the first founds the cluster, the others join it.
    pub fn enlist(&self, at: Option<&Machine>) -> Machine {
        let mut state = self.lock();
        let number = state.next;
        state.next += 1;
        let device = SimDisk::new(state.seed ^ u64::from(number) << 48, Faults::default());
        trace::watch_also(&device);
        let belonging = match at {
            Some(member) => state.founder.joining(member.number),
            None => state.founder.clone(),
        };
        let machine = Machine::member(number, device, &state.tuning, &belonging, state.seed);
        let millis = state.clocks.within(0..20_000) as i64 - 10_000;
        let ppm = state.clocks.within(0..2 * DRIFT_PPM) as i64 - DRIFT_PPM as i64;
        machine.skew_clock(millis, ppm);
        state.machines.push(machine.clone());
        machine
    }

    /// Founds a cluster of so many machines, one after the other, and waits until they agree.
    ///
    /// # Errors
    /// What a machine did instead of getting ready, or what they hold instead of one view.
    pub async fn found(&self, count: u64, within: Duration) -> Result<(), String> {
        let founder = self.enlist(None);
        founder.wait_ready(READY).await?;
        for _ in 1..count {
            self.enlist(Some(&founder)).wait_ready(READY).await?;
        }
        self.settle(within).await.map(drop)
    }

    /// This machine is no member any more.
    pub fn retire(&self, number: u8) {
        self.lock().machines.retain(|machine| machine.number != number);
    }

    /// The members, by number.
    pub fn machines(&self) -> Vec<Machine> {
        self.lock().machines.clone()
    }

    /// Where their users are answered.
    pub fn targets(&self) -> Vec<SocketAddr> {
        self.lock().machines.iter().map(|machine| machine.http).collect()
    }

    /// Waits until all nodes hold one view, with everyone in it and nothing open.
    ///
    /// # Errors
    /// What they hold instead.
    pub async fn settle(&self, within: Duration) -> Result<Duration, String> {
        let begun = Instant::now();
        while !self.is_settled() {
            if begun.elapsed() > within {
                let machines = self.machines();
                let told: Vec<String> =
                    machines.iter().map(|it| told(it.name(), it.view())).collect();
                return Err(format!("not settled after {within:?}: {}", told.join("; ")));
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(begun.elapsed())
    }

    /// Do all nodes hold one view, with everyone in it and nothing open?
    pub fn is_settled(&self) -> bool {
        let machines = self.machines();
        let views: Vec<_> = machines.iter().map(Machine::view).collect();
        let Some(Some(first)) = views.first() else { return false };
        let mut names: Vec<&str> = machines.iter().map(Machine::name).collect();
        names.sort_unstable();
        let mut up: Vec<&str> =
            first.ring_up().iter().filter_map(|node| name_in(first, *node)).collect();
        up.sort_unstable();
        let is_whole = first.open.is_empty() && up == names && first.members.len() == names.len();
        is_whole && views.iter().all(|view| view.as_deref() == Some(first))
    }

    /// The machine of a node.
    pub fn machine_of(&self, view: &View, node: NodeId) -> Option<Machine> {
        let name = name_in(view, node)?;
        self.machines().into_iter().find(|machine| machine.name() == name)
    }
}

fn name_in(view: &View, node: NodeId) -> Option<&str> {
    view.members.get(&node).map(|member| member.name.as_str())
}

fn told(name: &str, view: Option<Arc<View>>) -> String {
    let Some(view) = view else { return format!("{name} has no view") };
    let named = |node: &NodeId| name_in(&view, *node).unwrap_or("?").to_owned();
    let up: Vec<String> = view.ring_up().iter().map(named).collect();
    let members: Vec<String> = view.members.keys().map(named).collect();
    let (epoch, open) = (view.epoch, view.open.len());
    format!("{name}: epoch {epoch}, members {members:?}, up in the ring {up:?}, {open} open")
}
