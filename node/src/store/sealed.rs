//! An upload whose bytes are all here and verified, but not published.
//!
//! A node that takes a push sends it to the owners of the blob. If it is one of them, publishing its
//! own copy and sending the bytes on go on at the same time, so the bytes are read through a handle
//! that a rename does not disturb; if it is none, nothing is published, and the file goes when the
//! upload is dropped.

use std::sync::Arc;

use atoll_core::Digest;
use bytes::Bytes;

use super::{
    BlobInfo, Shared,
    error::{At, CommitError, DiskFailure, StoreIo},
    publish,
    sessions::Lease,
};
use crate::io::disk::DiskFile;

/// A verified upload.
#[derive(Debug)]
pub struct SealedUpload {
    shared: Arc<Shared>,
    /// Taken out by whoever ends it.
    lease: Option<Lease>,
    /// What is in memory only: all of an upload that has nothing on the disk, else nothing.
    rest: Vec<Bytes>,
    bytes: SealedBytes,
    digest: Digest,
}

/// The bytes of a verified upload. They can be read until the last clone is dropped, whatever becomes
/// of the upload meanwhile.
#[derive(Clone, Debug)]
pub struct SealedBytes {
    shared: Arc<Shared>,
    content: Content,
    size: u64,
}

#[derive(Clone, Debug)]
enum Content {
    Memory(Arc<[Bytes]>),
    File(Arc<dyn DiskFile>),
}

impl SealedUpload {
    pub(super) async fn seal(
        shared: Arc<Shared>,
        lease: Lease,
        rest: Vec<Bytes>,
        digest: Digest,
    ) -> Result<SealedUpload, CommitError> {
        let at_disk = Arc::clone(&shared);
        let sealed = shared.io.disk_op(move |disk| {
            let (shared, mut lease) = (at_disk, lease);
            let ingest = lease.ingest();
            let verified = publish::verify(&**disk, &shared.paths, ingest, &rest, &digest);
            let content = verified.and_then(|()| match ingest.is_on_disk() {
                true => {
                    let file = ingest.open(&**disk, &shared.paths).map_err(DiskFailure::from)?;
                    Ok((Content::File(file), ingest.offset()))
                }
                false => {
                    let size = rest.iter().map(|bytes| bytes.len() as u64).sum();
                    Ok((Content::Memory(rest.clone().into()), size))
                }
            });
            match content {
                Ok((content, size)) => {
                    let rest = if matches!(content, Content::File(_)) { Vec::new() } else { rest };
                    let bytes = SealedBytes { shared: Arc::clone(&shared), content, size };
                    Ok(SealedUpload { shared, lease: Some(lease), rest, bytes, digest })
                }
                Err(error) => {
                    shared.counters.commits_failed.add(1);
                    let id = lease.id();
                    lease.end_commit();
                    shared.remove_upload(&**disk, id);
                    Err(error)
                }
            }
        });
        sealed.await
    }

    /// Its bytes.
    pub fn bytes(&self) -> SealedBytes {
        self.bytes.clone()
    }

    /// Length in bytes.
    pub fn size(&self) -> u64 {
        self.bytes.size
    }

    /// Its digest.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Publishes it as a blob of this node. When this answers `Ok` the blob is durable here.
    ///
    /// # Errors
    /// See [`CommitError`].
    pub async fn publish(mut self) -> Result<BlobInfo, CommitError> {
        let claim = self.shared.claims.publish(self.digest).await;
        let lease = self.lease.take().expect("only the end of a sealed upload takes its lease");
        let (rest, digest) = (std::mem::take(&mut self.rest), self.digest);
        let shared = Arc::clone(&self.shared);
        let publish = self
            .shared
            .io
            .disk_op(move |disk| shared.commit_blocking(&**disk, lease, &rest, digest, claim));
        publish.await
    }
}

impl Drop for SealedUpload {
    /// It was not published: its files go, now or, when the node is ending, at the next start.
    fn drop(&mut self) {
        let Some(lease) = self.lease.take() else { return };
        let id = lease.id();
        lease.end_commit();
        if tokio::runtime::Handle::try_current().is_err() {
            return;
        }
        let shared = Arc::clone(&self.shared);
        tokio::spawn(async move {
            let at_disk = Arc::clone(&shared);
            shared.io.disk_op(move |disk| at_disk.remove_upload(&**disk, id)).await;
        });
    }
}

impl SealedBytes {
    /// Length in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// At most `len` bytes from `offset` on; none at the end.
    ///
    /// # Errors
    /// The disk failed.
    pub async fn read(&self, offset: u64, len: usize) -> Result<Bytes, StoreIo> {
        match &self.content {
            Content::Memory(pieces) => Ok(piece_at(pieces, offset, len)),
            Content::File(file) => {
                let len = (self.size.saturating_sub(offset)).min(len as u64) as usize;
                let file = Arc::clone(file);
                let read = self.shared.io.disk_op(move |_| {
                    let mut buffer = vec![0; len];
                    file.read_exact_at(&mut buffer, offset)
                        .at("read", std::path::Path::new("a verified upload"))?;
                    Ok(Bytes::from(buffer))
                });
                read.await
            }
        }
    }
}

/// What one piece has from `offset` on, cut to `len`.
fn piece_at(pieces: &[Bytes], offset: u64, len: usize) -> Bytes {
    let mut start = 0;
    for piece in pieces {
        let end = start + piece.len() as u64;
        if offset < end {
            let from = (offset - start) as usize;
            return piece.slice(from..piece.len().min(from + len));
        }
        start = end;
    }
    Bytes::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_read_in_order_and_end() {
        let pieces = [Bytes::from_static(b"abc"), Bytes::from_static(b"de")];
        assert_eq!(piece_at(&pieces, 0, 10), "abc");
        assert_eq!(piece_at(&pieces, 1, 1), "b");
        assert_eq!(piece_at(&pieces, 3, 10), "de");
        assert_eq!(piece_at(&pieces, 5, 10), "");
    }
}
