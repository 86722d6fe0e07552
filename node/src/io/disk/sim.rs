//! The simulated disk: a device in memory that keeps exactly what the contract promises.
//!
//! [`SimDisk`] is the device. It lives outside the node and outlasts it: cut its power, rot its
//! bits, then look what a new node makes of the rest. A node gets a [`SimDisk::mount`], which dies
//! with the power cut or the process it belongs to, so that a node that should be dead cannot
//! touch the disk of its successor.
//!
//! Every operation that changes something or makes it durable has a number, from 0 on. A test runs
//! a workload once, asks [`SimDisk::operation_count`], and then runs it again for each number with
//! the power cut right there ([`SimDisk::crash_at`]).
//!
//! All chance comes from one seed, so a failure repeats; nothing here needs the simulator.

mod calls;
mod content;
mod faults;
mod pages;
mod state;
#[cfg(test)]
mod tests;
mod tree;

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

pub use faults::{AfterSyncError, CrashPoint, Faults, Loss, NameOrder, PowerLost, is_power_lost};

use self::{
    faults::{EBADF, EINVAL},
    state::State,
    tree::FileId,
};
use super::{DirEntry, Disk, DiskFile, Space, checked, checked_entry};
use crate::io::entropy::rng::SeededRng;

/// A device. Clones are the same device.
#[derive(Clone, Debug)]
pub struct SimDisk {
    state: Shared,
}

#[derive(Clone, Debug)]
struct Shared(Arc<Mutex<State>>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SimDisk {
    /// An empty device whose chances are drawn from `seed`.
    pub fn new(seed: u64, faults: Faults) -> SimDisk {
        SimDisk { state: Shared(Arc::new(Mutex::new(State::new(seed, faults)))) }
    }

    /// The device for a node that starts now.
    pub fn mount(&self) -> Arc<dyn Disk> {
        let generation = self.state.lock().generation;
        Arc::new(Mount { state: self.state.clone(), generation })
    }

    /// An independent copy as it is now, cache and pending changes included, nobody's handles, and
    /// its own chances: one crashed disk can be cut in many ways.
    pub fn fork(&self, seed: u64) -> SimDisk {
        let mut state = self.state.lock().clone();
        state.rng = SeededRng::new(seed);
        state.end_generation();
        SimDisk { state: Shared(Arc::new(Mutex::new(state))) }
    }

    /// Changes the faults from now on.
    pub fn set_faults(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut self.state.lock().faults);
    }

    /// How many operations there were: the number that the next one gets.
    pub fn operation_count(&self) -> u64 {
        self.state.lock().operations
    }

    /// How many reads there were: the number that the next one gets.
    pub fn read_count(&self) -> u64 {
        self.state.lock().reads
    }

    /// Takes the power away at operation `number`. From then on every call fails with
    /// [`PowerLost`], until [`SimDisk::power_cut`] decides what is left and brings it back.
    pub fn crash_at(&self, number: u64, point: CrashPoint) {
        self.state.lock().crash = Some((number, point));
    }

    /// Lets operation `number` fail with the operating system's error `code`, without effect.
    pub fn fail_operation(&self, number: u64, code: i32) {
        self.state.lock().planned_errors.insert(number, code);
    }

    /// Lets read `number` fail with the operating system's error `code`.
    pub fn fail_read(&self, number: u64, code: i32) {
        self.state.lock().planned_read_errors.insert(number, code);
    }

    /// Cuts the power, if it was not gone already, applies `loss` to what was not synced, and
    /// powers up again. Mounts and handles from before stay dead, planned faults are forgotten.
    pub fn power_cut(&self, loss: Loss) {
        self.state.lock().power_cut(loss);
    }

    /// The process dies (`kill -9`), the machine does not: nothing is lost, nothing becomes
    /// durable, and the mounts and handles of the process are dead.
    pub fn process_kill(&self) {
        self.state.lock().end_generation();
    }

    /// Flips one bit at rest.
    ///
    /// # Errors
    /// Those of opening `path`; `UnexpectedEof` when the file is not that long.
    pub fn rot(&self, path: &Path, offset: u64, bit: u8) -> io::Result<()> {
        let mut state = self.state.lock();
        let file = state.tree.file(&checked(path)?)?;
        match state.file(file)?.content.rot(offset, bit) {
            true => Ok(()),
            false => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// Flips one bit at rest somewhere and answers where; `None` when no file has a byte.
    pub fn rot_somewhere(&self) -> Option<(PathBuf, u64)> {
        let mut state = self.state.lock();
        let (file, offset) = state.rot_somewhere()?;
        Some((state.path_of(file)?, offset))
    }

    /// The last operations, oldest first, for the report of a failure.
    pub fn log(&self) -> Vec<String> {
        self.state.lock().log.iter().cloned().collect()
    }
}

/// The device as one process sees it.
#[derive(Debug)]
struct Mount {
    state: Shared,
    generation: u64,
}

impl Mount {
    fn operate<T>(
        &self,
        what: &str,
        path: &Path,
        operation: impl FnOnce(&mut State, &Path) -> io::Result<T>,
    ) -> io::Result<T> {
        let path = checked_entry(path)?;
        let mut state = self.state.lock();
        state.operate(self.generation, what, &path, |state| operation(state, &path))
    }

    fn read<T>(
        &self,
        path: &Path,
        operation: impl FnOnce(&mut State, &Path) -> io::Result<T>,
    ) -> io::Result<T> {
        let path = checked_entry(path)?;
        self.state.lock().read(self.generation, |state| operation(state, &path))
    }

    fn handle(&self, file: FileId, path: &Path, writable: bool) -> Arc<dyn DiskFile> {
        Arc::new(SimFile {
            state: self.state.clone(),
            generation: self.generation,
            file,
            path: path.to_owned(),
            writable,
        })
    }
}

impl Disk for Mount {
    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.operate("create", path, State::create)?;
        Ok(self.handle(file, path, true))
    }

    fn open_read(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.read(path, State::open)?;
        Ok(self.handle(file, path, false))
    }

    fn open_write(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.read(path, State::open)?;
        Ok(self.handle(file, path, true))
    }

    fn file_len(&self, path: &Path) -> io::Result<u64> {
        self.read(path, State::len_at)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let to = checked_entry(to)?;
        let what = format!("rename to `{}`", to.display());
        self.operate(&what, from, |state, from| state.rename(from, &to))
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        self.operate("unlink", path, State::unlink)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.operate("create folder", path, State::create_dir)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.operate("remove folder", path, State::remove_dir)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let path = checked(path)?;
        self.state.lock().read(self.generation, |state| state.list(&path))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let path = checked(path)?;
        let mut state = self.state.lock();
        state.operate(self.generation, "sync folder", &path, |state| state.sync_dir(&path))
    }

    fn space(&self) -> io::Result<Space> {
        self.state.lock().peek(self.generation, |state| Ok(state.space()))
    }

    fn take_stall(&self) -> Duration {
        std::mem::take(&mut self.state.lock().stall)
    }
}

/// An open file of a [`Mount`].
#[derive(Debug)]
struct SimFile {
    state: Shared,
    generation: u64,
    file: FileId,
    /// Its name when it was opened, for the log.
    path: PathBuf,
    writable: bool,
}

impl SimFile {
    fn operate<T>(
        &self,
        what: &str,
        operation: impl FnOnce(&mut State) -> io::Result<T>,
    ) -> io::Result<T> {
        self.state.lock().operate(self.generation, what, &self.path, operation)
    }

    /// `code` is what the operating system says when the handle was opened for reading.
    fn require_writable(&self, code: i32) -> io::Result<()> {
        match self.writable {
            true => Ok(()),
            false => Err(io::Error::from_raw_os_error(code)),
        }
    }
}

impl DiskFile for SimFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut state = self.state.lock();
        state.read(self.generation, |state| state.read_at(self.file, buffer, offset))
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.require_writable(EBADF)?;
        let what = format!("write {} bytes at {offset} of", bytes.len());
        self.operate(&what, |state| state.write_at(self.file, bytes, offset))
    }

    fn sync(&self) -> io::Result<()> {
        self.operate("sync", |state| state.sync(self.file))
    }

    fn len(&self) -> io::Result<u64> {
        let mut state = self.state.lock();
        state.peek(self.generation, |state| Ok(state.file(self.file)?.content.len()))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.require_writable(EINVAL)?;
        let what = format!("set the length to {len} of");
        self.operate(&what, |state| state.set_len(self.file, len))
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        self.state.lock().close(self.generation, self.file);
    }
}
