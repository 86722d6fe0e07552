//! Links that one fault cut, to be healed by it again and by no other; and links of different speed.

use std::time::Duration;

use atoll_node::io::net::partition;
use madsim::task::NodeId;

use crate::{cluster::Machine, draw::Draw};

/// Cut links: from whom, to whom.
#[derive(Default)]
pub struct Links(Vec<(NodeId, NodeId)>);

impl Links {
    /// Cuts what `outer` sends to `inner`, what `inner` sends to `outer`, or both.
    pub fn cut(&mut self, outer: NodeId, inner: NodeId, (to_inner, from_inner): (bool, bool)) {
        if to_inner {
            self.0.push((outer, inner));
        }
        if from_inner {
            self.0.push((inner, outer));
        }
        for (from, to) in &self.0 {
            partition::cut(*from, *to);
        }
    }

    /// Heals them. A link that two faults cut is healed by the first of them.
    pub fn heal(self) {
        for (from, to) in self.0 {
            partition::heal(from, to);
        }
    }
}

/// Lets every way from one of the machines to another be slower by one of these milliseconds, until
/// [`partition::quicken_all`].
pub fn slow_at_random(machines: &[Machine], slower: &[u64], draw: &mut Draw) {
    for from in machines {
        for to in machines.iter().filter(|to| to.number != from.number) {
            let longer = Duration::from_millis(*draw.pick(slower));
            partition::slow(from.id(), to.id(), longer);
        }
    }
}
