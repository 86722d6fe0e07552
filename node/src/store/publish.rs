//! The last steps of a push: a finished file becomes the blob of its digest.
//!
//! The order is what makes a push whole or absent after a power cut:
//! 1. content and trailer are written and the file is synced;
//! 2. its folder in `uploads/` is synced, so the folder surely holds the file;
//! 3. one rename moves the folder to its digest: before it the blob is not there, after it is;
//! 4. the shard folder is synced: the name survives, and only then the push is acknowledged.
//!
//! When the digest is there already, the file alone is renamed over the one that is there. The
//! content is the same by definition, except when the old copy has rotten: then this heals it. The
//! old copy is not trusted to spare the write, because nobody has read it lately, and because its
//! own push may not have reached step 4.

use std::io;

use atoll_core::{Algorithm, Digest, digest::Hasher, route::UploadId};
use bytes::Bytes;

use crate::io::{Disk, plant::Plant};

use super::{
    error::{At, CommitError, DigestMismatch, DiskFailure, StoreIo},
    ingest::{Ingest, create_file},
    paths::{Paths, data_in},
    sums::BlockSums,
    trailer::Trailer,
};

/// Ends an upload whose `rest` has not been written yet: verifies, seals and publishes it. Answers
/// the length of the blob.
pub(crate) fn commit(
    disk: &dyn Disk,
    paths: &Paths,
    id: UploadId,
    mut ingest: Ingest,
    rest: &[Bytes],
    digest: &Digest,
) -> Result<u64, CommitError> {
    if !ingest.is_on_disk() {
        return put(disk, paths, id, rest, digest);
    }
    verify(disk, paths, &mut ingest, rest, digest)?;
    ingest
        .seal(disk, paths, *digest)
        .and_then(|()| publish(disk, paths, id, digest))
        .map_err(DiskFailure::from)?;
    Ok(ingest.offset())
}

/// Writes the `rest` of an upload and compares all of it with its digest. An upload that has nothing on
/// the disk is left in memory.
pub(crate) fn verify(
    disk: &dyn Disk,
    paths: &Paths,
    ingest: &mut Ingest,
    rest: &[Bytes],
    digest: &Digest,
) -> Result<(), CommitError> {
    let computed = if ingest.is_on_disk() {
        ingest
            .append(disk, paths, rest)
            .and_then(|()| ingest.digest(disk, paths, digest.algorithm()))
            .map_err(DiskFailure::from)?
    } else {
        digest_of(rest, digest.algorithm())
    };
    expect_digest(digest, computed)
}

/// Publishes content that is in memory. A wrong digest never touches the disk.
pub(crate) fn put(
    disk: &dyn Disk,
    paths: &Paths,
    id: UploadId,
    content: &[Bytes],
    digest: &Digest,
) -> Result<u64, CommitError> {
    expect_digest(digest, digest_of(content, digest.algorithm()))?;
    let mut sums = BlockSums::default();
    content.iter().for_each(|bytes| sums.update(bytes));
    write_whole(disk, paths, id, content, &Trailer::new(*digest, &sums).encode())
        .and_then(|()| publish(disk, paths, id, digest))
        .map_err(DiskFailure::from)?;
    Ok(sums.content_bytes())
}

fn digest_of(content: &[Bytes], algorithm: Algorithm) -> Digest {
    let mut hasher: Hasher = algorithm.hasher();
    content.iter().for_each(|bytes| hasher.update(bytes));
    hasher.finish()
}

fn expect_digest(expected: &Digest, computed: Digest) -> Result<(), CommitError> {
    if computed == *expected {
        Ok(())
    } else {
        Err(DigestMismatch { expected: *expected, computed }.into())
    }
}

fn write_whole(
    disk: &dyn Disk,
    paths: &Paths,
    id: UploadId,
    content: &[Bytes],
    trailer: &[u8],
) -> Result<(), StoreIo> {
    let path = paths.upload_data(id);
    let file = create_file(disk, paths, id)?;
    let mut offset = 0;
    for bytes in content.iter().map(|bytes| &bytes[..]).chain([trailer]) {
        file.write_at(bytes, offset).at("write", &path)?;
        offset += bytes.len() as u64;
    }
    if Plant::SkipDataSync.is_planted() {
        return Ok(());
    }
    file.sync().at("sync", &path)
}

fn publish(disk: &dyn Disk, paths: &Paths, id: UploadId, digest: &Digest) -> Result<(), StoreIo> {
    let (upload, blob) = (paths.upload(id), paths.blob(digest));
    disk.sync_dir(&upload).at("sync", &upload)?;
    match disk.rename(&upload, &blob) {
        Ok(()) => sync_new_name(disk, paths, id, digest),
        Err(error) if is_taken(&error) => replace(disk, paths, id, digest),
        Err(error) => Err(StoreIo::new("publish", &blob, error)),
    }
}

fn is_taken(error: &io::Error) -> bool {
    use io::ErrorKind::{AlreadyExists, DirectoryNotEmpty};
    matches!(error.kind(), AlreadyExists | DirectoryNotEmpty)
}

fn sync_new_name(
    disk: &dyn Disk,
    paths: &Paths,
    id: UploadId,
    digest: &Digest,
) -> Result<(), StoreIo> {
    if Plant::SkipNameSync.is_planted() {
        return Ok(());
    }
    let shard = paths.shard(digest);
    let synced = disk.sync_dir(&shard).at("sync", &shard);
    if synced.is_err() {
        // Nobody knows whether the name is durable, and a later sync that succeeds would not tell.
        // So the name goes: the next push makes a new one, with a sync of its own.
        let _ = disk.rename(&paths.blob(digest), &paths.upload(id));
    }
    synced
}

fn replace(disk: &dyn Disk, paths: &Paths, id: UploadId, digest: &Digest) -> Result<(), StoreIo> {
    let (upload, blob) = (paths.upload(id), paths.blob(digest));
    disk.rename(&data_in(&upload), &data_in(&blob)).at("publish", &blob)?;
    disk.sync_dir(&blob).at("sync", &blob)?;
    // Whoever made the folder's name may not have synced it yet.
    let shard = paths.shard(digest);
    disk.sync_dir(&shard).at("sync", &shard)?;
    // Empty now. Should this fail, the next start removes it.
    let _ = disk.remove_dir(&upload);
    Ok(())
}
