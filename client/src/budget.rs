//! What the unusual may cost in relation to the usual.
//!
//! Every ordinary request earns a share of an extra one. A client that has done little has little to
//! spend, so a start against a slow cluster does not double its load; a few extras are always free,
//! or the first slow request would have nobody to help it.

use std::sync::{Mutex, PoisonError};

/// Extras that can be saved up, in hundredths: a burst after a long quiet time is bounded.
const SAVED_MAX: u64 = 100 * 100;
/// What a new client has.
const SAVED_FIRST: u64 = 5 * 100;

/// Earns hundredths, spends whole ones.
#[derive(Debug)]
pub(crate) struct Budget {
    per_hundred: u64,
    saved: Mutex<u64>,
}

impl Budget {
    /// So many extras for a hundred requests; with 0 none at all.
    pub(crate) fn new(per_hundred: u32) -> Budget {
        let first = if per_hundred == 0 { 0 } else { SAVED_FIRST };
        Budget { per_hundred: per_hundred.into(), saved: Mutex::new(first) }
    }

    /// An ordinary request was made.
    pub(crate) fn earn(&self) {
        let mut saved = self.saved.lock().unwrap_or_else(PoisonError::into_inner);
        *saved = (*saved + self.per_hundred).min(SAVED_MAX);
    }

    /// May an extra one be made? If so it is paid.
    pub(crate) fn spend(&self) -> bool {
        let mut saved = self.saved.lock().unwrap_or_else(PoisonError::into_inner);
        let rest = saved.checked_sub(100);
        *saved = rest.unwrap_or(*saved);
        rest.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extras_stay_within_their_share() {
        let budget = Budget::new(5);
        let mut extras = 0;
        for _ in 0..10_000 {
            budget.earn();
            extras += u64::from(budget.spend());
        }
        assert!((500..=505).contains(&extras), "{extras}");
        let none = Budget::new(0);
        none.earn();
        assert!(!none.spend());
    }
}
