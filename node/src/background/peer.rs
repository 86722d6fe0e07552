//! Calls to the repair service of another node.

use std::time::Duration;

use atoll_core::{
    Digest,
    digest::InvalidDigest,
    repair::{Cell, Cells, sums::Sum},
    view::{Epoch, NodeId},
};
use atoll_proto::repair::v1::{CompareRequest, ListRequest, repair_client::RepairClient};
use tonic::Status;

use super::holdings::{Copy, Page};
use crate::{cluster::Cluster, wire::Channel};

/// Cells in one question: each is some 25 bytes.
pub const CELLS_PER_CALL_MAX: usize = 8_192;

/// Largest message of the service: a page of copies.
pub const MESSAGE_BYTES_MAX: usize = 4 << 20;

/// How long a question may take. A node that must first take a newer view and let writes end takes
/// a moment.
const ASK_TIMEOUT: Duration = Duration::from_secs(20);

/// How a peer's copies differ from ours.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compared {
    /// The cells in which it holds something else.
    pub differing: Vec<Cell>,
    /// Blobs in all these cells of which it has only a bad copy.
    pub damaged: Vec<Digest>,
}

/// The repair service of one peer, asked on behalf of one view.
#[derive(Clone, Debug)]
pub struct Peer {
    cluster: Cluster,
    node: NodeId,
    epoch: Epoch,
    cells: Cells,
}

impl Peer {
    /// The peer `node`; answers count only when it looked under `epoch` or later.
    pub fn new(cluster: Cluster, node: NodeId, epoch: Epoch, cells: Cells) -> Peer {
        Peer { cluster, node, epoch, cells }
    }

    fn client(&self) -> Result<RepairClient<Channel>, Status> {
        Ok(RepairClient::new(self.cluster.channel(self.node)?)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX))
    }

    /// How what it holds in these cells differs from the sums.
    ///
    /// # Errors
    /// Those of the call; `ABORTED` when it looked under an older view, `INTERNAL` for a digest that is
    /// none.
    pub async fn compare(&self, cells: &[Cell], sums: &[Sum]) -> Result<Compared, Status> {
        let request = CompareRequest {
            envelope: Some(self.cluster.envelope()),
            bits: self.cells.bits(),
            cells: cells.iter().map(|cell| cell.0).collect(),
            counts: sums.iter().map(|sum| sum.count).collect(),
            marks: sums.iter().flat_map(|sum| sum.mark.to_be_bytes()).collect::<Vec<u8>>().into(),
        };
        let mut client = self.client()?;
        let reply = within(client.compare(request)).await?.into_inner();
        self.looked_under(reply.epoch)?;
        let damaged = reply.damaged.iter().map(|text| digest(text)).collect::<Result<_, _>>()?;
        Ok(Compared { differing: reply.differing.into_iter().map(Cell).collect(), damaged })
    }

    /// A page of what it holds in these cells, behind `after`.
    ///
    /// # Errors
    /// As [`Self::compare`], and `INTERNAL` for a digest that is none.
    pub async fn list(&self, cells: &[Cell], after: Option<Digest>) -> Result<Page, Status> {
        let request = ListRequest {
            envelope: Some(self.cluster.envelope()),
            bits: self.cells.bits(),
            cells: cells.iter().map(|cell| cell.0).collect(),
            after: after.map(|digest| digest.to_string()).unwrap_or_default(),
        };
        let mut client = self.client()?;
        let reply = within(client.list(request)).await?.into_inner();
        self.looked_under(reply.epoch)?;
        let mut page = Page { copies: Vec::with_capacity(reply.copies.len()), more: reply.more };
        for copy in reply.copies {
            page.copies.push(Copy { digest: digest(&copy.digest)?, size: copy.size });
        }
        Ok(page)
    }

    fn looked_under(&self, epoch: u64) -> Result<(), Status> {
        if Epoch(epoch) >= self.epoch {
            return Ok(());
        }
        let (node, asked) = (self.node, self.epoch);
        Err(Status::aborted(format!("node {node} looked under epoch {epoch}, not yet {asked}")))
    }
}

fn digest(text: &str) -> Result<Digest, Status> {
    text.parse().map_err(|error: InvalidDigest| Status::internal(error.to_string()))
}

async fn within<T>(call: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
    let late = || Status::deadline_exceeded(format!("no answer within {ASK_TIMEOUT:?}"));
    tokio::time::timeout(ASK_TIMEOUT, call).await.unwrap_or_else(|_| Err(late()))
}
