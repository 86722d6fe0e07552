//! The room that all upload sessions of a node share.
//!
//! A session costs a little memory, its bytes cost disk that no committed blob may use. Both are
//! bounded here, so that clients who open sessions and never come back cannot fill a node. The
//! budget counts what was promised, not what is on the disk: a byte is reserved before it is
//! written and given back when its session ends or the write did not happen.

/// What the budget allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UploadBudgetLimits {
    /// Open sessions at one time.
    pub sessions_max: usize,
    /// Bytes in all open sessions together.
    pub bytes_max: u64,
}

/// What all sessions use now. Every reservation is paired with exactly one release.
#[derive(Clone, Debug)]
pub struct UploadBudget {
    limits: UploadBudgetLimits,
    sessions: usize,
    bytes: u64,
}

impl UploadBudget {
    /// An unused budget.
    pub fn new(limits: UploadBudgetLimits) -> Self {
        UploadBudget { limits, sessions: 0, bytes: 0 }
    }

    /// Sessions that are open.
    pub fn sessions(&self) -> usize {
        self.sessions
    }

    /// Bytes that are reserved, over all sessions.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Makes room for one more session.
    pub fn reserve_session(&mut self) -> Result<(), TooManySessions> {
        if self.sessions >= self.limits.sessions_max {
            return Err(TooManySessions { sessions_max: self.limits.sessions_max });
        }
        self.sessions += 1;
        Ok(())
    }

    /// Counts a session that a restart found on the disk. It exists, so it cannot be refused: the
    /// budget may be overdrawn until such sessions end.
    pub fn restore_session(&mut self, bytes: u64) {
        self.sessions += 1;
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// Makes room for `bytes` more bytes.
    pub fn reserve_bytes(&mut self, bytes: u64) -> Result<(), BudgetExhausted> {
        let total = self.bytes.saturating_add(bytes);
        if total > self.limits.bytes_max {
            return Err(BudgetExhausted { bytes_max: self.limits.bytes_max });
        }
        self.bytes = total;
        Ok(())
    }

    /// Gives back bytes that were reserved and not kept.
    pub fn release_bytes(&mut self, bytes: u64) {
        debug_assert!(bytes <= self.bytes, "released {bytes} of {} reserved bytes", self.bytes);
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    /// Gives back a session and the `bytes` it still holds.
    pub fn release_session(&mut self, bytes: u64) {
        debug_assert!(self.sessions > 0, "released a session that was never reserved");
        self.sessions = self.sessions.saturating_sub(1);
        self.release_bytes(bytes);
    }
}

/// No session can be opened now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{sessions_max} upload sessions are open, which is the limit")]
pub struct TooManySessions {
    /// The limit.
    pub sessions_max: usize,
}

/// The open sessions together hold as many bytes as they may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unfinished uploads hold {bytes_max} bytes together, which is the limit")]
pub struct BudgetExhausted {
    /// The limit in bytes.
    pub bytes_max: u64,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn limits_are_inclusive() {
        let mut budget = UploadBudget::new(UploadBudgetLimits { sessions_max: 1, bytes_max: 10 });
        assert_eq!(budget.reserve_session(), Ok(()));
        assert_eq!(budget.reserve_session(), Err(TooManySessions { sessions_max: 1 }));
        assert_eq!(budget.reserve_bytes(10), Ok(()));
        assert_eq!(budget.reserve_bytes(1), Err(BudgetExhausted { bytes_max: 10 }));
        assert_eq!(budget.reserve_bytes(u64::MAX), Err(BudgetExhausted { bytes_max: 10 }));
        budget.release_session(10);
        assert_eq!((budget.sessions(), budget.bytes()), (0, 0));
    }

    #[test]
    fn a_restored_session_may_overdraw_and_nothing_new_is_let_in() {
        let mut budget = UploadBudget::new(UploadBudgetLimits { sessions_max: 0, bytes_max: 5 });
        budget.restore_session(9);
        assert!(budget.reserve_session().is_err());
        assert!(budget.reserve_bytes(1).is_err());
        budget.release_session(9);
        assert_eq!((budget.sessions(), budget.bytes()), (0, 0));
    }

    proptest! {
        /// Whatever sessions do, the budget is the sum of what they hold and within its limits.
        #[test]
        fn the_budget_is_the_sum_of_its_sessions(
            steps in prop::collection::vec((0usize..6, 0u64..60, any::<bool>()), 0..200)
        ) {
            let limits = UploadBudgetLimits { sessions_max: 4, bytes_max: 200 };
            let mut budget = UploadBudget::new(limits);
            let mut held: Vec<Option<u64>> = vec![None; 6];
            for (who, bytes, end) in steps {
                match held[who] {
                    None => if budget.reserve_session().is_ok() { held[who] = Some(0) },
                    Some(had) if end => { budget.release_session(had); held[who] = None; }
                    Some(had) => if budget.reserve_bytes(bytes).is_ok() {
                        held[who] = Some(had + bytes);
                    },
                }
                prop_assert_eq!(budget.sessions(), held.iter().flatten().count());
                prop_assert_eq!(budget.bytes(), held.iter().flatten().sum::<u64>());
                prop_assert!(budget.sessions() <= limits.sessions_max);
                prop_assert!(budget.bytes() <= limits.bytes_max);
            }
        }
    }
}
