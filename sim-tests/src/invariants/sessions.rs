//! A node that dies is down in the views when its session ends, and not before; a node that is back is in
//! every ring within a second.
//!
//! The session ends within [timeout, timeout + tick] of its last sign of life *as its leader heard it*.
//! Who watches from outside knows when the node died: the last sign of life came at most a heartbeat
//! before that. When the leader itself dies, the next one must be elected, and gives every session its
//! full time again, for it does not know what the last one heard.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;

use crate::cluster::{Machine, fleet::Fleet};

/// Pause between two signs of life, as configured.
const HEARTBEAT: Duration = Duration::from_millis(500);
/// How often a leader looks for sessions that have ended.
const TICK: Duration = Duration::from_millis(500);
/// From the end of a session to the view in everybody's hands: two commits and a message.
const SPREAD: Duration = Duration::from_millis(500);
/// Votes may fail twice before there is a leader.
const ELECTION: Duration = Duration::from_secs(6);
/// How fast a node is back in every ring.
const RETURN: Duration = Duration::from_secs(1);
/// How often views are looked at.
const LOOK: Duration = Duration::from_millis(10);
/// Clocks run at most this much wrong, in parts of their time, twice: the leader's and the node's.
const DRIFT: f64 = 0.001;

/// Watches how the others see a machine that died now, until all of them have it down.
///
/// # Errors
/// Who had it down too early, or too late.
pub async fn watch_death(
    fleet: &Fleet,
    dead: &Machine,
    timeout: Duration,
    was_leader: bool,
) -> Result<Duration, String> {
    let died = Instant::now();
    let earliest = (timeout - HEARTBEAT).mul_f64(1.0 - DRIFT);
    let election = if was_leader { ELECTION } else { Duration::ZERO };
    let latest = timeout.mul_f64(1.0 + DRIFT) + TICK + SPREAD + election;
    let mut seen: BTreeMap<u8, Duration> = BTreeMap::new();
    let others = |it: &Machine| it.number != dead.number;
    let survivors: Vec<Machine> = fleet.machines().into_iter().filter(others).collect();
    while seen.len() < survivors.len() {
        let passed = died.elapsed();
        if passed > latest {
            let late = survivors.iter().filter(|it| !seen.contains_key(&it.number));
            let names: Vec<&str> = late.map(Machine::name).collect();
            return Err(format!("{names:?} hold {} up after {passed:?}", dead.name()));
        }
        for machine in &survivors {
            let is_news = !holds_up(machine, dead) && seen.insert(machine.number, passed).is_none();
            if is_news && passed < earliest {
                let (name, dead) = (machine.name(), dead.name());
                return Err(format!("{name} has {dead} down after {passed:?} already"));
            }
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(died.elapsed())
}

/// Watches how a machine whose node is ready now comes back into the others' views.
///
/// # Errors
/// Who has it down still.
pub async fn watch_return(fleet: &Fleet, back: &Machine) -> Result<Duration, String> {
    let begun = Instant::now();
    loop {
        let machines = fleet.machines();
        let blind: Vec<&str> =
            machines.iter().filter(|it| !holds_up(it, back)).map(Machine::name).collect();
        if blind.is_empty() {
            return Ok(begun.elapsed());
        }
        if begun.elapsed() > RETURN {
            return Err(format!("{blind:?} hold {} down after {RETURN:?}", back.name()));
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn holds_up(machine: &Machine, other: &Machine) -> bool {
    machine.view().is_some_and(|view| {
        view.members.values().any(|member| member.name == other.name() && member.is_up())
    })
}
