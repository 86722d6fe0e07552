//! How long members have been down, by the clock of the node that keeps the view.
//!
//! A new keeper starts every count anew: that only delays, and nobody else's clock is trusted.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use atoll_core::view::{NodeId, View};

/// Since when each member that is down has been seen down.
#[derive(Clone, Debug, Default)]
pub struct DownTimers {
    since: BTreeMap<NodeId, Duration>,
}

impl DownTimers {
    /// Takes note of who is down now.
    pub fn handle_view(&mut self, view: &View, now: Duration) {
        self.since.retain(|node, _| view.members.contains_key(node) && !view.is_up(*node));
        for node in view.members.keys().filter(|node| !view.is_up(**node)) {
            self.since.entry(*node).or_insert(now);
        }
    }

    /// The members that have been down for `interval` or longer.
    pub fn down_for(&self, interval: Duration, now: Duration) -> BTreeSet<NodeId> {
        let long = |since: &Duration| now.saturating_sub(*since) >= interval;
        self.since.iter().filter(|(_, since)| long(since)).map(|(node, _)| *node).collect()
    }

    /// When the next member will have been down for `interval`.
    pub fn next_at(&self, interval: Duration, now: Duration) -> Option<Duration> {
        self.since.values().map(|since| *since + interval).filter(|at| *at > now).min()
    }
}

#[cfg(test)]
mod tests {
    use atoll_core::view::MemberState;

    use super::*;
    use crate::cluster::tests::view_of;

    #[test]
    fn a_member_counts_from_when_it_was_first_seen_down_and_anew_after_it_was_up() {
        let (mut timers, second) = (DownTimers::default(), Duration::from_secs(1));
        let mut view = view_of(3);
        timers.handle_view(&view, 5 * second);
        assert_eq!(timers.next_at(10 * second, 5 * second), None);
        view.members.get_mut(&NodeId(2)).unwrap().state = MemberState::Down;
        timers.handle_view(&view, 6 * second);
        timers.handle_view(&view, 9 * second);
        assert_eq!(timers.next_at(10 * second, 9 * second), Some(16 * second));
        assert!(timers.down_for(10 * second, 15 * second).is_empty());
        assert_eq!(timers.down_for(10 * second, 16 * second), [NodeId(2)].into());
        view.members.get_mut(&NodeId(2)).unwrap().state = MemberState::Up;
        timers.handle_view(&view, 17 * second);
        assert!(timers.down_for(Duration::ZERO, 17 * second).is_empty());
    }
}
