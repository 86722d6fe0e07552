//! What each call does to the simulated device, once the gate let it through.

use std::{io, path::Path};

use super::{
    content::SECTOR,
    faults::{AfterSyncError, EFBIG, EIO, ENOSPC, FILE_LEN_MAX},
    state::{File, State},
    tree::FileId,
};
use crate::io::disk::{DirEntry, Space};

impl State {
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
        let made_at = path.to_owned();
        self.files.insert(file, File { named: true, opens: 1, made_at, ..File::default() });
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
        if !(self.faults.is_frail(path) && self.rng.chance(self.faults.lying_sync)) {
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

    /// May the device lie about this file?
    fn is_frail(&self, file: FileId) -> bool {
        self.files.get(&file).is_some_and(|file| self.faults.is_frail(&file.made_at))
    }

    pub(super) fn read_at(
        &mut self,
        file: FileId,
        buffer: &mut [u8],
        offset: u64,
    ) -> io::Result<usize> {
        let read = self.file(file)?.content.read(buffer, offset);
        if read > 0 && self.is_frail(file) && self.rng.chance(self.faults.read_rot) {
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
        if !(self.is_frail(file) && self.rng.chance(self.faults.lying_sync)) {
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
}
