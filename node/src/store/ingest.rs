//! The bytes of one upload on their way to the disk: written, hashed and summed in one pass.
//!
//! Nothing is on the disk before the first byte. The file is written in order and never synced
//! before a checkpoint or the commit. Everything here blocks; it runs inside one disk operation.

use std::{io, sync::Arc, time::SystemTime};

use atoll_core::{Algorithm, Digest, RepoName, digest::Hasher, route::UploadId};
use bytes::Bytes;

use crate::io::{Disk, disk::DiskFile, plant::Plant};

use super::{
    BLOCK_BYTES, BLOCK_LEN,
    error::{At, DiskFailure, StoreIo},
    paths::Paths,
    record::Record,
    sums::{BlockSums, first_mismatch},
    trailer::Trailer,
};

/// Bytes read at once when a file has to be read again: a whole number of blocks.
const REREAD_BYTES: usize = 16 * BLOCK_LEN;

/// Bytes that gather before they are sent on their way to the disk. Small enough that little is left
/// for the sync at the end, large enough that the device writes long runs.
const WRITE_BACK_BYTES: u64 = 8 << 20;

/// One upload's file and the checksums of what is in it.
#[derive(Debug)]
pub(crate) struct Ingest {
    id: UploadId,
    algorithm: Algorithm,
    /// Open from the first byte on, except while the session is idle and many are.
    file: Option<Arc<dyn DiskFile>>,
    /// `None` after a restart, until the file was read again.
    hasher: Option<Hasher>,
    sums: BlockSums,
    /// Bytes that are on their way to the disk, or there.
    written_back: u64,
    is_on_disk: bool,
    are_names_durable: bool,
}

impl Ingest {
    /// An upload that has no bytes yet.
    pub(crate) fn new(id: UploadId, algorithm: Algorithm) -> Ingest {
        Ingest {
            id,
            algorithm,
            file: None,
            hasher: Some(algorithm.hasher()),
            sums: BlockSums::default(),
            written_back: 0,
            is_on_disk: false,
            are_names_durable: false,
        }
    }

    /// An upload that a restart found, cut to the length of its record.
    pub(crate) fn restored(id: UploadId, algorithm: Algorithm, sums: BlockSums) -> Ingest {
        Ingest {
            id,
            algorithm,
            file: None,
            hasher: None,
            written_back: sums.content_bytes(),
            sums,
            is_on_disk: true,
            are_names_durable: true,
        }
    }

    /// Bytes written.
    pub(crate) fn offset(&self) -> u64 {
        self.sums.content_bytes()
    }

    pub(crate) fn is_on_disk(&self) -> bool {
        self.is_on_disk
    }

    /// May there be a record of it?
    pub(crate) fn was_checkpointed(&self) -> bool {
        self.are_names_durable
    }

    pub(crate) fn has_open_file(&self) -> bool {
        self.file.is_some()
    }

    /// Writes the batch behind what is there. After an error [`offset`](Self::offset) tells how far
    /// it came; the rest is neither hashed nor summed, and is overwritten by what comes next.
    pub(crate) fn append(
        &mut self,
        disk: &dyn Disk,
        paths: &Paths,
        batch: &[Bytes],
    ) -> Result<(), StoreIo> {
        let file = self.open(disk, paths)?;
        for bytes in batch {
            file.write_at(bytes, self.offset())
                .map_err(|error| StoreIo::new("write", &paths.upload_data(self.id), error))?;
            if let Some(hasher) = &mut self.hasher {
                hasher.update(bytes);
            }
            self.sums.update(bytes);
        }
        self.write_back(file.as_ref());
        Ok(())
    }

    /// Gets a long upload on its way to the disk while it is still arriving, so that the sync at its
    /// end finds little left to do.
    fn write_back(&mut self, file: &dyn DiskFile) {
        let waiting = self.offset() - self.written_back;
        if waiting >= WRITE_BACK_BYTES {
            file.start_write_back(self.written_back, waiting);
            self.written_back += waiting;
        }
    }

    /// The file, opened if it was closed, created if there is none.
    pub(crate) fn open(
        &mut self,
        disk: &dyn Disk,
        paths: &Paths,
    ) -> Result<Arc<dyn DiskFile>, StoreIo> {
        if let Some(file) = &self.file {
            return Ok(Arc::clone(file));
        }
        let path = paths.upload_data(self.id);
        let file = if self.is_on_disk {
            disk.open_write(&path).at("open", &path)?
        } else {
            create_file(disk, paths, self.id)?
        };
        self.is_on_disk = true;
        if self.hasher.is_none() {
            let hasher = hash_file(&*file, self.algorithm, &self.sums);
            self.hasher = Some(hasher.at("read again", &path)?);
        }
        self.file = Some(Arc::clone(&file));
        Ok(file)
    }

    /// The digest of everything written. One other than the session's costs reading it all again.
    pub(crate) fn digest(
        &mut self,
        disk: &dyn Disk,
        paths: &Paths,
        algorithm: Algorithm,
    ) -> Result<Digest, StoreIo> {
        let file = self.open(disk, paths)?;
        match &self.hasher {
            Some(hasher) if algorithm == self.algorithm => Ok(hasher.clone().finish()),
            _ => {
                let hasher = hash_file(&*file, algorithm, &self.sums);
                Ok(hasher.at("read again", &paths.upload_data(self.id))?.finish())
            }
        }
    }

    /// Appends the trailer and makes the file durable: it is a blob file now.
    pub(crate) fn seal(
        &mut self,
        disk: &dyn Disk,
        paths: &Paths,
        digest: Digest,
    ) -> Result<(), StoreIo> {
        let file = self.open(disk, paths)?;
        let path = paths.upload_data(self.id);
        let trailer = Trailer::new(digest, &self.sums).encode();
        file.write_at(&trailer, self.offset()).at("write", &path)?;
        if Plant::SkipDataSync.is_planted() {
            return Ok(());
        }
        file.sync().at("sync", &path)
    }

    /// Makes what was written survive a power cut. An upload without bytes has nothing to keep.
    pub(crate) fn checkpoint(
        &mut self,
        disk: &dyn Disk,
        paths: &Paths,
        repo: &RepoName,
        now: SystemTime,
    ) -> Result<(), DiskFailure> {
        if !self.is_on_disk {
            return Ok(());
        }
        let file = self.open(disk, paths)?;
        // After a failed sync the file is given up, whatever the reason was: a full disk too.
        if !Plant::RecordBeforeBytes.is_planted() {
            file.sync().at("sync", &paths.upload_data(self.id)).map_err(DiskFailure::Io)?;
        }
        if !self.are_names_durable {
            for folder in [paths.upload(self.id), paths.uploads()] {
                disk.sync_dir(&folder).at("sync", &folder).map_err(DiskFailure::Io)?;
            }
            self.are_names_durable = true;
        }
        Record::new(repo.clone(), self.algorithm, self.sums.clone(), now).save(disk, paths, self.id)
    }

    /// Closes the file of an upload that goes idle. Synced first: an error of writing it back later
    /// would find nobody to tell.
    pub(crate) fn close(&mut self, paths: &Paths) -> Result<(), DiskFailure> {
        if let Some(file) = &self.file {
            file.sync().at("sync", &paths.upload_data(self.id)).map_err(DiskFailure::Io)?;
        }
        self.file = None;
        Ok(())
    }
}

/// Creates the folder and file of an upload.
pub(crate) fn create_file(
    disk: &dyn Disk,
    paths: &Paths,
    id: UploadId,
) -> Result<Arc<dyn DiskFile>, StoreIo> {
    let folder = paths.upload(id);
    match disk.create_dir(&folder) {
        Ok(()) => {}
        // Left by an attempt that found no room for the file.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(StoreIo::new("create", &folder, error)),
    }
    let path = paths.upload_data(id);
    disk.create_new(&path).at("create", &path)
}

/// Hashes a file again, and refuses it when it is not what `sums` remember.
fn hash_file(file: &dyn DiskFile, algorithm: Algorithm, sums: &BlockSums) -> io::Result<Hasher> {
    let list = sums.list();
    let mut hasher = algorithm.hasher();
    let mut buffer = vec![0; REREAD_BYTES.min(sums.content_bytes() as usize)];
    let mut offset = 0;
    while offset < sums.content_bytes() {
        let len = (sums.content_bytes() - offset).min(buffer.len() as u64) as usize;
        file.read_exact_at(&mut buffer[..len], offset)?;
        let expected = &list[(offset / BLOCK_BYTES) as usize..];
        if first_mismatch(&buffer[..len], expected).is_some() {
            let message = "the received bytes changed on the disk";
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        hasher.update(&buffer[..len]);
        offset += len as u64;
    }
    Ok(hasher)
}
