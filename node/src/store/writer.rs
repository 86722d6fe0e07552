//! One request's use of an upload session.
//!
//! Incoming buffers are gathered into a batch, uncopied; a batch is hashed, summed and written in
//! one disk operation while the next one is gathered. So a session works on two batches at most,
//! receiving and hashing overlap, and a slow disk slows the client down instead of filling memory.
//!
//! An upload that is short enough to be gathered whole never waits for the disk before its commit,
//! which then does everything in one operation.

use std::{future::poll_fn, mem, pin::Pin, sync::Arc, task::Poll};

use atoll_core::Digest;
use bytes::Bytes;
use futures_util::future::{MaybeDone, maybe_done};

use super::{
    BlobInfo, SealedUpload, Shared,
    error::{CommitError, DiskFailure, UploadCancelled, UploadError, WriteFailure},
    sessions::{Lease, Meter},
};
use crate::io::Disk;

/// A batch this small waits for company, or for the commit; a larger one starts as soon as the
/// disk is free. Blobs up to here are published in one disk operation.
const START_BYTES: usize = 256 << 10;

/// The lease comes back from the disk with what became of the batch.
type Batch = Pin<Box<dyn Future<Output = (Lease, Result<(), WriteFailure>)> + Send>>;

/// Writes to an upload session, which it alone holds. Dropping it without
/// [`finish`](Self::finish) means that the connection broke: the session keeps what was received.
///
/// After an error the writer is of no more use; every further call answers that the session was
/// cancelled. Whether the session itself goes on is said at each variant of [`UploadError`].
pub struct UploadWriter {
    shared: Arc<Shared>,
    meter: Meter,
    /// `None` while a batch is on its way, and after an error.
    lease: Option<Lease>,
    in_flight: Option<MaybeDone<Batch>>,
    pending: Vec<Bytes>,
    pending_bytes: usize,
}

/// What follows the bytes of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    /// More bytes.
    More,
    /// The end of the request.
    Park,
    /// The end of the request, and what was written must survive a power cut.
    Checkpoint,
}

impl UploadWriter {
    pub(crate) fn new(shared: Arc<Shared>, lease: Lease) -> UploadWriter {
        let meter = lease.meter();
        let (pending, pending_bytes) = (Vec::new(), 0);
        UploadWriter { shared, meter, lease: Some(lease), in_flight: None, pending, pending_bytes }
    }

    /// Where the next byte goes: everything received so far, written or not.
    pub fn offset(&self) -> u64 {
        self.meter.received()
    }

    /// Declares where the client says its bytes start (`Content-Range`).
    ///
    /// # Errors
    /// `OutOfOrder` when that is not [`offset`](Self::offset); nothing changes.
    pub fn begin_chunk(&self, start: u64) -> Result<(), UploadError> {
        self.meter.chunk(start)
    }

    /// Takes the next bytes. Waits when two batches are on their way already.
    ///
    /// # Errors
    /// `Cancelled`, `TooLarge`, `BudgetExhausted`: these bytes were not taken.
    /// `NoSpace`, `Io`: they or earlier ones could not be written.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), UploadError> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.meter.receive(bytes.len() as u64)?;
        self.pending_bytes += bytes.len();
        self.pending.push(bytes);
        let is_disk_free = self.in_flight.is_none();
        if self.pending_bytes >= self.shared.settings.batch_bytes
            || is_disk_free && self.pending_bytes > START_BYTES
        {
            self.land().await?;
            self.start().await?;
        }
        Ok(())
    }

    /// Ends the request and leaves the session open; answers its offset. With `durable` that many
    /// bytes survive a power cut.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub async fn finish(mut self, durable: bool) -> Result<u64, UploadError> {
        self.land().await?;
        let then = if durable { Then::Checkpoint } else { Then::Park };
        let lease = self.take_lease()?;
        let batch = self.take_pending();
        let (mut lease, written) = write_batch(&self.shared, lease, batch, then).await;
        written?;
        Ok(lease.ingest().offset())
    }

    /// Verifies everything received against `digest` and publishes it as a blob. When this
    /// answers `Ok` the blob is durable. The session is over in every case.
    ///
    /// Once the bytes are on their way, the commit goes on even when nobody waits for it.
    ///
    /// # Errors
    /// `Unknown` when the session ended before; see [`CommitError`] for the others.
    pub async fn commit(mut self, digest: &Digest) -> Result<BlobInfo, CommitError> {
        self.land().await?;
        let digest = *digest;
        let claim = self.shared.claims.publish(digest).await;
        let lease = self.take_lease()?;
        lease.begin_commit()?;
        let rest = self.take_pending();
        let shared = Arc::clone(&self.shared);
        self.shared
            .io
            .disk_op(move |disk| shared.commit_blocking(&**disk, lease, &rest, digest, claim))
            .await
    }

    /// Verifies everything received against `digest` and keeps it, unpublished, for whoever sends it
    /// on. When the digest is wrong, the session is over.
    ///
    /// # Errors
    /// As [`commit`](Self::commit).
    pub async fn seal(mut self, digest: &Digest) -> Result<SealedUpload, CommitError> {
        self.land().await?;
        let lease = self.take_lease()?;
        lease.begin_commit()?;
        let rest = self.take_pending();
        SealedUpload::seal(Arc::clone(&self.shared), lease, rest, *digest).await
    }

    fn take_lease(&mut self) -> Result<Lease, WriteFailure> {
        self.lease.take().ok_or(UploadCancelled { id: self.meter.id() }.into())
    }

    fn take_pending(&mut self) -> Vec<Bytes> {
        self.pending_bytes = 0;
        mem::take(&mut self.pending)
    }

    /// Waits for the batch that is on its way.
    async fn land(&mut self) -> Result<(), WriteFailure> {
        let Some(batch) = &mut self.in_flight else { return Ok(()) };
        Pin::new(&mut *batch).await;
        let landed = Pin::new(batch).take_output();
        self.in_flight = None;
        let (lease, written) = landed.ok_or(UploadCancelled { id: self.meter.id() })?;
        written?;
        self.lease = Some(lease);
        Ok(())
    }

    /// Sends the gathered batch on its way.
    async fn start(&mut self) -> Result<(), WriteFailure> {
        let lease = self.take_lease()?;
        let batch = self.take_pending();
        let shared = Arc::clone(&self.shared);
        let batch: Batch =
            Box::pin(async move { write_batch(&shared, lease, batch, Then::More).await });
        let batch = self.in_flight.insert(maybe_done(batch));
        // Polled once, so that it begins; `land` waits for it.
        poll_fn(|cx| {
            let _ = Pin::new(&mut *batch).poll(cx);
            Poll::Ready(())
        })
        .await;
        Ok(())
    }
}

impl Drop for UploadWriter {
    /// The connection broke. What was gathered is written by a task of its own; a batch on its way
    /// gets there by itself, and what waits behind it is lost: the client sends it again.
    fn drop(&mut self) {
        let Some(lease) = self.lease.take() else { return };
        let batch = self.take_pending();
        let is_crowded = self.shared.sessions.idle_files() >= self.shared.settings.idle_files_max;
        if batch.is_empty() && !is_crowded || tokio::runtime::Handle::try_current().is_err() {
            return;
        }
        let shared = Arc::clone(&self.shared);
        tokio::spawn(async move {
            let (lease, written) = write_batch(&shared, lease, batch, Then::Park).await;
            if let Err(error) = written.map_err(UploadError::from) {
                tracing::debug!(upload = %lease.id(), %error, "rest of a broken request is lost");
            }
        });
    }
}

/// Writes a batch behind what the session has, and does what follows.
async fn write_batch(
    shared: &Arc<Shared>,
    mut lease: Lease,
    batch: Vec<Bytes>,
    then: Then,
) -> (Lease, Result<(), WriteFailure>) {
    let at_disk = Arc::clone(shared);
    let operation = move |disk: &Arc<dyn Disk>| {
        let written = at_disk.write_blocking(&**disk, &mut lease, &batch, then);
        (lease, written)
    };
    shared.io.disk_op(operation).await
}

impl Shared {
    fn write_blocking(
        &self,
        disk: &dyn Disk,
        lease: &mut Lease,
        batch: &[Bytes],
        then: Then,
    ) -> Result<(), WriteFailure> {
        let before = lease.ingest().offset();
        let mut done = Ok(());
        if !batch.is_empty() {
            done = lease.ingest().append(disk, &self.paths, batch).map_err(DiskFailure::from);
            let _ = self.space.refresh(disk);
        }
        let written = lease.ingest().offset() - before;
        let is_open = lease.written(written);
        if is_open && done.is_ok() {
            done = self.follow(disk, lease, then);
        }
        if !lease.is_open() {
            // Its files are gone; those that this batch made after that go now.
            self.remove_upload(disk, lease.id());
            return Err(UploadCancelled { id: lease.id() }.into());
        }
        if let Err(DiskFailure::Io(_)) = done {
            lease.fail();
            self.remove_upload(disk, lease.id());
        }
        Ok(done?)
    }

    fn follow(&self, disk: &dyn Disk, lease: &mut Lease, then: Then) -> Result<(), DiskFailure> {
        if then == Then::Checkpoint {
            let repo = lease.repo().clone();
            lease.ingest().checkpoint(disk, &self.paths, &repo, self.io.clock.wall())?;
        }
        let is_crowded = self.sessions.idle_files() >= self.settings.idle_files_max;
        if then != Then::More && is_crowded {
            lease.ingest().close(&self.paths)?;
        }
        Ok(())
    }
}
