//! A circle of classes of which any few in a row are distinct.
//!
//! From scratch the classes are drawn at random in proportion to what is left of each, and forced
//! where one would not find room otherwise. Random, because a regular pattern is rigid: in
//! `ABCDEABCDE…` no point can change hands without breaking a window of three.
//!
//! A change keeps all that is right and repairs the rest: [`greedy`](super::greedy) moves, with
//! chains of exchanges where no single one helps. That is within a percent of the least possible
//! unless the classes are few and full; then [`path`](super::path) looks at all arrangements.

use super::{greedy, path, random::Random};

/// A point without a class yet.
pub(super) const NONE: u16 = u16::MAX;

/// A circle of classes.
#[derive(Clone)]
pub(super) struct Sequence {
    pub(super) at: Vec<u16>,
    pub(super) counts: Vec<usize>,
    pub(super) targets: Vec<usize>,
    pub(super) window: usize,
}

/// A circle before it is changed.
pub(super) struct Before {
    /// The class at each point, or [`NONE`].
    pub(super) at: Vec<u16>,
    /// Points of each class.
    pub(super) counts: Vec<usize>,
    /// Points that each class should have.
    pub(super) targets: Vec<usize>,
    /// Who in the class holds each point, by a number.
    pub(super) holder: Vec<usize>,
    /// For each of them, the points that it has too many.
    pub(super) spare: Vec<usize>,
}

/// Gives every point a class: as many to each as its target says, any `window` in a row distinct if
/// that is possible, and as few changed as can be; from those who have points to spare first.
pub(super) fn arrange(before: &Before, window: usize) -> Vec<u16> {
    let (counts, targets) = (before.counts.clone(), before.targets.clone());
    let mut start = Sequence { at: before.at.clone(), counts, targets, window };
    if start.targets.len() == window {
        return rigid(&before.at, window);
    }
    if start.counts.iter().all(|count| *count == 0) {
        start.draw();
    }
    let mut cleared = start.clone();
    cleared.clear_violations();
    let least = cleared.least_changes();
    let effort = if path::is_possible(&start) { greedy::STEPS_FEW } else { greedy::STEPS_MAX };
    let mut repaired = cleared;
    greedy::repair(&mut repaired, before, effort);
    let is_good = repaired.violations() == 0
        && repaired.is_balanced()
        && repaired.changes_from(&start) <= least + least / GOOD + 2;
    if !is_good && let Some(mut best) = path::best(&start, before) {
        greedy::repair(&mut best, before, greedy::STEPS_MAX);
        if best.rank(&start) < repaired.rank(&start) {
            return best.at;
        }
    }
    repaired.at
}

/// Changes above the least possible that are good enough: one in so many.
const GOOD: usize = 10;

/// As many classes as the window is long: they can only follow each other in one order, round and
/// round. Each place in that order goes to the class that has most of its points already.
fn rigid(before: &[u16], window: usize) -> Vec<u16> {
    let mut order = Vec::with_capacity(window);
    for place in 0..window {
        let count = |class: &u16| {
            before.iter().skip(place).step_by(window).filter(|at| *at == class).count()
        };
        let free = (0..window as u16).rev().filter(|class| !order.contains(class));
        order.extend(free.max_by_key(count));
    }
    (0..before.len()).map(|point| order[point % window]).collect()
}

/// Points of each class.
pub(super) fn counts(at: &[u16], classes: usize) -> Vec<usize> {
    let mut counts = vec![0; classes];
    for class in at.iter().filter(|class| **class != NONE) {
        counts[usize::from(*class)] += 1;
    }
    counts
}

impl Sequence {
    /// May the class stand at this point, whatever stands there now?
    pub(super) fn fits(&self, point: usize, class: u16) -> bool {
        // The number of points is a power of two; this is the innermost test of every search.
        let mask = self.at.len() - 1;
        (1..self.window).all(|step| {
            self.at[(point + step) & mask] != class
                && self.at[point.wrapping_sub(step) & mask] != class
        })
    }

    pub(super) fn set(&mut self, point: usize, class: u16) {
        let old = std::mem::replace(&mut self.at[point], class);
        if old != NONE {
            self.counts[usize::from(old)] -= 1;
        }
        if class != NONE {
            self.counts[usize::from(class)] += 1;
        }
    }

    /// How many points the class lacks; negative for one that has too many.
    pub(super) fn lack(&self, class: u16) -> isize {
        let class = usize::from(class);
        self.targets[class] as isize - self.counts[class] as isize
    }

    pub(super) fn classes(&self) -> std::ops::Range<u16> {
        0..self.targets.len() as u16
    }

    /// Points that repeat the class of one of the points before them in the same window.
    pub(super) fn violations(&self) -> usize {
        (0..self.at.len()).filter(|point| self.repeats(*point)).count()
    }

    fn repeats(&self, point: usize) -> bool {
        let len = self.at.len();
        let class = self.at[point];
        class == NONE || (1..self.window).any(|step| self.at[(point + len - step) % len] == class)
    }

    /// Is every class within half a percent, or a point, of its target?
    fn is_balanced(&self) -> bool {
        let is_near =
            |(count, target): (&usize, &usize)| count.abs_diff(*target) <= target / 200 + 1;
        self.counts.iter().zip(&self.targets).all(is_near)
    }

    fn changes_from(&self, start: &Sequence) -> usize {
        self.at.iter().zip(&start.at).filter(|(now, then)| now != then).count()
    }

    /// Does any class lack points?
    pub(super) fn lacks_any(&self) -> bool {
        self.classes().any(|class| self.lack(class) > 0)
    }

    /// Points that must change whatever is done.
    fn least_changes(&self) -> usize {
        let lacking: isize = self.classes().map(|class| self.lack(class).max(0)).sum();
        lacking as usize
    }

    /// Smaller is better: violations, then imbalance where it matters, then changes.
    fn rank(&self, start: &Sequence) -> (usize, usize, usize) {
        let worst = self.counts.iter().zip(&self.targets);
        let worst = worst.map(|(count, target)| {
            count.abs_diff(*target).saturating_sub(1) * 100 / target.max(&1)
        });
        (self.violations(), worst.max().unwrap_or(0), self.changes_from(start))
    }

    /// Takes away what stands too near to its like, from the class that has more than enough first.
    fn clear_violations(&mut self) {
        let len = self.at.len();
        for point in 0..len {
            for step in 1..self.window {
                let other = (point + step) % len;
                if self.at[point] != NONE && self.at[point] == self.at[other] {
                    self.set(other, NONE);
                }
            }
        }
    }

    /// Fills the empty circle from left to right.
    fn draw(&mut self) {
        let mut random = Random::new(self.targets.len() as u64);
        for point in 0..self.at.len() {
            if let Some(class) = self.drawn(point, &mut random) {
                self.set(point, class);
            }
        }
    }

    fn drawn(&self, point: usize, random: &mut Random) -> Option<u16> {
        let left = (self.at.len() - point) as isize;
        let is_forced = |class: &u16| self.lack(*class) * self.window as isize >= left;
        let fitting = |class: &u16| self.lack(*class) > 0 && self.fits(point, *class);
        let forced = self.classes().filter(is_forced).filter(fitting);
        if let Some(class) = forced.max_by_key(|class| self.lack(*class)) {
            return Some(class);
        }
        let recent: Vec<u16> = self.classes_near(point);
        let free = |class: &u16| !recent.contains(class);
        let sum: isize = left - recent.iter().map(|class| self.lack(*class).max(0)).sum::<isize>();
        let mut draw = random.below(sum.max(1) as usize) as isize;
        self.classes().filter(free).find(|class| {
            draw -= self.lack(*class).max(0);
            draw < 0
        })
    }

    /// The classes that may not stand at this point.
    fn classes_near(&self, point: usize) -> Vec<u16> {
        let len = self.at.len();
        let steps =
            (1..self.window).flat_map(|step| [(point + step) % len, (point + len - step) % len]);
        let mut near: Vec<u16> =
            steps.map(|other| self.at[other]).filter(|at| *at != NONE).collect();
        near.sort_unstable();
        near.dedup();
        near
    }
}
