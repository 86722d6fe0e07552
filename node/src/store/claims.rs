//! Who is changing the copy of a blob right now.
//!
//! A reader that finds rot moves the copy away; a push that comes at the same moment puts a good
//! copy in its place. Without an agreement the reader could move the good copy away. The rule:
//! any number may publish a digest together (they bring the same bytes), a quarantine is alone;
//! publishers wait for it, it does not even begin while somebody publishes, because the new copy
//! heals what it would have moved. Why not a lock: it would be held across disk operations.

use std::{
    collections::BTreeMap,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use atoll_core::Digest;
use tokio::sync::Notify;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Claim {
    /// How many publish it.
    Publishing(usize),
    Quarantining,
}

/// The digests whose copies are being changed.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    held: Mutex<BTreeMap<Digest, Claim>>,
    released: Notify,
}

/// The right to change the copy of one blob; given back when dropped.
#[derive(Debug)]
#[must_use = "the claim ends when this is dropped"]
pub(crate) struct ClaimGuard {
    claims: Arc<Claims>,
    digest: Digest,
}

impl Claims {
    fn locked(&self) -> MutexGuard<'_, BTreeMap<Digest, Claim>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Claims `digest` for publishing, after a quarantine that is under way.
    pub(crate) async fn publish(self: &Arc<Self>, digest: Digest) -> ClaimGuard {
        loop {
            let mut released = pin!(self.released.notified());
            released.as_mut().enable();
            if let Some(guard) = self.try_publish(digest) {
                return guard;
            }
            released.await;
        }
    }

    fn try_publish(self: &Arc<Self>, digest: Digest) -> Option<ClaimGuard> {
        match self.locked().entry(digest).or_insert(Claim::Publishing(0)) {
            Claim::Publishing(publishers) => *publishers += 1,
            Claim::Quarantining => return None,
        }
        Some(ClaimGuard { claims: Arc::clone(self), digest })
    }

    /// Claims `digest` for quarantine; `None` when somebody else changes it now.
    pub(crate) fn try_quarantine(self: &Arc<Self>, digest: Digest) -> Option<ClaimGuard> {
        let mut held = self.locked();
        if held.contains_key(&digest) {
            return None;
        }
        held.insert(digest, Claim::Quarantining);
        drop(held);
        Some(ClaimGuard { claims: Arc::clone(self), digest })
    }
}

impl Drop for ClaimGuard {
    fn drop(&mut self) {
        let mut held = self.claims.locked();
        match held.get_mut(&self.digest) {
            Some(Claim::Publishing(publishers)) if *publishers > 1 => *publishers -= 1,
            Some(_) => {
                held.remove(&self.digest);
            }
            None => debug_assert!(false, "a claim is given back once"),
        }
        drop(held);
        self.claims.released.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use atoll_core::Algorithm;

    use super::*;

    #[tokio::test]
    async fn publishers_share_and_a_quarantine_is_alone() {
        let claims = Arc::new(Claims::default());
        let digest = Digest::of(Algorithm::Sha256, b"x");
        let first = claims.publish(digest).await;
        let second = claims.publish(digest).await;
        drop(first);
        assert!(claims.try_quarantine(digest).is_none());
        drop(second);
        let quarantine = claims.try_quarantine(digest).unwrap();
        assert!(claims.try_quarantine(digest).is_none());
        let other = Arc::clone(&claims);
        let waiting = tokio::spawn(async move { drop(other.publish(digest).await) });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(quarantine);
        waiting.await.unwrap();
        assert!(claims.locked().is_empty());
    }
}
