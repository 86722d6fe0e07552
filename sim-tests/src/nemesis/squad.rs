//! Several faults at a time, in a cluster.
//!
//! Each striker waits, draws a class, asks the [`Atlas`] for a machine, and does its worst.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::{Fault, Nemesis, READY, atlas::Atlas, links::Links, operator::Operator};
use crate::{cluster::fleet::Fleet, draw::Draw, history::Book, trace};

/// The strikers' common knowledge. Clones share it.
#[derive(Clone)]
pub struct Squad {
    /// Whom they strike.
    pub fleet: Fleet,
    /// What everybody did.
    pub book: Book,
    /// What is broken.
    pub atlas: Arc<Mutex<Atlas>>,
    /// The classes that are on.
    pub faults: Vec<Fault>,
    /// Longest pause of a striker, in milliseconds.
    pub pause_millis: u64,
    /// Longest absence of a machine, in milliseconds.
    pub away_millis: u64,
}

impl Squad {
    /// What is broken. Never held across an await.
    pub fn atlas(&self) -> MutexGuard<'_, Atlas> {
        self.atlas.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One striker, until `end`.
    ///
    /// # Errors
    /// A node did not come back.
    pub async fn strike_until(self, end: Instant, mut draw: Draw) -> Result<(), String> {
        while !self.faults.is_empty() {
            let pause = draw.millis(50..self.pause_millis);
            if Instant::now() + pause >= end {
                break;
            }
            tokio::time::sleep(pause).await;
            let fault = *draw.pick(&self.faults);
            let machines = self.fleet.machines();
            let numbers: Vec<u8> = machines.iter().map(|machine| machine.number).collect();
            let lease = self.atlas().lease(fault, &numbers, &mut draw);
            let Some(number) = lease else { continue };
            let outcome = self.strike(fault, number, Draw::new(draw.seed(), 0)).await;
            self.atlas().end(fault, number);
            outcome?;
        }
        Ok(())
    }

    async fn strike(&self, fault: Fault, number: u8, draw: Draw) -> Result<(), String> {
        let mut machines = self.fleet.machines();
        let Some(at) = machines.iter().position(|it| it.number == number) else { return Ok(()) };
        let machine = machines.remove(at);
        let mut nemesis = Nemesis {
            machine,
            others: machines,
            away_millis: self.away_millis,
            book: self.book.clone(),
            draw,
        };
        match fault {
            Fault::Partition => {
                self.tell(fault, "");
                let links = partition(&mut nemesis);
                nemesis.wait(500..20_000).await;
                links.heal();
                trace::note("nemesis", "partition ended");
                Ok(())
            }
            Fault::LeaderKill => self.kill_the_leader(nemesis).await,
            Fault::RollingRestart => self.restart_all(&mut nemesis).await,
            Fault::Join | Fault::Drain | Fault::Replace => {
                self.tell(fault, nemesis.machine.name());
                let operator = Operator { fleet: self.fleet.clone(), book: self.book.clone() };
                match fault {
                    Fault::Join => {
                        operator.join(&nemesis.machine).await;
                    }
                    Fault::Drain => operator.drain(&nemesis.machine).await,
                    _ => operator.replace(&mut nemesis).await,
                }
                Ok(())
            }
            fault => nemesis.strike(fault).await,
        }
    }

    fn tell(&self, fault: Fault, who: &str) {
        trace::note("nemesis", format_args!("{fault} {who}"));
        self.book.lock().count(&format!("fault {fault:?}"));
    }

    /// Kills whoever leads, if somebody knows who that is.
    async fn kill_the_leader(&self, nemesis: Nemesis) -> Result<(), String> {
        let operator = Operator { fleet: self.fleet.clone(), book: self.book.clone() };
        let Some(leader) = operator.leader(&nemesis.machine).await else { return Ok(()) };
        let number = leader.number;
        let is_leased = number == nemesis.machine.number;
        if !is_leased && !self.atlas().take(number, Fault::LeaderKill) {
            return Ok(());
        }
        self.book.lock().count("fault LeaderKill");
        let killed = Nemesis { machine: leader, ..nemesis }.strike(Fault::Kill).await;
        if !is_leased {
            self.atlas().give_back(number);
        }
        killed
    }

    /// As an operator does it who brings a new version: the next one when this one is back.
    async fn restart_all(&self, nemesis: &mut Nemesis) -> Result<(), String> {
        self.tell(Fault::RollingRestart, "");
        for machine in self.fleet.machines() {
            if !self.atlas().take(machine.number, Fault::RollingRestart) {
                continue;
            }
            let number = machine.number;
            nemesis.machine = machine;
            nemesis.away_millis = 1_000;
            let outcome = nemesis.strike(Fault::Stop).await;
            self.atlas().give_back(number);
            outcome?;
            // Whoever does not wait for the others takes two away at a time.
            let _ = self.fleet.settle(Duration::from_secs(10)).await;
        }
        Ok(())
    }
}

/// Two parts that do not hear each other, or single pairs that do not.
fn partition(nemesis: &mut Nemesis) -> Links {
    let mut all = vec![nemesis.machine.id()];
    all.extend(nemesis.others.iter().map(|machine| machine.id()));
    let directions = *nemesis.draw.pick(&[(true, true), (true, true), (true, false)]);
    let is_partial = nemesis.draw.chance(0.3);
    let sides: Vec<bool> = all.iter().map(|_| nemesis.draw.chance(0.5)).collect();
    let mut links = Links::default();
    for (at, one) in all.iter().enumerate() {
        for (other_at, other) in all.iter().enumerate().skip(at + 1) {
            let is_cut = match is_partial {
                true => nemesis.draw.chance(0.3),
                false => sides[at] != sides[other_at],
            };
            if is_cut {
                let (one, other) = if sides[at] { (*one, *other) } else { (*other, *one) };
                links.cut(one, other, directions);
            }
        }
    }
    trace::note("nemesis", format_args!("sides {sides:?}, {directions:?}, partial {is_partial}"));
    links
}

/// Waits for a machine that others may have struck meanwhile.
pub(super) async fn wait_patiently(machine: &crate::cluster::Machine) -> bool {
    machine.wait_ready(READY).await.is_ok()
}
