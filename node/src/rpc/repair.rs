//! The answering side of repair: this node is scanned.

use std::{sync::Arc, time::Duration};

use atoll_core::{
    Digest,
    repair::{Cell, Cells, sums::Sum},
    view::{Epoch, View},
};
use atoll_proto::{
    repair::v1::{
        CompareReply, CompareRequest, Copy, ListReply, ListRequest,
        repair_server::{Repair, RepairServer},
    },
    wire::v1::Envelope,
};
use tonic::{Request, Response, Status};

use crate::{
    background::{
        holdings::{DAMAGED_MAX, Holdings, HoldingsError, PAGE_COPIES_MAX},
        peer::{CELLS_PER_CALL_MAX, MESSAGE_BYTES_MAX},
    },
    cluster::Cluster,
};

/// How long the caller's view may take to come here.
const VIEW_TIMEOUT: Duration = Duration::from_secs(5);

/// How long writes of older views may take to end.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(10);

/// Answers from this node's holdings.
#[derive(Clone, Debug)]
pub struct RepairService {
    cluster: Cluster,
    holdings: Arc<dyn Holdings>,
}

impl RepairService {
    /// The service, ready to be routed.
    pub fn server(cluster: Cluster, holdings: Arc<dyn Holdings>) -> RepairServer<Self> {
        RepairServer::new(Self { cluster, holdings })
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// Takes the caller's view, and waits until whatever was admitted under older ones is on the disk:
    /// from then on a scan sees all that was acknowledged before it.
    async fn settle(&self, envelope: Option<&Envelope>) -> Result<Arc<View>, Status> {
        self.cluster.admit(envelope)?;
        let wanted = Epoch(envelope.map_or(0, |envelope| envelope.epoch));
        let view = self.cluster.at_least(wanted, VIEW_TIMEOUT).await;
        let view = view.ok_or_else(|| Status::unavailable("the view has not come here yet"))?;
        let settled = self.cluster.settled(view.since);
        let settled = tokio::time::timeout(SETTLE_TIMEOUT, settled).await;
        settled.map_err(|_| Status::unavailable("writes of an older view are under way"))?;
        Ok(view)
    }
}

fn cells(bits: u32, cells: &[u32]) -> Result<(Cells, Vec<Cell>), Status> {
    let invalid = || Status::invalid_argument(format!("2^{bits} cells: 2^1 to 2^16 are allowed"));
    let count = 1_usize.checked_shl(bits).ok_or_else(invalid)?;
    let all = Cells::new(count).ok_or_else(invalid)?;
    if cells.len() > CELLS_PER_CALL_MAX || cells.iter().any(|cell| *cell as usize >= count) {
        let message = format!("at most {CELLS_PER_CALL_MAX} cells, numbered below {count}");
        return Err(Status::invalid_argument(message));
    }
    Ok((all, cells.iter().copied().map(Cell).collect()))
}

fn status(error: &HoldingsError) -> Status {
    match error {
        HoldingsError::Counting => Status::unavailable(error.to_string()),
        HoldingsError::Failed(_) => Status::internal(error.to_string()),
    }
}

#[tonic::async_trait]
impl Repair for RepairService {
    async fn compare(
        &self,
        request: Request<CompareRequest>,
    ) -> Result<Response<CompareReply>, Status> {
        let request = request.into_inner();
        let view = self.settle(request.envelope.as_ref()).await?;
        let (all, cells) = cells(request.bits, &request.cells)?;
        let theirs = sums(&request)?;
        let ours = self.holdings.sums(all, &cells).map_err(|error| status(&error))?;
        let pairs = cells.iter().zip(ours.iter().zip(&theirs));
        let differing = pairs.filter(|(_, (ours, theirs))| ours != theirs);
        let differing = differing.map(|(cell, _)| cell.0).collect();
        let damaged = self.holdings.damaged(all, &cells);
        if damaged.len() > DAMAGED_MAX {
            let message =
                format!("more than {DAMAGED_MAX} blobs are damaged here: ask another node");
            return Err(Status::resource_exhausted(message));
        }
        let damaged = damaged.iter().map(Digest::to_string).collect();
        Ok(Response::new(CompareReply { epoch: view.epoch.0, differing, damaged }))
    }

    async fn list(&self, request: Request<ListRequest>) -> Result<Response<ListReply>, Status> {
        let request = request.into_inner();
        let view = self.settle(request.envelope.as_ref()).await?;
        let (all, mut cells) = cells(request.bits, &request.cells)?;
        cells.sort();
        let after: Option<Digest> = match request.after.as_str() {
            "" => None,
            text => {
                Some(text.parse().map_err(|_| Status::invalid_argument("`after` is no digest"))?)
            }
        };
        let mut reply = ListReply { epoch: view.epoch.0, ..ListReply::default() };
        let from = after.map(|after| all.cell(&after));
        for cell in cells.into_iter().filter(|cell| from.is_none_or(|from| *cell >= from)) {
            let (first, last) = all.range(cell);
            let after = after.filter(|_| from == Some(cell));
            let page = self.holdings.page(first, last, after).await;
            let page = page.map_err(|error| status(&error))?;
            reply.copies.extend(
                page.copies
                    .into_iter()
                    .map(|copy| Copy { digest: copy.digest.to_string(), size: copy.size }),
            );
            // A page of a cell with more behind it ends the reply, so that the last digest says where
            // to go on.
            if page.more || reply.copies.len() >= PAGE_COPIES_MAX {
                reply.more = true;
                break;
            }
        }
        Ok(Response::new(reply))
    }
}

fn sums(request: &CompareRequest) -> Result<Vec<Sum>, Status> {
    let (marks, _) = request.marks.as_chunks::<16>();
    if request.counts.len() != request.cells.len()
        || request.marks.len() != request.cells.len() * 16
    {
        return Err(Status::invalid_argument("a count and 16 bytes of marks for each cell"));
    }
    let sums = request.counts.iter().zip(marks);
    Ok(sums.map(|(count, mark)| Sum { count: *count, mark: u128::from_be_bytes(*mark) }).collect())
}
