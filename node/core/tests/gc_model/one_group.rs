//! The protocol as it was first written down: one group, no links.
//!
//! The state counts are those of the model in Python that the design was checked with.

use super::{
    groups::{Answer, Ask, Group, Machine},
    search::{Found, search},
};

/// Which of the two rules are kept.
#[derive(Clone, Copy)]
struct Rules {
    /// A command prepared before the newest epoch is refused.
    epoch_check: bool,
    /// A pin raises the stamp of the copy.
    pin_stamps: bool,
}

/// A pusher: how far it is, the stamp it stores with, and the epoch it verified with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Pusher {
    at: u8,
    stamp: i8,
    vg: i8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct State<const P: usize> {
    epoch: i8,
    mark: i8,
    manifests: u8,
    /// The stamps of the two copies; -1 when there is none.
    copies: [i8; 2],
    /// Which copies have answered the delete of the round under way.
    answered: u8,
    pushers: [Pusher; P],
}

struct Model {
    rules: Rules,
    rounds: i8,
    machine: Machine,
}

fn run<const P: usize>(epoch_check: bool, pin_stamps: bool, rounds: i8) -> Found {
    let rules = Rules { epoch_check, pin_stamps };
    let mut model = Model { rules, rounds, machine: Machine::default() };
    let start = State {
        epoch: 0,
        mark: 0,
        manifests: 0,
        copies: [-1; 2],
        answered: 0,
        pushers: [Pusher::default(); P],
    };
    let lost = |state: &State<P>| {
        let lost = state.manifests > 0 && state.copies.contains(&-1);
        lost.then_some("a manifest needs a blob whose copy was deleted")
    };
    search(start, |state, go| model.steps(state, go), lost)
}

type Go<'a, S> = &'a mut dyn FnMut(&dyn Fn() -> String, S);

impl Model {
    fn steps<const P: usize>(&mut self, state: &State<P>, go: Go<'_, State<P>>) {
        self.collect(*state, go);
        for number in 0..P {
            self.push(*state, number, go);
        }
    }

    fn collect<const P: usize>(&mut self, state: State<P>, go: Go<'_, State<P>>) {
        if state.mark == 0 && state.manifests == 0 && state.epoch < self.rounds {
            let epoch = state.epoch + 1;
            let next = State { epoch, mark: epoch, answered: 0, ..state };
            self.check(&state, Ask::Condemn { e: epoch as u8, blob: true }, &next, Answer::Done);
            go(&|| format!("condemn {epoch}"), next);
        }
        for epoch in 1..=state.epoch {
            for copy in 0..2 {
                let mut next = state;
                if next.copies[copy] < epoch {
                    next.copies[copy] = -1;
                }
                if epoch == state.mark {
                    next.answered |= 1 << copy;
                }
                go(&|| format!("delete {epoch} at copy {copy}"), next);
            }
        }
        if state.mark > 0 && state.answered == 3 {
            let next = State { mark: 0, answered: 0, ..state };
            self.check(&state, Ask::Finish { e: state.mark as u8 }, &next, Answer::Done);
            go(&|| format!("finish {}", state.mark), next);
        }
    }

    fn push<const P: usize>(&mut self, state: State<P>, number: usize, go: Go<'_, State<P>>) {
        let me = state.pushers[number];
        let then = |at: u8, stamp: i8, vg: i8| {
            let mut next = state;
            next.pushers[number] = Pusher { at, stamp, vg };
            next
        };
        let say = |what: &'static str| move || format!("pusher {number}: {what}");
        match me.at {
            0 if state.mark == 0 => go(&say("begin"), then(1, state.epoch, 0)),
            1 => {
                if state.copies != [-1; 2] {
                    go(&say("HEAD says 200"), then(4, me.stamp, 0));
                }
                if state.copies.contains(&-1) {
                    go(&say("HEAD says 404"), then(2, me.stamp, 0));
                }
            }
            2 | 3 => {
                let mut next = then(me.at + 1, me.stamp, 0);
                let copy = &mut next.copies[usize::from(me.at) - 2];
                *copy = me.stamp.max(*copy);
                go(&say("store"), next);
            }
            4 if state.mark == 0 => go(&say("reads the epoch"), then(5, me.stamp, state.epoch)),
            5 | 6 => {
                let copy = usize::from(me.at) - 5;
                if state.copies[copy] < 0 {
                    return go(&say("the blob is gone"), then(0, 0, 0));
                }
                let mut next = then(me.at + 1, me.stamp, me.vg);
                if self.rules.pin_stamps {
                    next.copies[copy] = me.vg.max(state.copies[copy]);
                }
                go(&say("pin"), next);
            }
            7 => {
                let late = self.rules.epoch_check && me.vg < state.epoch;
                let refused = state.mark > 0 || late;
                let (next, answer) = if refused {
                    (then(4, me.stamp, 0), Answer::Reverify)
                } else {
                    let manifests = state.manifests + 1;
                    (State { manifests, ..then(8, 0, 0) }, Answer::Done)
                };
                let (by, vg) = (state.manifests, me.vg as u8);
                self.check(&state, Ask::Push { by, vg, strict: false }, &next, answer);
                go(&say(if refused { "PUT manifest refused" } else { "PUT manifest" }), next);
            }
            8 => {
                let manifests = state.manifests - 1;
                let next = State { manifests, ..then(9, 0, 0) };
                self.check(&state, Ask::Delete { by: manifests }, &next, Answer::Done);
                go(&say("DELETE manifest"), next);
            }
            _ => {}
        }
    }

    /// With both rules kept, the real state machine must do the same.
    fn check<const P: usize>(&mut self, from: &State<P>, ask: Ask, to: &State<P>, answer: Answer) {
        if !self.rules.epoch_check || !self.rules.pin_stamps {
            return;
        }
        let group = |state: &State<P>| Group {
            epoch: state.epoch as u8,
            mark: state.mark as u8,
            manifests: (1 << state.manifests) - 1,
            linked: false,
        };
        assert_eq!(self.machine.ask(group(from), ask), (group(to), answer), "{from:?} {ask:?}");
    }
}

#[test]
fn without_epochs_and_stamps_a_push_slips_past_a_finished_round() {
    assert_eq!(run::<2>(false, false, 2).violated().len(), 12);
}

#[test]
fn without_stamps_a_late_delete_takes_a_blob_that_came_back() {
    let story = run::<2>(true, false, 2).violated();
    let last = |what: &str| story.iter().rposition(|step| step.starts_with(what)).unwrap();
    assert!(last("finish") < last("delete"), "{story:?}");
}

#[test]
fn without_epochs_a_push_verified_before_the_round_commits_after_it() {
    let story = run::<2>(false, true, 2).violated();
    assert!(story.last().unwrap().contains("PUT manifest"), "{story:?}");
}

#[test]
fn epochs_and_stamps_together_lose_nothing() {
    assert_eq!(run::<2>(true, true, 2).safe(), 8_176);
    assert_eq!(run::<3>(true, true, 2).safe(), 216_855);
    assert_eq!(run::<2>(true, true, 3).safe(), 25_783);
}
