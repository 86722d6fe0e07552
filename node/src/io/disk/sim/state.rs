//! The simulated device behind its lock: numbering of operations, planned faults, and the calls.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    content::{Content, SECTOR},
    faults::{
        AfterSyncError, CrashPoint, EFBIG, EIO, ENOSPC, FILE_LEN_MAX, Faults, Loss, power_lost,
    },
    tree::{FileId, Node, Tree},
};
use crate::io::{
    disk::{DirEntry, Space},
    entropy::rng::SeededRng,
};

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
    next_file: FileId,
    sweep_at: usize,
}

#[derive(Clone, Debug, Default)]
pub(super) struct File {
    pub(super) content: Content,
    /// Handles of this generation.
    opens: u64,
    named: bool,
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

    fn fail_by_chance(&mut self, probability: f64) -> io::Result<()> {
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

    // Names.

    pub(super) fn create(&mut self, path: &Path) -> io::Result<FileId> {
        let slot = self.tree.slot(path)?;
        if self.tree.get(&slot).is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.fail_by_chance(self.faults.write_error)?;
        self.require_room(1)?;
        let file = self.next_file;
        self.next_file += 1;
        self.files.insert(file, File { named: true, opens: 1, ..File::default() });
        self.tree.link(slot, file);
        Ok(file)
    }

    pub(super) fn open(&mut self, path: &Path) -> io::Result<FileId> {
        let file = self.tree.file(path)?;
        self.file(file)?.opens += 1;
        Ok(file)
    }

    pub(super) fn close(&mut self, generation: u64, file: FileId) {
        if generation == self.generation
            && let Some(file) = self.files.get_mut(&file)
        {
            file.opens = file.opens.saturating_sub(1);
        }
    }

    pub(super) fn unlink(&mut self, path: &Path) -> io::Result<()> {
        let file = self.tree.file(path)?;
        let slot = self.tree.slot(path)?;
        self.fail_by_chance(self.faults.write_error)?;
        self.tree.unlink(slot);
        self.file(file)?.named = false;
        Ok(())
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let (from, to) = (self.tree.slot(from)?, self.tree.slot(to)?);
        let replaced = self.tree.check_rename(&from, &to)?;
        self.fail_by_chance(self.faults.write_error)?;
        self.tree.rename(from, to);
        if let Some(replaced) = replaced {
            self.file(replaced)?.named = false;
        }
        Ok(())
    }

    pub(super) fn create_dir(&mut self, path: &Path) -> io::Result<()> {
        let slot = self.tree.slot(path)?;
        if self.tree.get(&slot).is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.fail_by_chance(self.faults.write_error)?;
        self.require_room(1)?;
        self.tree.create_folder(slot);
        Ok(())
    }

    pub(super) fn remove_dir(&mut self, path: &Path) -> io::Result<()> {
        let folder = self.tree.folder(path)?;
        let slot = self.tree.slot(path)?;
        if !self.tree.is_empty(folder) {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        self.fail_by_chance(self.faults.write_error)?;
        self.tree.unlink(slot);
        Ok(())
    }

    pub(super) fn list(&mut self, path: &Path) -> io::Result<Vec<DirEntry>> {
        Ok(self.tree.list(self.tree.folder(path)?))
    }

    pub(super) fn sync_dir(&mut self, path: &Path) -> io::Result<()> {
        let folder = self.tree.folder(path)?;
        let order = self.faults.name_order;
        if self.rng.chance(self.faults.sync_error) {
            self.tree.forget(folder, order);
            return Err(io::Error::from_raw_os_error(EIO));
        }
        if !self.rng.chance(self.faults.lying_sync) {
            self.tree.sync(folder, order);
        }
        self.sweep();
        Ok(())
    }

    pub(super) fn len_at(&mut self, path: &Path) -> io::Result<u64> {
        let file = self.tree.file(path)?;
        Ok(self.file(file)?.content.len())
    }

    // Bytes.

    pub(super) fn file(&mut self, file: FileId) -> io::Result<&mut File> {
        self.files.get_mut(&file).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    pub(super) fn read_at(
        &mut self,
        file: FileId,
        buffer: &mut [u8],
        offset: u64,
    ) -> io::Result<usize> {
        let read = self.file(file)?.content.read(buffer, offset);
        if read > 0 && self.rng.chance(self.faults.read_rot) {
            let bit = self.rng.below(read as u64 * 8);
            buffer[(bit / 8) as usize] ^= 1 << (bit % 8);
        }
        Ok(read)
    }

    pub(super) fn write_at(&mut self, file: FileId, bytes: &[u8], offset: u64) -> io::Result<()> {
        let len = self.file(file)?.content.len();
        let end = offset.saturating_add(bytes.len() as u64);
        if end > FILE_LEN_MAX {
            return Err(io::Error::from_raw_os_error(EFBIG));
        }
        if self.rng.chance(self.faults.write_error) {
            let front = self.rng.below(bytes.len() as u64 + 1) as usize;
            let fits = self.fitting(len, offset, front as u64) as usize;
            self.file(file)?.content.write(offset, &bytes[..fits]);
            return Err(io::Error::from_raw_os_error(EIO));
        }
        let fits = self.fitting(len, offset, bytes.len() as u64) as usize;
        let offset = self.aimed(offset, bytes.len() as u64, len);
        self.file(file)?.content.write(offset, &bytes[..fits]);
        match fits == bytes.len() {
            true => Ok(()),
            false => Err(io::Error::from_raw_os_error(ENOSPC)),
        }
    }

    pub(super) fn set_len(&mut self, file: FileId, len: u64) -> io::Result<()> {
        if len > FILE_LEN_MAX {
            return Err(io::Error::from_raw_os_error(EFBIG));
        }
        self.fail_by_chance(self.faults.write_error)?;
        let old = self.file(file)?.content.len();
        self.require_room(len.saturating_sub(old))?;
        self.file(file)?.content.set_len(len);
        Ok(())
    }

    pub(super) fn sync(&mut self, file: FileId) -> io::Result<()> {
        if self.rng.chance(self.faults.sync_error) {
            let after = self.faults.after_sync_error;
            let content = &mut self.file(file)?.content;
            match after {
                AfterSyncError::KeepPages => content.forget_pending(),
                AfterSyncError::DropPages => content.drop_pending(),
            }
            return Err(io::Error::from_raw_os_error(EIO));
        }
        if !self.rng.chance(self.faults.lying_sync) {
            self.file(file)?.content.sync();
        }
        Ok(())
    }

    /// Where a write really lands.
    fn aimed(&mut self, offset: u64, len: u64, file_len: u64) -> u64 {
        let room = file_len.saturating_sub(len) / SECTOR;
        match room > 0 && self.rng.chance(self.faults.misdirected_write) {
            true => self.rng.below(room + 1) * SECTOR,
            false => offset,
        }
    }

    // Room.

    pub(super) fn space(&self) -> Space {
        let total = self.faults.capacity;
        Space { total, available: total.saturating_sub(self.used()) }
    }

    fn used(&self) -> u64 {
        let counted = self.files.values().filter(|file| file.named || file.opens > 0);
        counted.map(|file| file.content.len()).sum()
    }

    fn require_room(&self, bytes: u64) -> io::Result<()> {
        match bytes <= self.space().available {
            true => Ok(()),
            false => Err(io::Error::from_raw_os_error(ENOSPC)),
        }
    }

    /// How many of `bytes` at `offset` find room in a file of `len`.
    fn fitting(&self, len: u64, offset: u64, bytes: u64) -> u64 {
        let growth = (offset + bytes).saturating_sub(len);
        if growth == 0 {
            return bytes;
        }
        let room = self.space().available;
        // What does not fit is cut off the end; a gap before the write counts as room taken.
        bytes.saturating_sub(growth.saturating_sub(room))
    }

    // Ends.

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

    fn sweep(&mut self) {
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
