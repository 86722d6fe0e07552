//! The simulated device behind its lock: the gate that every call passes, which numbers
//! operations and lets them fail as planned, and the ends of power and processes.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    content::Content,
    faults::{CrashPoint, EIO, Faults, Loss, power_lost},
    tree::{FileId, Node, Tree},
};
use crate::io::entropy::rng::SeededRng;

/// How many operations the log remembers: enough to read the story of one failure.
const LOG_LINES_MAX: usize = 200;

/// Files that no name leads to are looked for when there are this many more than last time.
const SWEEP_EVERY: usize = 256;

#[derive(Clone, Debug)]
pub(super) struct State {
    pub(super) rng: SeededRng,
    pub(super) faults: Faults,
    pub(super) tree: Tree,
    pub(super) files: BTreeMap<FileId, File>,
    /// Handles from before the last power cut or process kill are dead.
    pub(super) generation: u64,
    pub(super) operations: u64,
    pub(super) reads: u64,
    pub(super) crash: Option<(u64, CrashPoint)>,
    pub(super) planned_errors: BTreeMap<u64, i32>,
    pub(super) planned_read_errors: BTreeMap<u64, i32>,
    pub(super) log: VecDeque<String>,
    pub(super) stall: Duration,
    powered: bool,
    pub(super) next_file: FileId,
    sweep_at: usize,
}

#[derive(Clone, Debug, Default)]
pub(super) struct File {
    pub(super) content: Content,
    /// Handles of this generation.
    pub(super) opens: u64,
    /// Its path when it was made.
    pub(super) made_at: PathBuf,
    /// Does a name lead to it, as readers see it?
    pub(super) named: bool,
}

impl State {
    pub(super) fn new(seed: u64, faults: Faults) -> State {
        State {
            rng: SeededRng::new(seed),
            faults,
            tree: Tree::new(),
            files: BTreeMap::new(),
            generation: 0,
            operations: 0,
            reads: 0,
            crash: None,
            planned_errors: BTreeMap::new(),
            planned_read_errors: BTreeMap::new(),
            log: VecDeque::new(),
            stall: Duration::ZERO,
            powered: true,
            next_file: 0,
            sweep_at: SWEEP_EVERY,
        }
    }

    /// The gate of every operation that changes something or makes it durable: the numbered ones.
    pub(super) fn operate<T>(
        &mut self,
        generation: u64,
        what: &str,
        path: &Path,
        operation: impl FnOnce(&mut State) -> io::Result<T>,
    ) -> io::Result<T> {
        self.require_power(generation)?;
        let number = self.operations;
        self.operations += 1;
        self.take_time();
        let crash = self.crash.filter(|(at, _)| *at <= number).map(|(_, point)| point);
        let mut outcome = match (crash, self.planned_errors.remove(&number)) {
            (Some(CrashPoint::Before), _) => Err(power_lost()),
            (_, Some(code)) => Err(io::Error::from_raw_os_error(code)),
            (_, None) => operation(self),
        };
        if crash.is_some() {
            self.powered = false;
            outcome = Err(power_lost());
        }
        self.note(number, what, path, outcome.as_ref().err());
        outcome
    }

    /// The gate of reads, which are numbered on their own.
    pub(super) fn read<T>(
        &mut self,
        generation: u64,
        operation: impl FnOnce(&mut State) -> io::Result<T>,
    ) -> io::Result<T> {
        self.require_power(generation)?;
        let number = self.reads;
        self.reads += 1;
        self.take_time();
        if let Some(code) = self.planned_read_errors.remove(&number) {
            return Err(io::Error::from_raw_os_error(code));
        }
        self.fail_by_chance(self.faults.read_error)?;
        operation(self)
    }

    /// The gate of what a kernel answers from memory.
    pub(super) fn peek<T>(
        &mut self,
        generation: u64,
        operation: impl FnOnce(&mut State) -> io::Result<T>,
    ) -> io::Result<T> {
        self.require_power(generation)?;
        operation(self)
    }

    fn require_power(&self, generation: u64) -> io::Result<()> {
        match self.powered && generation == self.generation {
            true => Ok(()),
            false => Err(power_lost()),
        }
    }

    pub(super) fn fail_by_chance(&mut self, probability: f64) -> io::Result<()> {
        match self.rng.chance(probability) {
            true => Err(io::Error::from_raw_os_error(EIO)),
            false => Ok(()),
        }
    }

    fn take_time(&mut self) {
        let (low, high) = (*self.faults.latency.start(), *self.faults.latency.end());
        let spread = high.saturating_sub(low).as_nanos() as u64;
        if spread > 0 {
            self.stall += Duration::from_nanos(self.rng.below(spread + 1));
        }
        self.stall += low;
        if self.rng.chance(self.faults.stall) {
            self.stall += self.faults.stall_time;
        }
    }

    fn note(&mut self, number: u64, what: &str, path: &Path, error: Option<&io::Error>) {
        if self.log.len() == LOG_LINES_MAX {
            self.log.pop_front();
        }
        let outcome = error.map_or("ok".to_owned(), |error| format!("failed: {error}"));
        self.log.push_back(format!("{number} {what} `{}`: {outcome}", path.display()));
    }

    pub(super) fn power_cut(&mut self, loss: Loss) {
        for file in self.files.values_mut() {
            file.content.power_cut(loss, &mut self.rng);
        }
        self.tree.power_cut(loss, self.faults.name_order, &mut self.rng);
        self.powered = true;
        self.crash = None;
        self.planned_errors.clear();
        self.planned_read_errors.clear();
        self.end_generation();
    }

    /// Closes every handle.
    pub(super) fn end_generation(&mut self) {
        self.generation += 1;
        let visible = self.tree.visible_files();
        for (id, file) in &mut self.files {
            file.opens = 0;
            file.named = visible.contains(id);
        }
        self.drop_nameless();
    }

    /// Now and then drops the files that nothing can lead to any more.
    pub(super) fn sweep(&mut self) {
        if self.files.len() >= self.sweep_at {
            self.drop_nameless();
        }
    }

    fn drop_nameless(&mut self) {
        let kept = self.tree.kept_files();
        self.files.retain(|id, file| file.opens > 0 || kept.contains(id));
        self.sweep_at = self.files.len() + SWEEP_EVERY;
    }

    /// One bit of one file, each as likely as any other; `None` on an empty disk.
    pub(super) fn rot_somewhere(&mut self) -> Option<(FileId, u64)> {
        let visible = self.tree.visible_files();
        let lens: Vec<(FileId, u64)> = visible
            .into_iter()
            .filter_map(|id| Some((id, self.files.get(&id)?.content.len())))
            .collect();
        let total = lens.iter().map(|(_, len)| len).sum::<u64>();
        let mut at = self.rng.below(total);
        let bit = self.rng.below(8) as u8;
        for (id, len) in lens {
            if at < len {
                self.files.get_mut(&id)?.content.rot(at, bit);
                return Some((id, at));
            }
            at -= len;
        }
        None
    }

    /// The path of a file that has one.
    pub(super) fn path_of(&self, file: FileId) -> Option<PathBuf> {
        self.tree.path_of(Node::File(file))
    }
}
