//! The sizes of a cluster's run: all of them drawn from the seed and printed first.

use std::{fmt, time::Duration};

use crate::{cluster::Rates, draw::Draw, nemesis::Fault, overrides, swarm::Swarm};

/// Most machines at a time, those that join included.
const NODES_MAX: u8 = 7;

/// Seconds under faults. With what comes before and after, a run takes 60 on average.
const SECONDS: [u64; 3] = [20, 40, 60];

/// Every size of a run.
#[derive(Clone, Debug)]
pub struct Size {
    /// Machines that found the cluster.
    pub nodes: u8,
    /// Do they come all at once?
    pub together: bool,
    /// What their nodes are told.
    pub rates: Rates,
    /// Sizes of nodes and users.
    pub swarm: Swarm,
    /// Seconds under faults.
    pub seconds: u64,
    /// Faults at a time.
    pub strikers: u64,
    /// Machines that may be out at a time.
    pub out_max: usize,
    /// Longest pause of a striker, in milliseconds.
    pub pause_millis: u64,
    /// Longest absence of a machine, in milliseconds.
    pub away_millis: u64,
    /// Does the power of all of them go at the end?
    pub blackout: bool,
}

impl Size {
    /// Draws them.
    pub fn draw(draw: &mut Draw) -> Size {
        let nodes = *draw.pick(&[3, 3, 3, 4, 4, 5, 5, 6, 7]);
        let nodes = overrides::nodes().unwrap_or(nodes).clamp(1, NODES_MAX);
        let replicas = if draw.chance(0.8) { 3 } else { 2 };
        let mut swarm = Swarm::draw(draw);
        swarm.users = draw.within(2..5);
        swarm.think_millis = draw.within(400..4_000);
        swarm.blob_bytes_max = *draw.pick(&[5_000, 80_000]);
        swarm.uploads_end = true;
        let is_on = |fault: &Fault| !overrides::is_off(fault.name());
        swarm.faults = Fault::OF_CLUSTERS.into_iter().filter(|_| draw.chance(0.35)).collect();
        swarm.faults.retain(is_on);
        swarm.short_io &= !overrides::is_off("short-io");
        let rates = Size::rates(draw, replicas);
        swarm.collects = rates.gc.is_some();
        let seconds = *draw.pick(&SECONDS);
        let minority = usize::from(nodes.saturating_sub(1) / 2).max(1);
        Size {
            nodes,
            together: draw.chance(0.5) && !overrides::is_off("together"),
            rates,
            swarm,
            seconds: overrides::seconds().unwrap_or(seconds),
            strikers: draw.within(1..4),
            out_max: if draw.chance(0.8) { minority } else { usize::from(nodes) },
            pause_millis: *draw.pick(&[3_000, 8_000, 15_000]),
            away_millis: *draw.pick(&[1_000, 9_000, 25_000]),
            blackout: draw.chance(0.3) && !overrides::is_off("blackout"),
        }
    }

    fn rates(draw: &mut Draw, replicas: u8) -> Rates {
        let mut seconds = |choices: &[u64]| Duration::from_secs(*draw.pick(choices));
        let down_out = seconds(&[2, 10, 600]);
        let voter_out = seconds(&[3, 30]);
        let repair = seconds(&[2, 10]);
        let scrub = seconds(&[20, 86_400]);
        let disowned_grace = seconds(&[1, 10]);
        let gc = seconds(&[2, 5, 10]);
        let gc_min_age = seconds(&[1, 5, 20]);
        let collects = draw.chance(0.5) && !overrides::is_off("gc");
        let session_timeout = Duration::from_millis(draw.within(2..7) * 500);
        let heartbeat = Duration::from_millis(draw.within(5..11) * 100);
        Rates {
            replicas,
            groups: *draw.pick(&[1, 1, 2, 3]),
            session_timeout,
            heartbeat: heartbeat.min(session_timeout / 2),
            down_out,
            voter_out,
            repair,
            scrub,
            disowned_grace,
            gc: collects.then_some(gc),
            gc_min_age,
            gc_batch: *draw.pick(&[1, 10, 1_000]),
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}
