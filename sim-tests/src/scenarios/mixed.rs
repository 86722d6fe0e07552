//! Random clients under random faults on one node: safety, then liveness, then a durability scan.
//!
//! The seed draws everything: how many clients and tags, what they do, which classes of faults are on
//! and when they strike. While they do, nothing acknowledged may be denied and no wrong byte served.
//! Then all faults end, the machine is rebooted without warning once more, and everything that was
//! ever acknowledged is looked for.

use std::sync::Arc;

use atoll_node::io::disk::sim::{Faults, Loss, SimDisk};

use super::Verdict;
use crate::{
    cluster::Machine,
    draw::Draw,
    events,
    history::Book,
    nemesis::{Nemesis, READY},
    oracle,
    swarm::Swarm,
    trace,
    workload::{user::User, walk::Walk},
};

/// Runs a seed.
pub async fn run(seed: u64) -> Verdict {
    let mut draw = Draw::new(seed, 1);
    let swarm = Arc::new(Swarm::draw(&mut draw));
    let device = SimDisk::new(seed, Faults::default());
    trace::watch(&device);
    trace::note("swarm", format_args!("{swarm:?}"));
    let machine = Machine::start(1, device, &swarm.tuning, seed);
    let book = Book::default();
    let mut violations = Vec::new();
    if let Err(why) = under_faults(&machine, &book, &swarm, seed, &mut draw).await {
        violations.push(why);
    }
    violations.extend(afterwards(&machine, &book, &mut draw).await);
    let counts = book.lock().counts.clone();
    Verdict { violations, counts }
}

/// The safety phase.
async fn under_faults(
    machine: &Machine,
    book: &Book,
    swarm: &Arc<Swarm>,
    seed: u64,
    draw: &mut Draw,
) -> Result<(), String> {
    machine.wait_ready(READY).await?;
    if swarm.short_io {
        madsim::buggify::enable();
    }
    for repo in &swarm.repos {
        swarm.tags.iter().for_each(|tag| book.lock().declare_tag(repo, tag));
    }
    let users: Vec<_> = (0..swarm.users)
        .map(|number| {
            let user = User::new(format!("user{number}"), machine.http, book.clone());
            let draw = Draw::new(seed, 100 + number);
            tokio::spawn(Walk::new(user, draw, swarm.clone(), number).walk())
        })
        .collect();
    let mut nemesis = Nemesis {
        machine: machine.clone(),
        others: Vec::new(),
        away_millis: 500,
        book: book.clone(),
        draw: Draw::new(seed, 2),
    };
    let mut struck = Ok(());
    for _ in 0..swarm.strikes {
        tokio::time::sleep(draw.millis(50..1_500)).await;
        if swarm.faults.is_empty() || struck.is_err() {
            break;
        }
        expect_no_errors(book)?;
        let fault = *draw.pick(&swarm.faults);
        struck = nemesis.strike(fault).await;
        if fault.explains_errors() {
            events::take_errors();
        }
    }
    for user in users {
        user.await.map_err(|error| format!("a user ended early: {error}"))?;
    }
    madsim::buggify::disable();
    struck?;
    expect_no_errors(book)
}

/// An ERROR says that someone must look; there must be a reason. A damaged copy is one, whenever it
/// is found.
fn expect_no_errors(book: &Book) -> Result<(), String> {
    let errors = events::take_errors();
    match errors.first() {
        Some(line) if book.lock().damaged.is_empty() => {
            Err(format!("ERROR event that no fault explains: {line}"))
        }
        _ => Ok(()),
    }
}

/// Liveness and the durability scan.
async fn afterwards(machine: &Machine, book: &Book, draw: &mut Draw) -> Vec<String> {
    let loss = *draw.pick(&Loss::ALL);
    trace::note("nemesis", format_args!("last power cut: {loss:?}"));
    machine.power_cut(loss).await;
    events::take_errors();
    machine.restart();
    if let Err(why) = machine.wait_ready(READY).await {
        return vec![why];
    }
    let mut user = User::new("oracle", machine.http, book.clone());
    let mut violations = oracle::judge(&mut user).await;
    violations.extend(expect_no_errors(book).err());
    violations
}
