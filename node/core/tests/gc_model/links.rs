//! The protocol as it is built: two groups, links, and drivers that may be many.
//!
//! What this model allows beyond the first one:
//! - A blob is visible through a link only, in either group; it is uploaded, or mounted from the
//!   other group. What a client is told is there must be there.
//! - A pusher reads the epoch from a node that may lag: any epoch up to the present one.
//! - A driver of rounds remembers nothing. It looks at the groups one after the other and sends what
//!   [`settle`] and [`agreed`] say; each command arrives at any time, or never, and as often as it
//!   likes, also after other drivers have long gone on.
//! - A round is finished although a copy was not deleted: its node was down. Waiting for the copies
//!   saves garbage, not blobs.

use atoll_core::gc::{Step, agreed, settle};

use super::{
    groups::{Answer, Ask, Group, Machine, blob},
    search::{Found, search},
};

/// Where a pusher is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
enum At {
    #[default]
    Start,
    /// Has read the epoch and stores the blob.
    Store(u8),
    /// Has read the epoch, and pins the copies to link them: a mount, or a second try.
    PinToLink(u8),
    Link,
    /// Was told that the blob is there, one way or another.
    Told,
    /// Has read the epoch, and pins the copies for its manifest.
    Pin(u8),
    Put,
    Pushed,
    Gone,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Pusher {
    at: At,
    vg: u8,
}

/// Commands of drivers that are under way. Bit `e`: of epoch `e`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct UnderWay {
    /// Condemn the blob, by group.
    condemn: [u8; 2],
    /// Let group 0 pass.
    close: u8,
    /// Take the mark back, by group.
    abort: [u8; 2],
    finish: [u8; 2],
    delete: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct State<const P: usize> {
    groups: [Group; 2],
    copies: [i8; 2],
    pushers: [Pusher; P],
    under_way: UnderWay,
}

/// What the model leaves out, to see that it is noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    /// Group 0 is finished before the others.
    FinishOtherWay,
    /// Copies are deleted as soon as one group has marked.
    DeleteEarly,
    /// A link is made whatever epoch was read.
    LinkUnverified,
    /// A mark of one group is taken back before group 0 has passed.
    AbortOpen,
}

struct Model {
    rounds: u8,
    fault: Fault,
    machine: Machine,
}

type Go<'a, S> = &'a mut dyn FnMut(&dyn Fn() -> String, S);

/// Runs with one pusher in each of `home`, a group.
fn run<const P: usize>(home: [usize; P], rounds: u8, fault: Fault) -> Found {
    let mut model = Model { rounds, fault, machine: Machine::default() };
    let start = State {
        groups: [Group::default(); 2],
        copies: [-1; 2],
        pushers: [Pusher::default(); P],
        under_way: UnderWay::default(),
    };
    let wrong = |state: &State<P>| {
        let lost = state.copies.contains(&-1);
        let needed = state.groups.iter().any(|group| group.manifests > 0);
        let shown = state.groups.iter().any(Group::shows_blob);
        match (lost, needed, shown) {
            (true, true, _) => Some("a manifest needs a blob whose copy was deleted"),
            (true, _, true) => Some("a blob is shown whose copy was deleted"),
            _ => None,
        }
    };
    search(start, |state, go| model.steps(state, home, go), wrong)
}

impl Model {
    fn steps<const P: usize>(&mut self, state: &State<P>, home: [usize; P], go: Go<'_, State<P>>) {
        self.drive(*state, go);
        self.arrive(*state, go);
        for (number, group) in home.into_iter().enumerate() {
            self.push(*state, number, group, go);
        }
    }

    /// What some driver may send now.
    fn drive<const P: usize>(&mut self, state: State<P>, go: Go<'_, State<P>>) {
        let marks = state.groups.map(|group| group.marks());
        let bit = |epoch: u64| 1_u8 << epoch;
        let newest = state.groups[0].epoch.max(state.groups[1].epoch);
        if newest < self.rounds {
            send(state, go, "a round begins", |way| way.condemn[1] |= 1 << (newest + 1));
        }
        let marked = state.groups[1].mark;
        let epoch = atoll_core::gc::GcEpoch(marked.into());
        if marked > 0 && !agreed(&marks[1..], epoch, &[blob()]).is_empty() {
            send(state, go, "group 0 is asked", |way| way.condemn[0] |= 1 << marked);
        }
        for step in settle(&marks) {
            match step {
                Step::Close { epoch } => {
                    send(state, go, "group 0 is to pass", |way| way.close |= bit(epoch.0));
                }
                Step::Abort { group, epoch, .. } => {
                    send(state, go, "abort", |way| way.abort[group] |= bit(epoch.0));
                }
                Step::Delete { epoch, .. } => {
                    send(state, go, "delete", |way| way.delete |= bit(epoch.0));
                    let others_done = state.groups[1].mark != epoch.0 as u8;
                    if others_done || self.fault == Fault::FinishOtherWay {
                        send(state, go, "finish group 0", |way| way.finish[0] |= bit(epoch.0));
                    }
                    if !others_done || self.fault == Fault::FinishOtherWay {
                        send(state, go, "finish group 1", |way| way.finish[1] |= bit(epoch.0));
                    }
                }
            }
        }
        if marked > 0 && self.fault == Fault::DeleteEarly {
            send(state, go, "delete too early", |way| way.delete |= 1 << marked);
        }
        if marked > 0 && self.fault == Fault::AbortOpen && state.groups[0].mark != marked {
            send(state, go, "abort too early", |way| way.abort[1] |= 1 << marked);
        }
    }

    /// What is under way arrives, and stays under way.
    fn arrive<const P: usize>(&mut self, state: State<P>, go: Go<'_, State<P>>) {
        let way = state.under_way;
        for e in 1..=self.rounds {
            let is_sent = |bits: u8| bits & 1 << e != 0;
            for group in 0..2 {
                if is_sent(way.condemn[group]) {
                    self.ask(state, group, Ask::Condemn { e, blob: true }, go);
                }
                if is_sent(way.abort[group]) {
                    self.ask(state, group, Ask::Abort { e }, go);
                }
                if is_sent(way.finish[group]) {
                    self.ask(state, group, Ask::Finish { e }, go);
                }
            }
            if is_sent(way.close) {
                self.ask(state, 0, Ask::Condemn { e, blob: false }, go);
            }
            for copy in 0..2 {
                if is_sent(way.delete) && state.copies[copy] < e as i8 {
                    let mut next = state;
                    next.copies[copy] = -1;
                    go(&|| format!("delete {e} arrives at copy {copy}"), next);
                }
            }
        }
    }

    fn ask<const P: usize>(
        &mut self,
        state: State<P>,
        group: usize,
        ask: Ask,
        go: Go<'_, State<P>>,
    ) {
        let mut next = state;
        next.groups[group] = self.machine.ask(state.groups[group], ask).0;
        go(&|| format!("{ask:?} arrives at group {group}"), next.without_idle_commands());
    }

    fn push<const P: usize>(
        &mut self,
        state: State<P>,
        number: usize,
        home: usize,
        go: Go<'_, State<P>>,
    ) {
        let me = state.pushers[number];
        let group = state.groups[home];
        let then = |at: At, vg: u8| state.with(number, Pusher { at, vg });
        let say = |what: &'static str| move || format!("pusher {number}: {what}");
        match me.at {
            At::Start => {
                for vg in 0..=group.epoch {
                    go(&say("reads an epoch to upload"), then(At::Store(0), vg));
                    if state.groups.iter().any(Group::shows_blob) {
                        go(&say("reads an epoch to mount"), then(At::PinToLink(0), vg));
                    }
                }
                if group.shows_blob() {
                    go(&say("HEAD says 200"), then(At::Told, 0));
                }
            }
            At::Store(copy) => {
                let mut next = then([At::Store(1), At::Link][usize::from(copy)], me.vg);
                let stamp = &mut next.copies[usize::from(copy)];
                *stamp = (me.vg as i8).max(*stamp);
                go(&say("stores"), next);
            }
            At::PinToLink(copy) => {
                let after = [At::PinToLink(1), At::Link][usize::from(copy)];
                go(&say("pins to link"), state.pinned(number, copy, after));
            }
            At::Link => {
                let vg = if self.fault == Fault::LinkUnverified { group.epoch } else { me.vg };
                let (next, answer) = self.machine.ask(group, Ask::Link { vg });
                if answer == Answer::Done {
                    let state = state.with(number, Pusher { at: At::Told, vg: 0 });
                    go(&say("links"), state.with_group(home, next));
                } else {
                    for vg in 0..=group.epoch {
                        go(&say("verifies again to link"), then(At::PinToLink(0), vg));
                    }
                }
            }
            At::Told => {
                for vg in 0..=group.epoch {
                    go(&say("reads an epoch to push"), then(At::Pin(0), vg));
                }
            }
            At::Pin(copy) => {
                let after = [At::Pin(1), At::Put][usize::from(copy)];
                go(&say("pins"), state.pinned(number, copy, after));
            }
            At::Put => {
                let ask = Ask::Push { by: number as u8, vg: me.vg, strict: true };
                let (next, answer) = self.machine.ask(group, ask);
                let at = match answer {
                    Answer::Done => At::Pushed,
                    Answer::Reverify => At::Told,
                    Answer::Refused => At::Start,
                };
                let state = state.with(number, Pusher { at, vg: 0 });
                go(&say("PUT manifest"), state.with_group(home, next));
            }
            At::Pushed => {
                let (next, _) = self.machine.ask(group, Ask::Delete { by: number as u8 });
                go(&say("DELETE manifest"), then(At::Gone, 0).with_group(home, next));
            }
            At::Gone => {}
        }
    }
}

fn send<const P: usize>(
    state: State<P>,
    go: Go<'_, State<P>>,
    what: &'static str,
    add: impl Fn(&mut UnderWay),
) {
    let mut next = state;
    add(&mut next.under_way);
    go(&|| format!("sent: {what}"), next.without_idle_commands());
}

impl<const P: usize> State<P> {
    fn with(mut self, number: usize, pusher: Pusher) -> Self {
        self.pushers[number] = pusher;
        self
    }

    fn with_group(mut self, number: usize, group: Group) -> Self {
        self.groups[number] = group;
        self
    }

    /// The pusher pins a copy, or starts again because it is gone.
    fn pinned(self, number: usize, copy: u8, after: At) -> Self {
        let (vg, copy) = (self.pushers[number].vg, usize::from(copy));
        if self.copies[copy] < 0 {
            return self.with(number, Pusher::default());
        }
        let mut next = self.with(number, Pusher { at: after, vg });
        next.copies[copy] = next.copies[copy].max(vg as i8);
        next
    }

    /// Forgets commands that can never again do anything: the epoch has passed, or the mark is gone
    /// and cannot come back. It keeps the number of states down and takes nothing away.
    fn without_idle_commands(mut self) -> Self {
        for (number, group) in self.groups.iter().enumerate() {
            let passed = (1_u8 << group.epoch).wrapping_mul(2).wrapping_sub(1);
            let mark = if group.mark > 0 { 1 << group.mark } else { 0 };
            let way = &mut self.under_way;
            way.condemn[number] &= !passed;
            way.abort[number] &= !passed | mark;
            way.finish[number] &= !passed | mark;
            if number == 0 {
                way.close &= !passed;
            }
        }
        self
    }
}

#[test]
fn what_is_told_and_what_is_needed_stays() {
    let states = run([0, 1], 2, Fault::None).safe();
    println!("{states} states with a pusher in each group and two rounds");
    let states = run([1, 1], 1, Fault::None).safe();
    println!("{states} states with two pushers in group 1 and one round");
}

#[test]
fn each_rule_is_needed() {
    for (fault, rounds) in [
        (Fault::FinishOtherWay, 1),
        (Fault::DeleteEarly, 1),
        (Fault::LinkUnverified, 1),
        (Fault::AbortOpen, 1),
    ] {
        let story = run([0, 1], rounds, fault).violated();
        println!("{fault:?}:\n  {}", story.join("\n  "));
    }
}
