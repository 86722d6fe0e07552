//! Breadth-first search through all states, so that a violation is told by its shortest story.

use std::{collections::HashMap, fmt::Debug, hash::Hash};

/// What a search found.
#[derive(Debug)]
pub struct Found {
    /// States seen.
    pub states: usize,
    /// The steps to the first state that is wrong, and what is wrong with it.
    pub violation: Option<(Vec<String>, &'static str)>,
}

impl Found {
    /// Insists that every state is right; answers how many there are.
    pub fn safe(self) -> usize {
        match self.violation {
            None => self.states,
            Some((story, what)) => panic!("{what}:\n{}", story.join("\n")),
        }
    }

    /// Insists that some state is wrong; answers the story.
    pub fn violated(self) -> Vec<String> {
        self.violation.expect("no violation was found").0
    }
}

/// Visits every state reachable from `start`. `next` tells the steps from a state, `wrong` what is wrong
/// with one.
pub fn search<S: Copy + Eq + Hash + Debug>(
    start: S,
    mut next: impl FnMut(&S, &mut dyn FnMut(&dyn Fn() -> String, S)),
    wrong: impl Fn(&S) -> Option<&'static str>,
) -> Found {
    let mut numbers = HashMap::from([(start, 0_u32)]);
    let mut states = vec![start];
    let mut parents = vec![0_u32];
    let mut at = 0;
    while at < states.len() {
        let state = states[at];
        if let Some(what) = wrong(&state) {
            let story = story(&states, &parents, at, &mut next);
            return Found { states: states.len(), violation: Some((story, what)) };
        }
        next(&state, &mut |_, reached| {
            let number = states.len() as u32;
            if let std::collections::hash_map::Entry::Vacant(vacant) = numbers.entry(reached) {
                vacant.insert(number);
                states.push(reached);
                parents.push(at as u32);
            }
        });
        at += 1;
    }
    Found { states: states.len(), violation: None }
}

fn story<S: Copy + Eq + Debug>(
    states: &[S],
    parents: &[u32],
    mut at: usize,
    next: &mut impl FnMut(&S, &mut dyn FnMut(&dyn Fn() -> String, S)),
) -> Vec<String> {
    let mut story = Vec::new();
    while at != 0 {
        let parent = parents[at] as usize;
        let mut step = None;
        next(&states[parent], &mut |label, reached| {
            if reached == states[at] {
                step.get_or_insert_with(label);
            }
        });
        story.push(step.unwrap());
        at = parent;
    }
    story.reverse();
    story
}
