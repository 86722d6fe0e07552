//! Opening the store: what a crash left behind is recovered or removed, and counted.
//!
//! The rule: a blob is what lies under its digest, a session is what its record says, and anything
//! else in `uploads/` was never acknowledged to anybody. Every step may itself be cut off by a
//! crash: each removes something or does nothing, so the next start goes on where this one ended.
//!
//! Blobs are not read here. A start must be quick however much is stored, and every read checks
//! what it reads.

use std::{collections::BTreeSet, io, path::Path};

use atoll_core::{Algorithm, route::UploadId};

use crate::io::{Disk, Sometimes};

use super::{
    damaged::Damaged,
    error::{At, StoreIo},
    ingest::Ingest,
    paths::{
        Paths, RecordName, data_in, parse_quarantined, parse_record, parse_upload, shard_name,
    },
    record::Record,
};

/// What opening the store found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    /// Upload sessions that go on at their durable offset.
    pub sessions_restored: u64,
    /// Records of sessions that could not be restored: unreadable, or their bytes are gone.
    pub records_removed: u64,
    /// Unfinished uploads without a record that were removed.
    pub uploads_removed: u64,
    /// Bytes that this made free.
    pub bytes_freed: u64,
    /// Blobs whose only copy is in quarantine.
    pub blobs_damaged: u64,
    /// Quarantined copies that were removed because the blob has a good copy again.
    pub quarantine_removed: u64,
    /// Names in the store's folders that the store did not make; left alone.
    pub strangers: Vec<String>,
}

/// A session to go on with.
#[derive(Debug)]
pub(crate) struct RestoredSession {
    pub(crate) id: UploadId,
    pub(crate) record: Record,
    pub(crate) ingest: Ingest,
}

/// What a store starts with.
#[derive(Debug, Default)]
pub(crate) struct Recovered {
    pub(crate) sessions: Vec<RestoredSession>,
    pub(crate) damaged: Damaged,
    pub(crate) report: RecoveryReport,
    /// Were all folders of blobs made just now? Then there is no blob.
    pub(crate) is_new: bool,
}

/// Lays the folders and recovers what is in them.
pub(crate) fn recover(disk: &dyn Disk, paths: &Paths) -> Result<Recovered, StoreIo> {
    let is_new = lay_folders(disk, paths)?;
    let mut recovered = Recovered { is_new, ..Recovered::default() };
    recover_quarantine(disk, paths, &mut recovered)?;
    let records = recover_records(disk, paths, &mut recovered)?;
    recover_uploads(disk, paths, &mut recovered, records)?;
    Ok(recovered)
}

/// Creates what is missing, and syncs every parent even when nothing is: a process that was killed
/// may have created a folder without living to sync it. Answers whether all folders of blobs are new.
fn lay_folders(disk: &dyn Disk, paths: &Paths) -> Result<bool, StoreIo> {
    lay_with_parents(disk, paths.root())?;
    for folder in [paths.uploads(), paths.sessions(), paths.quarantine()] {
        create_dir(disk, &folder)?;
    }
    let mut is_new = true;
    for algorithm in Algorithm::ALL {
        is_new &= lay_shards(disk, &paths.shards(algorithm))?;
    }
    disk.sync_dir(paths.root()).at("sync", paths.root())?;
    Ok(is_new)
}

fn lay_shards(disk: &dyn Disk, folder: &Path) -> Result<bool, StoreIo> {
    lay_with_parents(disk, folder)?;
    let present = disk.list(folder).at("list", folder)?;
    let present: BTreeSet<String> = present.into_iter().map(|entry| entry.name).collect();
    for shard in (0..=u8::MAX).map(shard_name).filter(|shard| !present.contains(shard)) {
        create_dir(disk, &folder.join(shard))?;
    }
    disk.sync_dir(folder).at("sync", folder)?;
    Ok(present.is_empty())
}

fn lay_with_parents(disk: &dyn Disk, folder: &Path) -> Result<(), StoreIo> {
    let mut at = std::path::PathBuf::new();
    for component in folder.components() {
        let parent = at.clone();
        at.push(component);
        create_dir(disk, &at)?;
        disk.sync_dir(&parent).at("sync", &parent)?;
    }
    Ok(())
}

fn create_dir(disk: &dyn Disk, folder: &Path) -> Result<(), StoreIo> {
    match disk.create_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        created => created.at("create", folder),
    }
}

fn recover_quarantine(
    disk: &dyn Disk,
    paths: &Paths,
    recovered: &mut Recovered,
) -> Result<(), StoreIo> {
    let folder = paths.quarantine();
    for entry in disk.list(&folder).at("list", &folder)? {
        let Some((digest, copy)) = parse_quarantined(&entry.name) else {
            recovered.report.strangers.push(entry.name);
            continue;
        };
        if file_len(disk, &paths.blob_data(&digest))?.is_some() {
            recovered.report.bytes_freed += remove_folder(disk, &paths.quarantined(&digest, copy))?;
            recovered.report.quarantine_removed += 1;
        } else if recovered.damaged.insert(digest) {
            recovered.report.blobs_damaged += 1;
        }
    }
    Ok(())
}

/// The sessions that have a whole record; removes the unfinished ones.
fn recover_records(
    disk: &dyn Disk,
    paths: &Paths,
    recovered: &mut Recovered,
) -> Result<BTreeSet<UploadId>, StoreIo> {
    let folder = paths.sessions();
    let mut whole = Vec::new();
    for entry in disk.list(&folder).at("list", &folder)? {
        match parse_record(&entry.name) {
            None => recovered.report.strangers.push(entry.name),
            Some(RecordName::Whole(id)) => whole.push(id),
            Some(RecordName::Unfinished(id)) => unlink(disk, &paths.record_new(id))?,
        }
    }
    let mut good = BTreeSet::new();
    for id in whole {
        if let Some(session) = restore(disk, paths, id)? {
            recovered.report.sessions_restored += 1;
            recovered.sessions.push(session);
            good.insert(id);
        } else {
            unlink(disk, &paths.record(id))?;
            recovered.report.records_removed += 1;
        }
    }
    Ok(good)
}

/// Reads a record and cuts the session's file to it; `None` when one of the two is no good.
fn restore(
    disk: &dyn Disk,
    paths: &Paths,
    id: UploadId,
) -> Result<Option<RestoredSession>, StoreIo> {
    let loaded = Record::load(disk, paths, id).at("read", &paths.record(id))?;
    let Some(record) = loaded else { return Ok(None) };
    let (path, offset) = (paths.upload_data(id), record.sums.content_bytes());
    match file_len(disk, &path)? {
        Some(len) if len > offset => {
            let file = disk.open_write(&path).at("open", &path)?;
            file.set_len(offset).at("cut", &path)?;
        }
        Some(len) if len == offset => {}
        Some(_) | None => return Ok(None),
    }
    Sometimes::UploadRestored.reached();
    let ingest = Ingest::restored(id, record.algorithm, record.sums.clone());
    Ok(Some(RestoredSession { id, record, ingest }))
}

fn recover_uploads(
    disk: &dyn Disk,
    paths: &Paths,
    recovered: &mut Recovered,
    restored: BTreeSet<UploadId>,
) -> Result<(), StoreIo> {
    let folder = paths.uploads();
    for entry in disk.list(&folder).at("list", &folder)? {
        match parse_upload(&entry.name) {
            None => recovered.report.strangers.push(entry.name),
            Some(id) if restored.contains(&id) => {}
            Some(id) => {
                recovered.report.bytes_freed += remove_folder(disk, &paths.upload(id))?;
                recovered.report.uploads_removed += 1;
            }
        }
    }
    Ok(())
}

/// Removes a folder that holds at most a data file; answers the bytes that were in it.
pub(crate) fn remove_folder(disk: &dyn Disk, folder: &Path) -> Result<u64, StoreIo> {
    let data = data_in(folder);
    let bytes = file_len(disk, &data)?.unwrap_or(0);
    unlink(disk, &data)?;
    match disk.remove_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        removed => removed.at("remove", folder)?,
    }
    Ok(bytes)
}

/// Removes a file that may be gone already.
pub(crate) fn unlink(disk: &dyn Disk, path: &Path) -> Result<(), StoreIo> {
    match disk.unlink(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.at("remove", path),
    }
}

fn file_len(disk: &dyn Disk, path: &Path) -> Result<Option<u64>, StoreIo> {
    match disk.file_len(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        len => len.map(Some).at("look at", path),
    }
}
