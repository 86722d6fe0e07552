//! A leader whom no quorum answers falls silent, so that the others elect another one.
//!
//! In Raft a voter stands for election when it does not hear its leader. A leader that is heard but
//! does not hear in time (a slow link to it, a machine that is too busy to read its answers) would keep
//! its place for ever and get nothing done. Raft's dissertation (section 6.2) and etcd's `CheckQuorum`
//! let it step down; openraft 0.9 has no such step, so it says nothing to the others for as long as
//! they need to notice and to elect. If nobody takes over, it speaks again: a cluster without a quorum
//! is no better off with a leader that is silent.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use openraft::{BasicNode, RaftMetrics, ServerState};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::raft::NodeId;
use crate::io::Clock;

/// How many of the longest election time-outs a leader goes on without a quorum's answer: a disk that
/// stalls everybody for a moment is no reason to elect.
const PATIENCE: u32 = 3;

/// For how many it is silent then: one until the others notice, one for their election, and one more for
/// an election that fails.
const SILENCE: u32 = 3;

/// How often within an election time-out a leader asks itself.
const LOOKS: u32 = 8;

/// Does this node say nothing to the other voters of a group? Clones are the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Mute(Arc<AtomicBool>);

impl Mute {
    pub fn is_on(&self) -> bool {
        self.0.load(Relaxed)
    }

    /// Watches a group until `stop`.
    pub async fn watch(
        self,
        group: u16,
        metrics: watch::Receiver<RaftMetrics<NodeId, BasicNode>>,
        clock: Arc<dyn Clock>,
        election_timeout: Duration,
        stop: CancellationToken,
    ) {
        let mut watched = Watched::default();
        loop {
            let seen = {
                let metrics = metrics.borrow();
                let leads = metrics.state == ServerState::Leader;
                let voters = metrics.membership_config.membership().voter_ids().count();
                // A lone voter is its own quorum.
                (leads && voters > 1).then_some(Leads {
                    term: metrics.current_term,
                    unanswered: metrics.millis_since_quorum_ack.map(Duration::from_millis),
                })
            };
            let is_mute = watched.look(seen, clock.monotonic(), election_timeout);
            if is_mute && !self.is_on() {
                warn!(group, "no quorum answers this leader; silent, so that another is elected");
            }
            self.0.store(is_mute, Relaxed);
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = tokio::time::sleep(election_timeout / LOOKS) => {}
            }
        }
    }
}

/// A leader among others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Leads {
    term: u64,
    /// Since when no quorum has answered; nothing, when none ever has in this term.
    unanswered: Option<Duration>,
}

/// What was seen so far.
#[derive(Debug, Default)]
struct Watched {
    /// The term that this node leads in, and since when a quorum may be expected to answer.
    leading: Option<(u64, Duration)>,
    silent_until: Option<Duration>,
}

impl Watched {
    /// Is the node to be silent now?
    fn look(&mut self, seen: Option<Leads>, now: Duration, election_timeout: Duration) -> bool {
        let Some(Leads { term, unanswered }) = seen else {
            *self = Watched::default();
            return false;
        };
        let since = match self.leading {
            Some((led, since)) if led == term => since,
            _ => now,
        };
        self.leading = Some((term, since));
        match self.silent_until {
            Some(until) if now < until => return true,
            Some(_) => {
                // Whoever was silent got no answers: they are expected from now on.
                *self = Watched { leading: Some((term, now)), silent_until: None };
                return false;
            }
            None => {}
        }
        let expected = now.saturating_sub(since);
        let unanswered = unanswered.map_or(expected, |unanswered| unanswered.min(expected));
        if unanswered <= election_timeout * PATIENCE {
            return false;
        }
        self.silent_until = Some(now + election_timeout * SILENCE);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ELECTION: Duration = Duration::from_secs(1);

    /// Looks every tenth of a second, and says from when to when it was silent.
    fn silences(seconds: u64, mut seen: impl FnMut(Duration) -> Option<Leads>) -> Vec<(u64, u64)> {
        let mut watched = Watched::default();
        let mut silences: Vec<(u64, u64)> = Vec::new();
        let mut was = false;
        for tenth in 0..=seconds * 10 {
            let passed = Duration::from_millis(tenth * 100);
            let is = watched.look(seen(passed), passed, ELECTION);
            match (was, is) {
                (false, true) => silences.push((tenth, u64::MAX)),
                (true, false) => silences.last_mut().unwrap().1 = tenth,
                _ => {}
            }
            was = is;
        }
        silences
    }

    fn leads(term: u64, unanswered: Duration) -> Option<Leads> {
        Some(Leads { term, unanswered: Some(unanswered) })
    }

    #[test]
    fn who_is_answered_speaks() {
        assert_eq!(silences(60, |_| leads(1, Duration::from_millis(2_900))), []);
    }

    #[test]
    fn who_does_not_lead_speaks() {
        assert_eq!(silences(60, |_| None), []);
    }

    #[test]
    fn who_is_not_answered_is_silent_for_an_election_and_speaks_again() {
        let silences = silences(13, |passed| leads(1, passed));
        assert_eq!(silences, [(31, 61), (92, 122)]);
    }

    #[test]
    fn a_leader_that_was_never_answered_counts_from_its_election() {
        let unanswered = |term| Some(Leads { term, unanswered: None });
        let elected_at = Duration::from_secs(5);
        let silences = silences(9, |passed| if passed < elected_at { None } else { unanswered(2) });
        assert_eq!(silences, [(81, u64::MAX)]);
    }

    #[test]
    fn a_new_term_begins_anew() {
        let silences = silences(5, |passed| leads(passed.as_secs() / 2, Duration::from_secs(60)));
        assert_eq!(silences, []);
    }
}
