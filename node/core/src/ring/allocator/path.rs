//! The best arrangement of few classes, by looking at all of them.
//!
//! Going round the circle, what may come next depends only on the last `window − 1` classes. That
//! makes every arrangement a path through so many states, and the cheapest path is found in one
//! pass. A change costs; and each class has a price per point, raised while it has too many and
//! lowered while it has too few, until the cheapest path has about the numbers that are wanted.
//! Costs carry some noise, otherwise all points in like surroundings would change at once.

use super::{
    random::Random,
    sequence::{Before, NONE, Sequence},
};

/// Steps from state to state for all prices tried together: about a second when optimised.
const STEPS_MAX: usize = 1_200_000_000;

/// States: one byte is kept for each at each point, 32 MiB at 65,536 points.
const STATES_MAX: usize = 512;

/// Prices tried.
const PASSES_MAX: usize = 40;

/// Prices after the best ones that brought nothing better.
const FRUITLESS_MAX: usize = 8;

/// Prices that are worth the effort; with fewer passes than this they have not settled.
const PASSES_MIN: usize = 12;

/// What changing a point costs at least. At most it is twice that, so that one change is never
/// dearer than two.
const CHANGE: i64 = 1 << 12;

/// More than any path costs.
const FORBIDDEN: i64 = 1 << 60;

/// Is looking at all arrangements affordable?
pub(super) fn is_possible(start: &Sequence) -> bool {
    let states = States::new(start.targets.len(), start.window);
    states.is_some_and(|states| states.passes(start) >= PASSES_MIN)
}

/// The arrangement with about the wanted numbers and the fewest changes; `None` when there are too
/// many classes to look at all.
pub(super) fn best(start: &Sequence, before: &Before) -> Option<Sequence> {
    let states = States::new(start.targets.len(), start.window)?;
    let circle = Circle::new(start, before)?;
    let mut prices = Prices::new(start);
    let mut best: Option<(usize, Sequence)> = None;
    let (mut passes, mut fruitless) = (states.passes(start), 0);
    while passes > 0 && fruitless < FRUITLESS_MAX {
        let at = states.cheapest(&circle, &prices.price)?;
        let mut sequence = start.clone();
        at.iter().enumerate().for_each(|(point, class)| sequence.set(point, *class));
        let off: usize = sequence.classes().map(|class| sequence.lack(class).unsigned_abs()).sum();
        let is_done = !prices.adjust(&sequence);
        fruitless += 1;
        if best.as_ref().is_none_or(|(least, _)| off < *least) {
            best = Some((off, sequence));
            fruitless = 0;
        }
        passes = if is_done { 0 } else { passes - 1 };
    }
    best.map(|(_, sequence)| sequence)
}

/// Prices per point of each class.
struct Prices {
    price: Vec<i64>,
    /// How far to go in the next step, and which way the last one went.
    step: Vec<i64>,
    direction: Vec<i64>,
}

impl Prices {
    fn new(start: &Sequence) -> Prices {
        let classes = start.targets.len();
        Prices {
            price: vec![0; classes],
            step: vec![CHANGE / 2; classes],
            direction: vec![0; classes],
        }
    }

    /// Steps grow while they go one way and shrink when they turn. Answers whether any was needed.
    fn adjust(&mut self, sequence: &Sequence) -> bool {
        let mut moved = false;
        for class in sequence.classes() {
            let (lack, index) = (sequence.lack(class), usize::from(class));
            if lack.unsigned_abs() <= sequence.targets[index] / 500 + 1 {
                continue;
            }
            moved = true;
            let direction = if lack > 0 { -1 } else { 1 };
            let step = &mut self.step[index];
            *step = match self.direction[index] * direction {
                1 => (*step * 13 / 10).min(4 * CHANGE),
                -1 => (*step / 2).max(1),
                _ => *step,
            };
            self.direction[index] = direction;
            self.price[index] += direction * *step;
        }
        moved
    }
}

/// What each class costs at each point, the circle cut open where it need not change.
struct Circle {
    /// The point where it is cut: this and the next `window − 2` points keep their classes.
    cut: usize,
    /// The classes that are kept there.
    kept: Vec<u16>,
    len: usize,
    classes: usize,
    /// Cost of class `c` at the `i`-th point after the cut: `i · classes + c`.
    cost: Vec<i64>,
}

impl Circle {
    fn new(start: &Sequence, before: &Before) -> Option<Circle> {
        let (len, classes, kept) = (start.at.len(), start.targets.len(), start.window - 1);
        let run = |cut: usize| (0..kept).map(move |step| (cut + step) % len);
        let is_good = |cut: &usize| {
            let distinct =
                |a: usize| run(*cut).filter(|b| start.at[*b] == start.at[a]).count() == 1;
            run(*cut).all(|point| start.at[point] != NONE && distinct(point))
        };
        let cut = (0..len).find(is_good)?;
        let mut random = Random::new(len as u64);
        let mut cost = Vec::with_capacity(len * classes);
        for step in 0..len {
            let point = (cut + step) % len;
            let now = start.at[point];
            // What can be spared is cheaper.
            let least = if before.spare[before.holder[point]] > 0 { 0 } else { CHANGE / 2 };
            for class in 0..classes as u16 {
                let noise = (random.next() % (CHANGE as u64 / 2)) as i64;
                cost.push(match now {
                    NONE => noise,
                    _ if now == class => 0,
                    _ => CHANGE + least + noise,
                });
            }
        }
        let kept = run(cut).map(|point| start.at[point]).collect();
        Some(Circle { cut, kept, len, classes, cost })
    }
}

/// All ways in which `window − 1` classes can stand in a row, and what can precede each.
struct States {
    /// The classes of each state, the newest last.
    rows: Vec<Vec<u16>>,
    /// States from which each is reached.
    before: Vec<Vec<u16>>,
}

impl States {
    fn new(classes: usize, window: usize) -> Option<States> {
        let mut rows: Vec<Vec<u16>> = vec![Vec::new()];
        for _ in 1..window {
            rows = rows.iter().flat_map(|row| longer(row, classes as u16)).collect();
            if rows.len() > STATES_MAX {
                return None;
            }
        }
        // Rows are in lexicographic order, so they can be searched.
        let precedes = |row: &Vec<u16>| -> Vec<u16> {
            let dropped = (0..classes as u16).filter(|class| !row.contains(class));
            let states = dropped.map(|class| {
                let mut earlier = vec![class];
                earlier.extend(&row[..row.len().saturating_sub(1)]);
                earlier.truncate(row.len());
                rows.binary_search(&earlier).unwrap_or_default() as u16
            });
            states.collect()
        };
        let before = rows.iter().map(precedes).collect();
        (window > 1 && classes > window).then_some(States { rows, before })
    }

    /// For how many prices the cheapest path can be found.
    fn passes(&self, start: &Sequence) -> usize {
        let steps: usize = self.before.iter().map(Vec::len).sum();
        (STEPS_MAX / (steps * start.at.len())).min(PASSES_MAX)
    }

    /// The classes of all points on the cheapest path round the circle.
    fn cheapest(&self, circle: &Circle, price: &[i64]) -> Option<Vec<u16>> {
        let first = self.rows.binary_search(&circle.kept).ok()?;
        let mut total = vec![FORBIDDEN; self.rows.len()];
        total[first] = 0;
        let mut came_from = vec![0_u8; circle.len * self.rows.len()];
        let newest: Vec<usize> =
            self.rows.iter().map(|row| usize::from(row[row.len() - 1])).collect();
        // From the kept points round to the same kept points again.
        for step in circle.kept.len()..circle.len + circle.kept.len() {
            let cost = &circle.cost[step % circle.len * circle.classes..][..circle.classes];
            let forced = step.checked_sub(circle.len).map(|kept| usize::from(circle.kept[kept]));
            let mut next = vec![FORBIDDEN; self.rows.len()];
            let from = (step - circle.kept.len()) * self.rows.len();
            for (state, before) in self.before.iter().enumerate() {
                let class = newest[state];
                if forced.is_some_and(|forced| forced != class) {
                    continue;
                }
                let mut least = (FORBIDDEN, 0);
                for (which, earlier) in before.iter().enumerate() {
                    if total[usize::from(*earlier)] < least.0 {
                        least = (total[usize::from(*earlier)], which as u8);
                    }
                }
                next[state] = (least.0 + cost[class] + price[class]).min(FORBIDDEN);
                came_from[from + state] = least.1;
            }
            total = next;
        }
        (total[first] < FORBIDDEN).then(|| self.trace(circle, first, &came_from))
    }

    fn trace(&self, circle: &Circle, last: usize, came_from: &[u8]) -> Vec<u16> {
        let mut at = vec![0; circle.len];
        let mut state = last;
        for step in (0..circle.len).rev() {
            let newest = self.rows[state].last().copied().unwrap_or_default();
            at[(circle.cut + step + circle.kept.len()) % circle.len] = newest;
            let which = came_from[step * self.rows.len() + state];
            state = usize::from(self.before[state][usize::from(which)]);
        }
        at
    }
}

/// The rows that are longer by one class.
fn longer(row: &[u16], classes: u16) -> impl Iterator<Item = Vec<u16>> + '_ {
    let next = (0..classes).filter(|class| !row.contains(class));
    next.map(|class| {
        let mut longer = row.to_vec();
        longer.push(class);
        longer
    })
}
