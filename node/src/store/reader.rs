//! Reading blobs: no byte leaves before its block matched its checksum.
//!
//! A reader opens the file once and keeps it open, so a copy that is replaced or moved away while
//! it is read is read to its end. Every 64 KiB block is checked when it is read; a bad one is an
//! error, never bytes, and starts the quarantine of the copy.

use std::{io, sync::Arc};

use atoll_core::Digest;
use bytes::Bytes;

use crate::io::{Disk, disk::DiskFile};

use super::{
    BLOCK_BYTES, BLOCK_LEN, BlobInfo,
    error::{At, BlobOverLimit, CorruptBlob, DamagedBlob, ReadError, StoreIo},
    paths::Paths,
    quarantine::Suspicion,
    shared::Shared,
    sums::first_mismatch,
    trailer::{Trailer, content_bytes_of_file, trailer_bytes},
};

/// An open blob. Cloning is cheap; clones read independently.
#[derive(Clone, Debug)]
pub struct BlobReader {
    shared: Arc<Shared>,
    blob: Arc<OpenBlob>,
}

/// A blob file whose trailer is good.
#[derive(Debug)]
pub(crate) struct OpenBlob {
    file: Arc<dyn DiskFile>,
    trailer: Trailer,
}

/// Why a blob file cannot be used.
#[derive(Debug)]
pub(crate) enum OpenFailure {
    Absent,
    BadTrailer,
    Io(StoreIo),
}

impl BlobReader {
    pub(crate) fn new(shared: Arc<Shared>, blob: OpenBlob) -> BlobReader {
        BlobReader { shared, blob: Arc::new(blob) }
    }

    /// The digest and length.
    pub fn info(&self) -> BlobInfo {
        self.blob.info()
    }

    /// Length of the blob in bytes.
    pub fn size(&self) -> u64 {
        self.blob.trailer.content_bytes
    }

    /// Fills `buffer` with the content from byte `first_block` × [`BLOCK_BYTES`] on, and answers
    /// it. What lies behind the end of the blob is left as it was. A buffer that ends within a
    /// block costs reading that block to its end, to verify it.
    ///
    /// # Errors
    /// `Corrupt` when a block does not match its checksum: nothing that was read may be used.
    pub async fn read_blocks<B>(&self, first_block: u64, mut buffer: B) -> Result<B, ReadError>
    where
        B: AsMut<[u8]> + Send + 'static,
    {
        let (shared, blob) = (Arc::clone(&self.shared), Arc::clone(&self.blob));
        self.shared
            .io
            .disk_op(move |disk| {
                let digest = blob.trailer.digest;
                match blob.read(&shared.paths, first_block, buffer.as_mut())? {
                    None => Ok(buffer),
                    Some(block) => {
                        Err(shared.report_corrupt(&**disk, digest, Suspicion::Block(block)).into())
                    }
                }
            })
            .await
    }
}

impl OpenBlob {
    /// Opens a blob's file and verifies its trailer.
    pub(crate) fn open(
        disk: &dyn Disk,
        paths: &Paths,
        digest: &Digest,
    ) -> Result<OpenBlob, OpenFailure> {
        let (file, content_bytes) = open_file(disk, paths, digest)?;
        let mut bytes = vec![0; trailer_bytes(content_bytes) as usize];
        file.read_exact_at(&mut bytes, content_bytes)
            .at("read", &paths.blob_data(digest))
            .map_err(OpenFailure::Io)?;
        let trailer = Trailer::decode(digest, &bytes).map_err(|_| OpenFailure::BadTrailer)?;
        Ok(OpenBlob { file, trailer })
    }

    pub(crate) fn info(&self) -> BlobInfo {
        BlobInfo { digest: self.trailer.digest, size: self.trailer.content_bytes }
    }

    /// Reads and verifies whole blocks; answers the first bad one.
    fn read(
        &self,
        paths: &Paths,
        first_block: u64,
        buffer: &mut [u8],
    ) -> Result<Option<u64>, StoreIo> {
        let path = || paths.blob_data(&self.trailer.digest);
        let offset = first_block.saturating_mul(BLOCK_BYTES);
        let left = self.trailer.content_bytes.saturating_sub(offset);
        let len = left.min(buffer.len() as u64) as usize;
        let buffer = &mut buffer[..len];
        if buffer.is_empty() {
            return Ok(None);
        }
        self.file.read_exact_at(buffer, offset).at("read", &path())?;
        let sums = &self.trailer.sums[first_block as usize..];
        let is_whole = len as u64 == left || len.is_multiple_of(BLOCK_LEN);
        let whole = if is_whole { len } else { len - len % BLOCK_LEN };
        if let Some(bad) = first_mismatch(&buffer[..whole], sums) {
            return Ok(Some(first_block + bad as u64));
        }
        if is_whole {
            return Ok(None);
        }
        let cut_block = first_block + (whole / BLOCK_LEN) as u64;
        let is_good = self.is_cut_block_good(cut_block, &buffer[whole..]).at("read", &path())?;
        Ok((!is_good).then_some(cut_block))
    }

    /// Verifies a block of which only the `head` was asked for.
    fn is_cut_block_good(&self, block: u64, head: &[u8]) -> io::Result<bool> {
        let start = block * BLOCK_BYTES;
        let end = (start + BLOCK_BYTES).min(self.trailer.content_bytes);
        let mut rest = vec![0; (end - start) as usize - head.len()];
        self.file.read_exact_at(&mut rest, start + head.len() as u64)?;
        let sum = crc32c::crc32c_append(crc32c::crc32c(head), &rest);
        Ok(self.trailer.sums.get(block as usize) == Some(&sum))
    }

    /// Is this block as it was written?
    pub(crate) fn is_block_good(&self, block: u64) -> io::Result<bool> {
        if block >= self.trailer.sums.len() as u64 {
            return Ok(true);
        }
        self.is_cut_block_good(block, &[])
    }
}

fn open_file(
    disk: &dyn Disk,
    paths: &Paths,
    digest: &Digest,
) -> Result<(Arc<dyn DiskFile>, u64), OpenFailure> {
    let path = paths.blob_data(digest);
    let file = match disk.open_read(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(OpenFailure::Absent),
        Err(error) => return Err(OpenFailure::Io(StoreIo::new("open", &path, error))),
    };
    let len = file.len().at("read", &path).map_err(OpenFailure::Io)?;
    let content_bytes = content_bytes_of_file(len).ok_or(OpenFailure::BadTrailer)?;
    Ok((file, content_bytes))
}

/// Reads a whole blob with one read; `Err(Ok(bytes))` when it is longer than `bytes_max`.
fn read_file(
    disk: &dyn Disk,
    paths: &Paths,
    digest: &Digest,
    bytes_max: u64,
) -> Result<Whole, OpenFailure> {
    let (file, content_bytes) = open_file(disk, paths, digest)?;
    if content_bytes > bytes_max {
        return Ok(Whole::OverLimit(content_bytes));
    }
    let content = content_bytes as usize;
    let mut bytes = vec![0; content + trailer_bytes(content_bytes) as usize];
    file.read_exact_at(&mut bytes, 0)
        .at("read", &paths.blob_data(digest))
        .map_err(OpenFailure::Io)?;
    let trailer =
        Trailer::decode(digest, &bytes[content..]).map_err(|_| OpenFailure::BadTrailer)?;
    bytes.truncate(content);
    Ok(match first_mismatch(&bytes, &trailer.sums) {
        Some(block) => Whole::BadBlock(block as u64),
        None => Whole::Good(bytes.into()),
    })
}

enum Whole {
    Good(Bytes),
    BadBlock(u64),
    OverLimit(u64),
}

impl Shared {
    /// Opens a blob; `None` when it is known not to be here.
    pub(crate) fn open_blocking(
        &self,
        disk: &dyn Disk,
        digest: &Digest,
    ) -> Result<Option<OpenBlob>, ReadError> {
        self.sure_of_absence(disk, digest, || OpenBlob::open(disk, &self.paths, digest))
    }

    pub(crate) fn read_whole_blocking(
        &self,
        disk: &dyn Disk,
        digest: &Digest,
        bytes_max: u64,
    ) -> Result<Option<Bytes>, ReadError> {
        let read = || read_file(disk, &self.paths, digest, bytes_max);
        match self.sure_of_absence(disk, digest, read)? {
            None => Ok(None),
            Some(Whole::Good(bytes)) => Ok(Some(bytes)),
            Some(Whole::OverLimit(bytes)) => {
                Err(BlobOverLimit { digest: *digest, bytes, bytes_max }.into())
            }
            Some(Whole::BadBlock(block)) => {
                Err(self.report_corrupt(disk, *digest, Suspicion::Block(block)).into())
            }
        }
    }

    /// Opens a blob with `open`, and says that it is absent only when it was neither damaged before
    /// nor on its way to or from quarantine meanwhile.
    fn sure_of_absence<T>(
        &self,
        disk: &dyn Disk,
        digest: &Digest,
        mut open: impl FnMut() -> Result<T, OpenFailure>,
    ) -> Result<Option<T>, ReadError> {
        loop {
            let before = self.damaged.view(digest);
            match open() {
                Ok(opened) => return Ok(Some(opened)),
                Err(OpenFailure::Io(error)) => return Err(error.into()),
                Err(OpenFailure::BadTrailer) => {
                    return Err(self.report_corrupt(disk, *digest, Suspicion::Trailer).into());
                }
                Err(OpenFailure::Absent) => {}
            }
            if self.damaged.view(digest) == before {
                let damaged = DamagedBlob { digest: *digest };
                return if before.is_damaged { Err(damaged.into()) } else { Ok(None) };
            }
        }
    }

    /// Counts a bad copy, moves it away, and makes the error of it.
    fn report_corrupt(&self, disk: &dyn Disk, digest: Digest, suspicion: Suspicion) -> CorruptBlob {
        self.counters.corrupt_reads.add(1);
        self.quarantine(disk, digest, suspicion);
        let block = match suspicion {
            Suspicion::Trailer | Suspicion::Content => None,
            Suspicion::Block(block) => Some(block),
        };
        CorruptBlob { digest, block }
    }
}
