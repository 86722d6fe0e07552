//! The suite of [`Clock`].

use std::time::Duration;

use crate::io::Clock;

/// Runs all of it.
pub async fn suite(clock: &dyn Clock) {
    never_goes_back(clock);
    passes_while_one_sleeps(clock).await;
}

fn never_goes_back(clock: &dyn Clock) {
    let mut last = clock.monotonic();
    for _ in 0..10_000 {
        let now = clock.monotonic();
        assert!(now >= last, "{now:?} after {last:?}");
        last = now;
    }
}

async fn passes_while_one_sleeps(clock: &dyn Clock) {
    const NAP: Duration = Duration::from_millis(30);
    // Drift and the machine's load may stretch a nap, not squeeze it by more than this.
    const AT_LEAST: Duration = Duration::from_millis(25);
    const AT_MOST: Duration = Duration::from_secs(20);
    let (wall, monotonic) = (clock.wall(), clock.monotonic());
    tokio::time::sleep(NAP).await;
    let passed = clock.monotonic() - monotonic;
    assert!((AT_LEAST..AT_MOST).contains(&passed), "monotonic: {passed:?}");
    let passed = clock.wall().duration_since(wall).unwrap();
    assert!((AT_LEAST..AT_MOST).contains(&passed), "wall: {passed:?}");
}
