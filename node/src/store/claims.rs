//! Who is changing the copy of a blob right now.
//!
//! A reader that finds rot moves the copy away; a push that comes at the same moment puts a good
//! copy in its place. Without an agreement the reader could move the good copy away. The rule:
//! any number may publish a digest together (they bring the same bytes), a quarantine is alone;
//! publishers wait for it, it does not even begin while somebody publishes, because the new copy
//! heals what it would have moved. Pinning goes with publishing, deleting is alone as a quarantine
//! is; but a delete waits for its turn. Why not a lock: it would be held across disk operations.
//!
//! Somebody who is alone with a blob waits for nobody else, so one may hold many shared claims and
//! wait for more of them.

use std::{
    collections::BTreeMap,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use atoll_core::Digest;
use tokio::sync::Notify;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Claim {
    /// How many publish or pin it.
    Shared(usize),
    /// Somebody moves it away or deletes it.
    Alone,
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

    /// Claims `digest` for publishing or pinning, after a quarantine or a delete that is under way.
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
        match self.locked().entry(digest).or_insert(Claim::Shared(0)) {
            Claim::Shared(publishers) => *publishers += 1,
            Claim::Alone => return None,
        }
        Some(ClaimGuard { claims: Arc::clone(self), digest })
    }

    /// Claims `digest` for deleting, after everybody who publishes or pins it now.
    pub(crate) async fn alone(self: &Arc<Self>, digest: Digest) -> ClaimGuard {
        loop {
            let mut released = pin!(self.released.notified());
            released.as_mut().enable();
            if let Some(guard) = self.try_quarantine(digest) {
                return guard;
            }
            released.await;
        }
    }

    /// Claims `digest` for quarantine; `None` when somebody else changes it now.
    pub(crate) fn try_quarantine(self: &Arc<Self>, digest: Digest) -> Option<ClaimGuard> {
        let mut held = self.locked();
        if held.contains_key(&digest) {
            return None;
        }
        held.insert(digest, Claim::Alone);
        drop(held);
        Some(ClaimGuard { claims: Arc::clone(self), digest })
    }
}

impl Drop for ClaimGuard {
    fn drop(&mut self) {
        let mut held = self.claims.locked();
        match held.get_mut(&self.digest) {
            Some(Claim::Shared(publishers)) if *publishers > 1 => *publishers -= 1,
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

    #[tokio::test]
    async fn a_delete_waits_for_its_turn() {
        let claims = Arc::new(Claims::default());
        let digest = Digest::of(Algorithm::Sha256, b"x");
        let pins = (claims.publish(digest).await, claims.publish(digest).await);
        let other = Arc::clone(&claims);
        let waiting = tokio::spawn(async move { other.alone(digest).await });
        tokio::task::yield_now().await;
        drop(pins.0);
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(pins.1);
        let alone = waiting.await.unwrap();
        assert!(claims.try_publish(digest).is_none());
        drop(alone);
        assert!(claims.try_publish(digest).is_some());
    }
}
