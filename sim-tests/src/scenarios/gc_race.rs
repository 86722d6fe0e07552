//! Users who come to need blobs at the moment at which they are collected.
//!
//! A layer that nobody has needed for a while is condemned, and meanwhile somebody pushes a manifest that
//! needs it: either the layer stays, or the push is told that it is gone. Every link has a delay of its
//! own, so that messages of a collection and of a push overtake each other in every order. In some runs
//! machines come and go meanwhile: then the owners of two configurations must be asked before a layer
//! is said to be gone.

use std::{
    ops::{Range, RangeInclusive},
    time::Duration,
};

use atoll_node::io::net::partition;
use tokio::time::Instant;

use super::{Verdict, crash::TUNING, outage::RATES, story::REPO};
use crate::{
    cluster::{Rates, fleet::Fleet},
    draw::Draw,
    events,
    history::Book,
    linear::Guard,
    nemesis::{links, operator::Operator},
    oracle, trace,
    workload::{content, push::Upload, user::User},
};

/// How long all nodes may take to agree.
const SETTLE: Duration = Duration::from_secs(30);

/// How long collections and pushes race.
const RACE: Duration = Duration::from_secs(15);

/// How long the network stays as it is.
const WEATHER: Range<u64> = 500..4_000;

/// Fewest and most machines, where they come and go.
const MEMBERS: RangeInclusive<usize> = 3..=6;

/// Milliseconds between a machine that came or went and the next.
const CALM: Range<u64> = 100..1_500;

/// Milliseconds by which a link may be slower. What a voter is sent must be answered within a quarter of
/// a second, or it falls behind; so most are not.
const SLOWER: [u64; 10] = [0, 0, 0, 0, 0, 0, 40, 100, 200, 500];

/// Runs a seed.
pub async fn run(seed: u64) -> Verdict {
    let mut draw = Draw::new(seed, 1);
    let nodes = draw.within(3..6);
    let users = draw.within(5..25);
    let interval = draw.millis(100..1_000);
    let rates = Rates {
        replicas: if draw.chance(0.5) { 2 } else { 3 },
        groups: draw.within(1..3) as u16,
        session_timeout: Duration::from_secs(3),
        gc: Some(interval),
        gc_min_age: draw.millis(100..1_500),
        gc_batch: *draw.pick(&[1, 10, 1_000]),
        ..RATES
    };
    let moves = draw.chance(0.5);
    trace::note("swarm", format_args!("{nodes} nodes, {users} users, moves: {moves}, {rates:?}"));
    let (book, fleet) = (Book::default(), Fleet::new(rates, TUNING, seed));
    book.lock().collects = true;
    let ages = rates.gc_min_age..rates.gc_min_age + interval;
    let mut race = Race { fleet, book: book.clone(), draw, users, ages, moves };
    let mut violations = Vec::new();
    match race.fleet.found(nodes, SETTLE).await {
        Ok(()) => {
            violations.extend(race.run().await.err());
            violations.extend(race.fleet.settle(SETTLE).await.err());
            violations.extend(oracle::judge_fleet(&race.fleet, &book, Duration::ZERO).await);
        }
        Err(why) => violations.push(why),
    }
    violations.append(&mut book.lock().violations);
    let counts = book.lock().counts.clone();
    Verdict { violations, counts }
}

struct Race {
    fleet: Fleet,
    book: Book,
    draw: Draw,
    users: u64,
    /// How old a layer is when it is collected.
    ages: Range<Duration>,
    /// Do machines come and go?
    moves: bool,
}

impl Race {
    async fn run(&mut self) -> Result<(), String> {
        let end = Instant::now() + RACE;
        let machines = self.fleet.machines();
        let users: Vec<_> = (0..self.users)
            .map(|number| {
                let at = self.draw.pick(&machines).http;
                let user = User::new(format!("user{number}"), at, self.book.clone());
                let draw = Draw::new(self.draw.within(0..u64::MAX), number);
                tokio::spawn(need_late(user, draw, self.ages.clone(), end))
            })
            .collect();
        let operator = Operator { fleet: self.fleet.clone(), book: self.book.clone() };
        let draw = Draw::new(self.draw.within(0..u64::MAX), self.users);
        let moving = self.moves.then(|| tokio::spawn(come_and_go(operator, draw, end)));
        while Instant::now() < end {
            partition::quicken_all();
            links::slow_at_random(&self.fleet.machines(), &SLOWER, &mut self.draw);
            tokio::time::sleep(self.draw.millis(WEATHER)).await;
        }
        partition::quicken_all();
        if let Some(moving) = moving {
            moving.await.map_err(|error| format!("an operator ended early: {error}"))?;
        }
        for user in users {
            user.await.map_err(|error| format!("a user ended early: {error}"))?;
        }
        // A slow network may have made somebody call for help.
        events::take_errors();
        Ok(())
    }
}

/// Pushes layers, and manifests that need them when they may be on their way out.
async fn need_late(mut user: User, mut draw: Draw, ages: Range<Duration>, end: Instant) {
    let mut serial = 0;
    while Instant::now() < end {
        let len = draw.within(1..2_000);
        let layer = content::blob(&mut draw, len);
        user.push_blob(REPO, &layer, Upload::PostPut).await;
        let age = draw.millis(ages.start.as_millis() as u64..ages.end.as_millis() as u64);
        tokio::time::sleep(age).await;
        serial += 1;
        let name = format!("image {serial} of {len} {age:?}");
        let image = content::manifest(std::slice::from_ref(&layer), &name, None);
        user.push_manifest(REPO, &image, &[], Guard::Any).await;
    }
}

/// Machines join, or hand over what they have and leave.
async fn come_and_go(operator: Operator, mut draw: Draw, end: Instant) {
    while Instant::now() < end {
        tokio::time::sleep(draw.millis(CALM)).await;
        let machines = operator.fleet.machines();
        let may_join = machines.len() < *MEMBERS.end();
        if machines.len() <= *MEMBERS.start() || (may_join && draw.chance(0.5)) {
            operator.join(draw.pick(&machines)).await;
        } else {
            operator.drain(draw.pick(&machines[1..])).await;
        }
    }
}
