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
            Fault::Lossy | Fault::RollingRestart | Fault::ClockJump => true,
            fault if fault.damages() && fault != Fault::Replace => true,
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
