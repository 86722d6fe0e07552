//! What is deleted is gone at every node when the delete is acknowledged.
//!
//! Pulls by digest are answered from what a node has applied: presence cannot be wrong, as long as
//! nothing is ever removed. So a removal, which is rare, waits for every node that is up to have
//! applied it, and pulls, which are not, wait for nobody. A node that does not answer is cut off; its
//! lease has run out by the time that the wait ends, and what it tells from then on it tells as a node
//! that has lost touch.

use std::time::Duration;

use atoll_core::{RepoName, view::NodeId};
use futures_util::future::join_all;

use super::Registry;

/// Pause before a node that did not answer is asked again.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

impl Registry {
    /// Waits until every node that is up has applied what was acknowledged of `repo`.
    pub(super) async fn seen_everywhere(&self, repo: &RepoName) {
        if self.blobs.is_alone() {
            return;
        }
        let view = self.blobs.cluster().view();
        let up = view.members.iter().filter(|(_, member)| member.is_up()).map(|(node, _)| *node);
        let seen = join_all(up.map(|node| self.seen_at(repo, node)));
        if tokio::time::timeout(self.settings.removal_wait, seen).await.is_err() {
            tracing::info!(%repo, "a node that is cut off may not know of a delete yet");
        }
    }

    /// Waits until `node` has seen it, or is up no more.
    async fn seen_at(&self, repo: &RepoName, node: NodeId) {
        while self.blobs.cluster().view().is_up(node) {
            let wait = self.settings.removal_wait;
            if self.metadata.is_fresh_at(repo, u64::from(node.0), wait).await {
                return;
            }
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }
}
