//! The rare paths that a campaign must have taken ([`atoll_node::io::sometimes`]).

use atoll_node::io::Sometimes;

use crate::{runner::Tally, scenarios::Scenario};

/// What a path is counted behind.
pub const MARK: &str = "sometimes ";

/// Seeds after which a path that was never taken is a blind spot. The rarest of them is taken in
/// about one of fifty runs.
const SEEDS_ENOUGH: u64 = 400;

/// Says which paths that `scenarios` should take were never taken; answers whether there are none, or
/// too few seeds to tell.
pub fn judge(tally: &Tally, scenarios: &[Scenario]) -> bool {
    let expected = |point: &Sometimes| scenarios.iter().any(|scenario| scenario.takes(*point));
    let is_taken = |point: &Sometimes| tally.count(&format!("{MARK}{}", point.name())) > 0;
    let all: Vec<Sometimes> = Sometimes::ALL.iter().copied().filter(expected).collect();
    let never: Vec<&str> =
        all.iter().filter(|point| !is_taken(point)).map(|point| point.name()).collect();
    println!("  rare paths: {} of {} taken", all.len() - never.len(), all.len());
    if never.is_empty() {
        return true;
    }
    println!("  never taken: {}", never.join(", "));
    tally.passed + tally.failed < SEEDS_ENOUGH
}
