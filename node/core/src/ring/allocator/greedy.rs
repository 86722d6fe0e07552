//! Repair by single changes, and by chains of them where no single one helps.
//!
//! A class that lacks points takes one where it fits: from nobody, or from a class that has too
//! many. When there is no such point, it takes one from a class that has just enough, which then
//! takes one from a third that has too many: an augmenting path in the graph of who could take from
//! whom. Each link is one more change, so the shortest chain is sought, over all classes at once.

use std::collections::VecDeque;

use super::{
    random::Random,
    sequence::{Before, NONE, Sequence},
};

/// Points looked at in search of chains before what is lacking is left as it is: a fifth of a second
/// when optimised.
pub(super) const STEPS_MAX: usize = 40_000_000;

/// The same where a better way follows if this one fails.
pub(super) const STEPS_FEW: usize = 1_000_000;

/// Searches, each from another end, that found nothing before what is lacking is left as it is.
const FRUITLESS_MAX: usize = 4;

/// Fills what is empty and brings every class to its target, as far as that can be done.
pub(super) fn repair(sequence: &mut Sequence, before: &Before, steps: usize) {
    let mut random = Random::new(0x0a70);
    let mut order: Vec<usize> = (0..sequence.at.len()).collect();
    random.shuffle(&mut order);
    fill(sequence, &order, &mut random);
    take(sequence, &order, &mut random, Some(Spare::new(before)));
    take(sequence, &order, &mut random, None);
    let mut chains = Chains { order, steps_left: steps };
    let mut fruitless = 0;
    while fruitless < FRUITLESS_MAX && sequence.lacks_any() && chains.steps_left > 0 {
        let first = random.below(chains.order.len());
        chains.order.rotate_left(first);
        fruitless = if chains.round(sequence) { 0 } else { fruitless + 1 };
    }
    fill_anyhow(sequence, &chains.order);
}

/// What may still be taken from each holder of points without it falling below its own number.
struct Spare<'a> {
    holder: &'a [usize],
    left: Vec<usize>,
}

impl<'a> Spare<'a> {
    fn new(before: &'a Before) -> Spare<'a> {
        Spare { holder: &before.holder, left: before.spare.clone() }
    }
}

/// Gives empty points to classes that lack some and fit.
fn fill(sequence: &mut Sequence, order: &[usize], random: &mut Random) {
    for &point in order {
        if sequence.at[point] != NONE {
            continue;
        }
        let lacking = sequence.classes().filter(|class| sequence.lack(*class) > 0);
        let fitting = lacking.filter(|class| sequence.fits(point, *class));
        // By what it lacks relative to what it should have, with some noise for variety.
        let urgency = |class: &u16| {
            let target = sequence.targets[usize::from(*class)].max(1) as u64;
            sequence.lack(*class) as u64 * 16_000 / target + random.next() % 4_000
        };
        if let Some(class) = fitting.max_by_key(urgency) {
            sequence.set(point, class);
        }
    }
}

/// Gives points of classes that have too many to classes that lack some and fit; only such as can be
/// spared, if that is given.
fn take(sequence: &mut Sequence, order: &[usize], random: &mut Random, mut spare: Option<Spare>) {
    let mut lacking: Vec<u16> =
        sequence.classes().filter(|class| sequence.lack(*class) > 0).collect();
    for &point in order {
        if lacking.is_empty() {
            return;
        }
        let owner = sequence.at[point];
        let is_spared = |spare: &Spare| spare.left[spare.holder[point]] > 0;
        if owner == NONE || sequence.lack(owner) >= 0 || !spare.as_ref().is_none_or(is_spared) {
            continue;
        }
        let first = random.below(lacking.len());
        let mut turn = (0..lacking.len()).map(|step| lacking[(first + step) % lacking.len()]);
        if let Some(class) = turn.find(|class| sequence.fits(point, *class)) {
            sequence.set(point, class);
            lacking.retain(|class| sequence.lack(*class) > 0);
            if let Some(spare) = &mut spare {
                spare.left[spare.holder[point]] -= 1;
            }
        }
    }
}

/// A point and the class that takes it.
type Link = (usize, u16);

/// The search for chains.
struct Chains {
    order: Vec<usize>,
    steps_left: usize,
}

impl Chains {
    /// Chains for every class that lacks points, as long as they hold when they are carried out.
    /// Answers whether anything got better.
    fn round(&mut self, sequence: &mut Sequence) -> bool {
        let lacking: Vec<u16> =
            sequence.classes().filter(|class| sequence.lack(*class) > 0).collect();
        let mut improved = false;
        for class in lacking {
            while sequence.lack(class) > 0 {
                let chain = self.shortest(sequence, class);
                if !chain.is_some_and(|chain| carry_out(sequence, &chain)) {
                    break;
                }
                improved = true;
            }
        }
        improved
    }

    /// The shortest chain by which `class` gains a point and only a class with too many, or an empty
    /// point, loses one. The last link comes first, so that each makes room for the next.
    fn shortest(&mut self, sequence: &Sequence, class: u16) -> Option<Vec<Link>> {
        let classes = sequence.targets.len();
        // Who took from each class first, and where.
        let mut taken_by: Vec<Option<Link>> = vec![None; classes];
        let mut queue = VecDeque::from([class]);
        while let Some(taker) = queue.pop_front() {
            for &point in &self.order {
                self.steps_left = self.steps_left.checked_sub(1)?;
                let owner = sequence.at[point];
                let is_end = owner == NONE || sequence.lack(owner) < 0;
                let is_known =
                    |owner: u16| owner == class || taken_by[usize::from(owner)].is_some();
                if (!is_end && is_known(owner)) || !sequence.fits(point, taker) {
                    continue;
                }
                if is_end {
                    return Some(links(&taken_by, class, (point, taker)));
                }
                taken_by[usize::from(owner)] = Some((point, taker));
                queue.push_back(owner);
            }
        }
        None
    }
}

/// The chain that ends with `last`.
fn links(taken_by: &[Option<Link>], class: u16, last: Link) -> Vec<Link> {
    let mut chain = vec![last];
    let mut taker = last.1;
    while taker != class {
        let Some(link) = taken_by[usize::from(taker)] else { break };
        chain.push(link);
        taker = link.1;
    }
    chain
}

/// Carries a chain out, or nothing of it if one link stands in the way of another.
fn carry_out(sequence: &mut Sequence, chain: &[Link]) -> bool {
    let mut undo = Vec::with_capacity(chain.len());
    for &(point, class) in chain {
        undo.push((point, sequence.at[point]));
        if !sequence.fits(point, class) {
            undo.pop();
            for (point, class) in undo.into_iter().rev() {
                sequence.set(point, class);
            }
            return false;
        }
        sequence.set(point, class);
    }
    true
}

/// Gives the points that are still empty to whoever disturbs least.
fn fill_anyhow(sequence: &mut Sequence, order: &[usize]) {
    for &point in order {
        if sequence.at[point] == NONE {
            let best = |class: &u16| (sequence.fits(point, *class), sequence.lack(*class));
            if let Some(class) = sequence.classes().max_by_key(best) {
                sequence.set(point, class);
            }
        }
    }
}
