//! The fault atlas: what is broken now, and how much more may be.
//!
//! What a cluster promises, it promises within bounds, and a fault beyond them proves nothing:
//! - copies that are damaged for good are those of *one* machine in a run. Between W acknowledgements
//!   and the repair of the rest there may be W = 2 copies of a blob, so that more would be too many,
//!   though R − 1 may go once all R are there;
//! - a machine that loses its disk for good is that machine, too: so a minority of voters;
//! - machines that are out for a while lose nothing, so that all of them may be out. But then nothing
//!   happens, and most runs bound them to a minority;
//! - a disk that fails (errors, no room) keeps what was synced, and its machine is out, too.
//!
//! One machine has one fault at a time.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;

use super::Fault;
use crate::draw::Draw;

/// How long after a fault a node may still complain of it.
const ECHO: Duration = Duration::from_secs(15);

/// What is broken now.
#[derive(Debug)]
pub struct Atlas {
    /// The machines with a fault, and which.
    struck: BTreeMap<u8, Fault>,
    /// Faults that concern all.
    common: Vec<Fault>,
    /// Machines that may be out at a time.
    out_max: usize,
    /// Fewest members that stay.
    members_min: usize,
    /// Most members at a time.
    members_max: usize,
    /// Whose copies may be damaged; nobody's, once it is replaced.
    weak: Option<u8>,
    /// When the last fault ended that explains errors.
    excused_until: Option<Instant>,
    /// Was any copy damaged? It may be found at any later time.
    is_damaged: bool,
}

impl Atlas {
    /// Nothing is broken.
    pub fn new(out_max: usize, members: std::ops::RangeInclusive<usize>, weak: u8) -> Atlas {
        Atlas {
            struck: BTreeMap::new(),
            common: Vec::new(),
            out_max,
            members_min: *members.start(),
            members_max: *members.end(),
            weak: Some(weak),
            excused_until: None,
            is_damaged: false,
        }
    }

    /// A machine among `members` that may be struck now.
    pub fn lease(&mut self, fault: Fault, members: &[u8], draw: &mut Draw) -> Option<u8> {
        if !self.may(fault, members.len()) {
            return None;
        }
        if !fault.damages() {
            return self.begin(fault, members, draw);
        }
        let weak = self.weak.filter(|weak| members.contains(weak))?;
        self.begin(fault, &[weak], draw)
    }

    fn may(&self, fault: Fault, members: usize) -> bool {
        if fault.is_common() && self.common.contains(&fault) {
            return false;
        }
        if fault.changes_members() && self.common.iter().any(|it| it.changes_members()) {
            return false;
        }
        match fault {
            Fault::Join => members < self.members_max,
            Fault::Drain => members > self.members_min,
            Fault::Lossy | Fault::RollingRestart | Fault::SlowLinks | Fault::ClockJump => true,
            fault if !fault.takes_out() => true,
            _ => self.struck.len() < self.out_max,
        }
    }

    fn begin(&mut self, fault: Fault, among: &[u8], draw: &mut Draw) -> Option<u8> {
        let free: Vec<u8> =
            among.iter().copied().filter(|number| !self.struck.contains_key(number)).collect();
        if free.is_empty() {
            return None;
        }
        let number = *draw.pick(&free);
        if fault.is_common() {
            self.common.push(fault);
        }
        // What concerns all needs no machine of its own, except those that leave.
        if !fault.is_common() || matches!(fault, Fault::Drain | Fault::Replace) {
            self.struck.insert(number, fault);
        }
        self.is_damaged |= fault.damages();
        if fault == Fault::Replace {
            self.weak = None;
        }
        Some(number)
    }

    /// Takes one machine, if it has no fault now.
    pub fn take(&mut self, number: u8, fault: Fault) -> bool {
        let is_free = !self.struck.contains_key(&number);
        if is_free {
            self.struck.insert(number, fault);
        }
        is_free
    }

    /// Gives one machine back.
    pub fn give_back(&mut self, number: u8) {
        self.struck.remove(&number);
    }

    /// The fault of that machine is over.
    pub fn end(&mut self, fault: Fault, number: u8) {
        if self.struck.get(&number) == Some(&fault) {
            self.struck.remove(&number);
        }
        self.common.retain(|common| *common != fault);
        if fault.explains_errors() {
            self.excused_until = Some(Instant::now() + ECHO);
        }
    }

    /// Is this complaint of a node explained?
    pub fn excuses(&self, line: &str) -> bool {
        if self.is_damaged && line.contains("::quarantine:") {
            return true;
        }
        let mut active = self.struck.values().chain(&self.common);
        active.any(|fault| fault.explains_errors())
            || self.excused_until.is_some_and(|until| Instant::now() < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMBERS: [u8; 5] = [1, 2, 3, 4, 5];

    /// Leases at random as long as there is anything to lease.
    fn exhaust(faults: &[Fault], out_max: usize, seed: u64) -> Vec<(Fault, u8)> {
        let mut draw = Draw::new(seed, 0);
        let mut atlas = Atlas::new(out_max, 3..=7, 4);
        let attempts = (0..200).filter_map(|_| {
            let fault = *draw.pick(faults);
            Some((fault, atlas.lease(fault, &MEMBERS, &mut draw)?))
        });
        attempts.collect()
    }

    #[test]
    fn a_machine_has_one_fault_and_a_minority_is_out() {
        for seed in 0..200 {
            let struck = exhaust(&[Fault::Kill, Fault::Pause, Fault::CutLink], 2, seed);
            assert_eq!(struck.len(), 2, "{struck:?}");
            assert_ne!(struck[0].1, struck[1].1);
        }
    }

    #[test]
    fn copies_of_one_machine_are_damaged_and_those_of_no_other() {
        for seed in 0..200 {
            let damage: Vec<Fault> =
                Fault::OF_CLUSTERS.into_iter().filter(|fault| fault.damages()).collect();
            let struck = exhaust(&damage, 2, seed);
            assert!(struck.len() == 1 && struck[0].1 == 4, "{struck:?}");
        }
    }

    #[test]
    fn a_machine_that_was_replaced_leaves_no_weak_one() {
        let (mut draw, mut atlas) = (Draw::new(1, 0), Atlas::new(2, 3..=7, 4));
        assert_eq!(atlas.lease(Fault::Replace, &MEMBERS, &mut draw), Some(4));
        atlas.give_back(4);
        atlas.common.clear();
        for fault in Fault::OF_CLUSTERS.into_iter().filter(|fault| fault.damages()) {
            assert_eq!(atlas.lease(fault, &MEMBERS, &mut draw), None);
        }
    }

    #[test]
    fn members_change_one_at_a_time_and_enough_stay() {
        let (mut draw, mut atlas) = (Draw::new(1, 0), Atlas::new(5, 3..=5, 4));
        assert_eq!(atlas.lease(Fault::Join, &MEMBERS, &mut draw), None);
        assert_eq!(atlas.lease(Fault::Drain, &MEMBERS[..3], &mut draw), None);
        assert!(atlas.lease(Fault::Drain, &MEMBERS, &mut draw).is_some());
        assert_eq!(atlas.lease(Fault::Replace, &MEMBERS, &mut draw), None);
    }
}
