//! Fetching a newer view from whoever has it.
//!
//! A node hears of a higher epoch in any message. It then asks the sender for the view, one question
//! at a time however many messages tell of it: what the present question brings is as new as what
//! the next would.

use std::{sync::atomic::Ordering, time::Duration};

use atoll_core::view::{Epoch, NodeId, View};
use atoll_proto::cluster::v1::{PullViewRequest, views_client::ViewsClient};
use tonic::Status;

use super::Cluster;
use crate::io::Sometimes;

/// How long the answer may take. A view is well under a megabyte.
const PULL_TIMEOUT: Duration = Duration::from_secs(2);

/// Largest answer: a view with its open configurations.
pub const VIEW_BYTES_MAX: usize = 16 << 20;

impl Cluster {
    /// Notes that `node` holds a view of `epoch`; fetches it in the background if it is newer than
    /// this node's.
    pub fn heard_of(&self, epoch: Epoch, node: NodeId) {
        if node == NodeId(0) || node == self.me() || epoch <= self.view().epoch {
            return;
        }
        if self.inner.pulling.swap(true, Ordering::AcqRel) {
            return;
        }
        let cluster = self.clone();
        tokio::spawn(async move {
            let pulled = cluster.pull_view(node).await;
            cluster.inner.pulling.store(false, Ordering::Release);
            if let Err(status) = pulled {
                tracing::debug!(%node, %epoch, error = status.message(), "view not fetched");
            }
        });
    }

    /// Fetches the view of `node` and adopts it if it is newer; answers the epoch this node is at
    /// then.
    ///
    /// # Errors
    /// The node does not answer, or not with a view of this cluster.
    pub async fn pull_view(&self, node: NodeId) -> Result<Epoch, Status> {
        let mut client =
            ViewsClient::new(self.channel(node)?).max_decoding_message_size(VIEW_BYTES_MAX);
        let request = PullViewRequest { envelope: Some(self.envelope()) };
        let answer = tokio::time::timeout(PULL_TIMEOUT, client.pull_view(request)).await;
        let answer = answer.map_err(|_| Status::deadline_exceeded("no view in time"))??;
        let bytes = answer.into_inner().view;
        if !bytes.is_empty() {
            let view = View::decode(&bytes)
                .map_err(|error| Status::data_loss(format!("a view that is none: {error}")))?;
            if view.cluster_id != self.view().cluster_id {
                return Err(Status::failed_precondition("a view of another cluster"));
            }
            if self.adopt(view) {
                Sometimes::ViewPulled.reached();
            }
        }
        Ok(self.view().epoch)
    }
}
