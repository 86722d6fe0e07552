//! How many points each should have.
//!
//! Shares follow weights, but none may exceed a cap: a class with more than one point in R cannot
//! be spread. What is cut off goes to the others by weight. Fractions are rounded so that those who
//! already have the extra point keep it, which saves a point of movement for every node whose
//! fraction happens to be reordered.

/// Whole numbers for `weights` that add up to `total`, each within one of its exact share.
///
/// No number exceeds `cap`, unless the caps together are less than `total`: then they are raised
/// alike. Each is at least 1 if there is enough to go round. `current` says what each has now.
pub(super) fn apportion(
    weights: &[u64],
    total: usize,
    cap: usize,
    current: &[usize],
) -> Vec<usize> {
    let cap = cap.max(total.div_ceil(weights.len()));
    let mut targets = vec![cap; weights.len()];
    let mut free: Vec<usize> = (0..weights.len()).collect();
    let mut left = total;
    // Capping one raises the others, so that more may reach the cap.
    loop {
        let sum: u128 = free.iter().map(|index| u128::from(weights[*index])).sum();
        let exceeds =
            |index: &usize| left as u128 * u128::from(weights[*index]) > cap as u128 * sum;
        let (over, under): (Vec<usize>, Vec<usize>) = free.iter().copied().partition(exceeds);
        if over.is_empty() || under.is_empty() {
            round(weights, left, current, &free, &mut targets);
            break;
        }
        left -= over.len() * cap;
        free = under;
    }
    raise_zeros(&mut targets, total);
    targets
}

fn round(weights: &[u64], left: usize, current: &[usize], free: &[usize], targets: &mut [usize]) {
    let sum: u128 = free.iter().map(|index| u128::from(weights[*index])).sum();
    let exact = |index: usize| left as u128 * u128::from(weights[index]);
    let mut given = 0;
    for &index in free {
        targets[index] = (exact(index) / sum) as usize;
        given += targets[index];
    }
    let mut fractions: Vec<usize> =
        free.iter().copied().filter(|index| !exact(*index).is_multiple_of(sum)).collect();
    fractions.sort_by_key(|index| {
        let keeps = current[*index] > targets[*index];
        (!keeps, std::cmp::Reverse(exact(*index) % sum), *index)
    });
    for &index in fractions.iter().take(left - given) {
        targets[index] += 1;
    }
}

fn raise_zeros(targets: &mut [usize], total: usize) {
    if total < targets.len() {
        return;
    }
    while let Some(zero) = targets.iter().position(|target| *target == 0) {
        let Some(largest) = (0..targets.len()).rev().max_by_key(|index| targets[*index]) else {
            return;
        };
        targets[largest] -= 1;
        targets[zero] = 1;
    }
}

/// Targets for classes of which any `window` in a row must be distinct.
///
/// A class at its cap leaves no freedom at all: its points stand at every R-th place, and a small
/// change elsewhere would move most of them. So the cap is a little lower where the others barely
/// notice.
pub(super) fn for_window(
    weights: &[u64],
    total: usize,
    window: usize,
    current: &[usize],
) -> Vec<usize> {
    let cap = total / window;
    let hard = apportion(weights, total, cap, current);
    let soft = apportion(weights, total, cap - cap / SLACK, current);
    // 2 % and a point, so that the bound of 5 % holds with room.
    let is_close = hard.iter().zip(&soft).all(|(hard, soft)| soft * 50 <= hard * 51 + 50);
    if is_close { soft } else { hard }
}

/// The soft cap is lower by one part in so many.
const SLACK: usize = 40;
