//! Nodes that are cut off or frozen: their lease is over before anybody has them down.
//!
//! A node acknowledges and denies only while its lease lasts; the others act without it from the moment
//! they have it down. So these two must never overlap, whoever is cut off from whom, whether the leader
//! is among them, and whether a node is cut off or only frozen. Looked at from outside, at every node.

use std::time::Duration;

use atoll_node::io::net::partition;
use tokio::time::Instant;

use super::{Verdict, crash::TUNING, outage::RATES, story::REPO};
use crate::{
    cluster::{Machine, Rates, fleet::Fleet},
    draw::Draw,
    events,
    history::Book,
    linear::Guard,
    oracle, trace,
    workload::{content, push::Upload, user::User},
};

/// How long all nodes may take to agree again.
const SETTLE: Duration = Duration::from_secs(30);

/// How often leases and views are looked at.
const LOOK: Duration = Duration::from_millis(5);

/// Until when those who are cut off must be down: an election that fails twice, and a full session that
/// the new leader grants.
const DOWN_AFTER: Duration = Duration::from_secs(6);

/// Runs a seed.
pub async fn run(seed: u64) -> Verdict {
    let mut draw = Draw::new(seed, 1);
    let nodes = *draw.pick(&[3_u64, 4, 5, 5]);
    let timeout = Duration::from_millis(draw.within(2..7) * 500);
    let rounds = draw.within(1..4);
    trace::note("swarm", format_args!("{nodes} nodes, time-out {timeout:?}, {rounds} rounds"));
    let rates = Rates { session_timeout: timeout, replicas: 3, gc: None, ..RATES };
    let (book, fleet) = (Book::default(), Fleet::new(rates, TUNING, seed));
    let mut fence = Fence { fleet, book: book.clone(), draw, timeout };
    let mut violations = Vec::new();
    match fence.fleet.found(nodes, SETTLE).await {
        Ok(()) => {
            for round in 0..rounds {
                violations.extend(fence.round(round).await.err());
            }
            violations.extend(oracle::judge_fleet(&fence.fleet, &book, Duration::ZERO).await);
        }
        Err(why) => violations.push(why),
    }
    violations.append(&mut book.lock().violations);
    let counts = book.lock().counts.clone();
    Verdict { violations, counts }
}

struct Fence {
    fleet: Fleet,
    book: Book,
    draw: Draw,
    timeout: Duration,
}

impl Fence {
    /// Some are cut off from the others, or one is frozen, for longer than a session lasts.
    async fn round(&mut self, number: u64) -> Result<(), String> {
        let mut others = self.fleet.machines();
        let cut_max = (others.len() as u64 - 1) / 2;
        let mut cut = Vec::new();
        for _ in 0..self.draw.within(1..cut_max + 1) {
            cut.push(others.remove(self.draw.within(0..others.len() as u64) as usize));
        }
        let freezes = cut.len() == 1 && self.draw.chance(0.3);
        let names: Vec<&str> = cut.iter().map(Machine::name).collect();
        trace::note("nemesis", format_args!("{names:?}, frozen: {freezes}"));
        match freezes {
            true => cut.iter().for_each(Machine::pause),
            false => self.part(&cut, &others),
        }
        let pushing = tokio::spawn(push(others[0].http, self.book.clone(), number));
        let outcome = self.watch(&cut, &others, freezes).await;
        partition::heal_all();
        cut.iter().for_each(Machine::resume);
        pushing.await.map_err(|error| format!("a push ended early: {error}"))?;
        // Who was cut off may have called for help.
        events::take_errors();
        outcome?;
        self.fleet.settle(SETTLE).await.map(drop)
    }

    /// Nothing passes between the two parts, one way or both.
    fn part(&mut self, cut: &[Machine], others: &[Machine]) {
        let (to, from) =
            *self.draw.pick(&[(true, true), (true, true), (true, false), (false, true)]);
        for (inner, outer) in
            cut.iter().flat_map(|one| others.iter().map(move |other| (one, other)))
        {
            if to {
                partition::cut(outer.id(), inner.id());
            }
            if from {
                partition::cut(inner.id(), outer.id());
            }
        }
    }

    /// Until all that are cut off are down in all views.
    async fn watch(
        &mut self,
        cut: &[Machine],
        others: &[Machine],
        freezes: bool,
    ) -> Result<(), String> {
        let begun = Instant::now();
        let latest = 2 * self.timeout + DOWN_AFTER;
        loop {
            let mut all_down = true;
            for one in cut {
                let holder = others.iter().find(|other| has_down(other, one));
                all_down &= others.iter().all(|other| has_down(other, one));
                let Some(holder) = holder else { continue };
                if one.lease_is_valid() {
                    let (holder, one) = (holder.name(), one.name());
                    let passed = begun.elapsed();
                    return Err(format!(
                        "{holder} has {one} down after {passed:?}, whose lease lasts"
                    ));
                }
            }
            if all_down {
                return Ok(());
            }
            // Who hears the others but is not heard may pass on; a link one way may be enough for that.
            if begun.elapsed() > latest {
                let told = format!("not all are down after {latest:?}, frozen: {freezes}");
                return if freezes { Err(told) } else { Ok(()) };
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

async fn push(target: std::net::SocketAddr, book: Book, number: u64) {
    let mut user = User::new("pusher", target, book);
    let mut draw = Draw::new(number, 7);
    let blob = content::blob(&mut draw, 20_000);
    user.push_blob(REPO, &blob, Upload::PostPut).await;
    let image = content::manifest(std::slice::from_ref(&blob), &format!("image {number}"), None);
    user.push_manifest(REPO, &image, &["v1"], Guard::Any).await;
}

/// Does the node have the other one down?
fn has_down(machine: &Machine, other: &Machine) -> bool {
    machine.view().is_some_and(|view| {
        let named = view.members.values().find(|member| member.name == other.name());
        named.is_some_and(|member| !member.is_up())
    })
}
