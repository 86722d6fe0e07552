//! Reading a blob: here, else at its owners.
//!
//! Content never changes under its digest, so any copy will do, and one answer may come from several:
//! when an owner breaks off, the next goes on at the same byte. What is read whole from a peer is
//! hashed on the way, and its last bytes are held back until they fit; a part is covered by the
//! checksums that its owner verifies block by block.

use std::{collections::BTreeSet, sync::Arc};

use atoll_core::{Digest, replication::read_order, view::NodeId};
use bytes::{Bytes, BytesMut};

use super::{
    Replicator,
    error::{FetchError, OutOfReach},
    remote::RemoteStream,
};
use crate::{
    io::Sometimes,
    store::ReadError,
    tiers::{BlobStream, OpenedBlob},
};

/// A blob to be read.
#[derive(Clone, Debug)]
pub enum FoundBlob {
    /// All of it, from memory.
    Whole(Bytes),
    /// Piece by piece, from this node's own copy.
    Opened(LocalBlob),
    /// Piece by piece, from its owners.
    Remote(RemoteBlob),
}

/// A copy of this node, open, and where to go on should it turn out damaged.
#[derive(Clone, Debug)]
pub struct LocalBlob {
    opened: OpenedBlob,
    elsewhere: RemoteBlob,
}

/// A blob that other nodes have.
#[derive(Clone, Debug)]
pub struct RemoteBlob {
    pub(super) replicator: Replicator,
    pub(super) digest: Digest,
    pub(super) size: u64,
}

impl RemoteBlob {
    /// All of it, in memory. An owner whose bytes are wrong is passed over.
    async fn read_whole(&self) -> Result<Bytes, FetchError> {
        let mut wrong = BTreeSet::new();
        loop {
            let mut stream = RemoteStream::new(self, 0, self.size).avoiding(&wrong);
            let mut whole = BytesMut::new();
            let failed = loop {
                match stream.next().await {
                    Ok(Some(bytes)) => whole.extend_from_slice(&bytes),
                    Ok(None) => return Ok(whole.freeze()),
                    Err(error) => break error,
                }
            };
            match failed {
                FetchError::WrongBytes(bytes) if wrong.insert(bytes.node) => {}
                error => return Err(error),
            }
        }
    }
}

impl FoundBlob {
    /// Length in bytes.
    pub fn size(&self) -> u64 {
        match self {
            FoundBlob::Whole(bytes) => bytes.len() as u64,
            FoundBlob::Opened(blob) => blob.opened.size(),
            FoundBlob::Remote(blob) => blob.size,
        }
    }

    /// Reads `[start, end)`. `end` may not be beyond the blob.
    pub fn stream(&self, start: u64, end: u64) -> PartStream {
        debug_assert!(start <= end && end <= self.size());
        match self {
            FoundBlob::Whole(bytes) => PartStream::Whole(bytes.slice(start as usize..end as usize)),
            FoundBlob::Opened(blob) => PartStream::Local(Box::new(LocalStream {
                stream: blob.opened.stream(start, end),
                end,
                elsewhere: blob.elsewhere.clone(),
            })),
            FoundBlob::Remote(blob) => {
                PartStream::Remote(Box::new(RemoteStream::new(blob, start, end)))
            }
        }
    }
}

/// A stretch of a blob being read.
#[derive(Debug)]
pub enum PartStream {
    /// From memory.
    Whole(Bytes),
    /// From this node's own copy.
    Local(Box<LocalStream>),
    /// From other nodes.
    Remote(Box<RemoteStream>),
}

/// A stretch of this node's own copy.
#[derive(Debug)]
pub struct LocalStream {
    stream: BlobStream,
    end: u64,
    elsewhere: RemoteBlob,
}

impl PartStream {
    /// Bytes still to come.
    pub fn remaining(&self) -> u64 {
        match self {
            PartStream::Whole(bytes) => bytes.len() as u64,
            PartStream::Local(local) => local.stream.remaining(),
            PartStream::Remote(remote) => remote.remaining(),
        }
    }

    /// The next verified bytes, never empty; `None` at the end.
    ///
    /// # Errors
    /// Nobody who can be reached has them.
    pub async fn next(&mut self) -> Result<Option<Bytes>, FetchError> {
        loop {
            match self {
                PartStream::Whole(bytes) => {
                    let whole = std::mem::take(bytes);
                    return Ok((!whole.is_empty()).then_some(whole));
                }
                PartStream::Remote(remote) => return remote.next().await,
                PartStream::Local(local) => match local.stream.next().await {
                    Ok(bytes) => return Ok(bytes),
                    Err(error) => *self = PartStream::Remote(local.go_on_elsewhere(error)?),
                },
            }
        }
    }
}

impl LocalStream {
    /// This node's copy is damaged: the rest comes from a peer, and so does a new copy.
    fn go_on_elsewhere(&self, error: Arc<ReadError>) -> Result<Box<RemoteStream>, FetchError> {
        let RemoteBlob { replicator, digest, .. } = &self.elsewhere;
        if replicator.is_alone() {
            return Err(error.into());
        }
        tracing::warn!(%digest, %error, "own copy cannot be read; its bytes come from a peer");
        replicator.pull_in_background(digest, self.elsewhere.size);
        replicator.counters().resumes.add(1);
        let at = self.end - self.stream.remaining();
        Sometimes::ResumedMidBody.reached();
        Ok(Box::new(RemoteStream::new(&self.elsewhere, at, self.end)))
    }
}

impl Replicator {
    /// Opens a blob of `size` bytes, as its link says.
    ///
    /// # Errors
    /// No copy can be reached.
    pub async fn open_blob(&self, digest: &Digest, size: u64) -> Result<FoundBlob, FetchError> {
        if self.tiers().keeps(size) {
            return Ok(FoundBlob::Whole(self.read_small(digest, size).await?));
        }
        let remote = RemoteBlob { replicator: self.clone(), digest: *digest, size };
        match self.tiers().open(digest).await {
            Ok(Some(opened)) if opened.size() == size => {
                return Ok(FoundBlob::Opened(LocalBlob { opened, elsewhere: remote }));
            }
            Ok(_) => {}
            Err(error) => self.go_elsewhere(digest, Arc::new(error))?,
        }
        self.require_peers(digest)?;
        self.pull_if_owner(digest, size);
        Ok(FoundBlob::Remote(remote))
    }

    /// The whole of a blob that fits into memory.
    ///
    /// # Errors
    /// No copy can be reached.
    pub async fn read_small(&self, digest: &Digest, size: u64) -> Result<Bytes, FetchError> {
        match self.tiers().read_small(digest, size).await {
            Ok(Some(bytes)) => return Ok(bytes),
            Ok(None) => {}
            Err(error) => self.go_elsewhere(digest, error)?,
        }
        self.require_peers(digest)?;
        self.pull_if_owner(digest, size);
        let blob = RemoteBlob { replicator: self.clone(), digest: *digest, size };
        let load = async move { blob.read_whole().await };
        if !self.tiers().keeps(size) {
            return load.await;
        }
        let read = self.tiers().read_small_from(digest, load).await;
        read.map_err(|error| FetchError::clone(&error))
    }

    /// This node's own copy cannot be read: an error if there is nobody else to ask.
    fn go_elsewhere(&self, digest: &Digest, error: Arc<ReadError>) -> Result<(), FetchError> {
        if self.is_alone() {
            return Err(error.into());
        }
        tracing::warn!(%digest, %error, "own copy cannot be read; a peer is asked");
        Ok(())
    }

    fn require_peers(&self, digest: &Digest) -> Result<(), FetchError> {
        if self.is_alone() {
            let reasons = vec!["this node has none, and it is alone".to_owned()];
            return Err(OutOfReach { digest: *digest, reasons }.into());
        }
        Ok(())
    }

    /// An owner that lacks a blob takes the occasion to get it.
    fn pull_if_owner(&self, digest: &Digest, size: u64) {
        let (view, me) = (self.cluster().view(), self.cluster().me());
        if view.acting(digest).contains(&me) {
            self.pull_in_background(digest, size);
        }
    }

    /// The peers to ask for a blob, in order.
    pub(super) fn peers_in_order(&self, digest: &Digest) -> Vec<NodeId> {
        let (view, me) = (self.cluster().view(), self.cluster().me());
        let mut order = read_order(&view, digest, me, &self.cluster().suspects());
        order.retain(|node| *node != me);
        order
    }
}
