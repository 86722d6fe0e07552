//! Pulling a copy of a blob from its other holders into this node's store.
//!
//! Whoever finds that this node lacks a copy it should have asks for a pull; of several that ask
//! together one does it and the others wait for it. The copy comes in like any other: temporary
//! file, verified, renamed.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

use atoll_core::Digest;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tracing::{debug, warn};

use super::{
    Replicator,
    client::Holding,
    client::Peer,
    error::{FetchError, OutOfReach, PullError},
    read::RemoteBlob,
    remote::RemoteStream,
};
use crate::{io::Sometimes, store::BlobInfo};

/// Pulls at a time. Each holds some megabytes, and more would only share the same disk.
const PULLS_MAX: usize = 16;

/// Owners told to pull at a time, on the occasion of a read.
const REPAIRS_MAX: usize = 16;

/// The pulls that are under way.
#[derive(Debug)]
pub struct Pulls {
    running: Mutex<BTreeMap<Digest, watch::Receiver<()>>>,
    turns: Arc<Semaphore>,
    repairs: Arc<Semaphore>,
}

impl Default for Pulls {
    fn default() -> Self {
        Pulls {
            running: Mutex::default(),
            turns: Arc::new(Semaphore::new(PULLS_MAX)),
            repairs: Arc::new(Semaphore::new(REPAIRS_MAX)),
        }
    }
}

/// One pull that is under way; its end is seen by everybody who waits for it.
struct Turn<'a> {
    pulls: &'a Pulls,
    digest: Digest,
    _done: watch::Sender<()>,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.pulls.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.digest);
    }
}

impl Pulls {
    /// The right to pull `digest`, or the end of the pull that is under way.
    fn begin(&self, digest: &Digest) -> Result<Turn<'_>, watch::Receiver<()>> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(other) = running.get(digest) {
            return Err(other.clone());
        }
        let (done, seen) = watch::channel(());
        running.insert(*digest, seen);
        Ok(Turn { pulls: self, digest: *digest, _done: done })
    }
}

impl Replicator {
    /// Makes sure that this node has a durable copy of the blob, pulling it from its other holders
    /// if it has none.
    ///
    /// # Errors
    /// Nobody who can be reached has it, or it cannot be stored.
    pub async fn pull(&self, digest: &Digest) -> Result<BlobInfo, PullError> {
        if let Ok(Some(info)) = self.tiers().store().stat(digest).await {
            return Ok(info);
        }
        match self.pulls().begin(digest) {
            Ok(_turn) => {
                let pulled = self.pull_now(digest).await;
                match &pulled {
                    Ok(_) => self.counters().fetches.add(1),
                    Err(error) => {
                        self.counters().fetches_failed.add(1);
                        debug!(%digest, %error, "a copy was not pulled");
                    }
                }
                pulled
            }
            Err(mut other) => {
                Sometimes::SingleFlightJoined.reached();
                // It ends with an error: the sender is gone.
                let _ = other.changed().await;
                let stored = self.tiers().store().stat(digest).await;
                stored.ok().flatten().ok_or(PullError::Shared(*digest))
            }
        }
    }

    async fn pull_now(&self, digest: &Digest) -> Result<BlobInfo, PullError> {
        // The semaphore is never closed.
        let _turn = self.pulls().turns.acquire().await;
        let size = self.size_elsewhere(digest).await?;
        let blob = RemoteBlob { replicator: self.clone(), digest: *digest, size };
        let mut wrong = BTreeSet::new();
        loop {
            let stream = RemoteStream::new(&blob, 0, size).avoiding(&wrong);
            match self.pull_from(stream, digest).await {
                Err(PullError::Read(FetchError::WrongBytes(bytes))) if wrong.insert(bytes.node) => {
                }
                pulled => return pulled,
            }
        }
    }

    async fn pull_from(
        &self,
        mut stream: RemoteStream,
        digest: &Digest,
    ) -> Result<BlobInfo, PullError> {
        let mut incoming = self.tiers().store().receive(digest.algorithm()).await?;
        while let Some(bytes) = stream.next().await? {
            incoming.write(bytes).await?;
        }
        Ok(incoming.commit(digest).await?)
    }

    /// The size of the blob, as the first says that holds it.
    async fn size_elsewhere(&self, digest: &Digest) -> Result<u64, FetchError> {
        let mut reasons = Vec::new();
        for node in self.peers_in_order(digest) {
            match Peer::new(self.cluster(), node).have(&[*digest]).await {
                Ok((held, _)) => match held.first() {
                    Some(Holding::Present(size)) => return Ok(*size),
                    other => reasons.push(format!("node {node}: {other:?}")),
                },
                Err(status) => reasons.push(format!("node {node}: {}", status.message())),
            }
        }
        Err(OutOfReach { digest: *digest, reasons }.into())
    }

    /// Pulls a copy when there is a turn for it, without anybody waiting for it.
    pub(super) fn pull_in_background(&self, digest: &Digest, size: u64) {
        let Ok(turn) = self.pulls().repairs.clone().try_acquire_owned() else { return };
        let (replicator, digest) = (self.clone(), *digest);
        tokio::spawn(async move {
            let _turn = turn;
            match replicator.pull(&digest).await {
                Ok(_) => debug!(%digest, size, "this node has the copy it lacked"),
                Err(error) => warn!(%digest, size, %error, "this node lacks a copy it should have"),
            }
        });
    }

    /// The right to tell an owner to pull.
    pub(super) fn repair_turn(&self) -> Option<OwnedSemaphorePermit> {
        self.pulls().repairs.clone().try_acquire_owned().ok()
    }
}
