//! What collection asks of the copies of one node.

use std::fmt::Debug;

use atoll_core::Digest;
use futures_util::future::BoxFuture;

use super::{Replicator, client::Holding};

/// The stamps of this node's copies: the collection epochs in which they were last needed.
pub trait Stamps: Debug + Send + Sync + 'static {
    /// Raises the stamps of the digests durably to `stamp`, and says which are here.
    fn pin<'a>(
        &'a self,
        replicator: &'a Replicator,
        digests: &'a [Digest],
        stamp: u64,
    ) -> BoxFuture<'a, Vec<Holding>>;

    /// Deletes the copies that are stamped below `older_than`. For each digest: the bytes freed, or
    /// `None` when a copy stays.
    fn delete<'a>(
        &'a self,
        digests: &'a [Digest],
        older_than: u64,
    ) -> BoxFuture<'a, Vec<Option<u64>>>;
}

/// A node that keeps no stamps: it collects nothing, so a pin only has to look.
#[derive(Clone, Copy, Debug)]
pub struct Unstamped;

impl Stamps for Unstamped {
    fn pin<'a>(
        &'a self,
        replicator: &'a Replicator,
        digests: &'a [Digest],
        _stamp: u64,
    ) -> BoxFuture<'a, Vec<Holding>> {
        Box::pin(async move {
            let mut held = Vec::with_capacity(digests.len());
            for digest in digests {
                held.push(replicator.holding(digest).await);
            }
            held
        })
    }

    fn delete<'a>(&'a self, digests: &'a [Digest], _: u64) -> BoxFuture<'a, Vec<Option<u64>>> {
        Box::pin(async move { vec![None; digests.len()] })
    }
}
