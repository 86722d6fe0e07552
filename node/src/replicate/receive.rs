//! Receiving a copy and passing it on along its chain: one hop.
//!
//! The hop decides before the first byte whether the copy belongs here: it is an acting owner in its
//! own view, or is named as the stand-in of one. It forwards to the rest of the chain it was given
//! and never to anybody else, so copies cannot multiply. What is behind it may fail without it: its
//! own copy is acknowledged all the same, and the sender hears who was not reached.

use atoll_core::{
    Digest,
    gc::GcEpoch,
    view::{Epoch, NodeId, View},
};
use atoll_proto::blobs::v1::{PutAck, PutHead, PutOutcome, PutPart, PutReply, put_part};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use tonic::{Code, Status};
use tracing::debug;

use super::{
    Replicator,
    commit::VIEW_TIMEOUT,
    outgoing::{Ack, Acks, Order, Outgoing},
};
use crate::{
    io::{Sometimes, plant::Plant},
    store::{CommitError, UploadError},
    wire::envelope::stale_view,
};

/// Hops of a chain at most: as many as a blob can have copies.
const HOPS_MAX: usize = 16;

/// Metadata key of a refusal: who owns the blob, by this node's view.
const OWNERS: &str = "atoll-owners";

/// A copy as its head announces it.
struct Announced {
    digest: Digest,
    size: Option<u64>,
    owners: Vec<NodeId>,
    chain: Vec<NodeId>,
    hint_for: Option<NodeId>,
    stamp: u64,
}

impl Announced {
    fn read(head: &PutHead) -> Result<Announced, Status> {
        let digest = head.digest.parse();
        let digest = digest.map_err(|error| Status::invalid_argument(format!("{error}")))?;
        if head.chain.len() > HOPS_MAX || head.owners.len() > HOPS_MAX {
            return Err(Status::invalid_argument("a chain that is too long"));
        }
        let chain = nodes(&head.chain)?;
        let owners = nodes(&head.owners)?;
        let hint_for = match head.hint_for {
            0 => None,
            number => Some(node(number)?),
        };
        Ok(Announced { digest, size: head.size, owners, chain, hint_for, stamp: head.stamp })
    }
}

fn node(number: u32) -> Result<NodeId, Status> {
    let number = u16::try_from(number);
    number.map(NodeId).map_err(|_| Status::invalid_argument("a node number that is none"))
}

fn nodes(numbers: &[u32]) -> Result<Vec<NodeId>, Status> {
    numbers.iter().map(|number| node(*number)).collect()
}

/// Why a copy does not belong here.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Misplaced {
    /// The sender's view is older, and this one has other owners.
    Stale(Epoch),
    /// The sender's view is the same, or has the same owners, and this node is none.
    NotMine,
}

/// May node `me` take this copy? `owners` are the acting ones in the sender's view.
fn check_place(view: &View, me: NodeId, sent_in: Epoch, copy: &Announced) -> Result<(), Misplaced> {
    if Plant::AcceptStaleEpoch.is_planted() {
        return Ok(());
    }
    let acting = view.acting(&copy.digest);
    if sent_in < view.epoch && !same_nodes(&acting, &copy.owners) {
        return Err(Misplaced::Stale(view.epoch));
    }
    let placement = view.placement(&copy.digest);
    let belongs = |node: &NodeId| acting.contains(node) || placement.contains(node);
    match copy.hint_for {
        Some(owner) if owner != me && belongs(&owner) => Ok(()),
        _ if belongs(&me) => Ok(()),
        _ => Err(Misplaced::NotMine),
    }
}

fn same_nodes(some: &[NodeId], others: &[NodeId]) -> bool {
    some.len() == others.len() && some.iter().all(|node| others.contains(node))
}

/// Has the blob the same acting owners in both views?
pub(super) fn same_owners(old: &View, new: &View, digest: &Digest) -> bool {
    old.epoch == new.epoch || same_nodes(&old.acting(digest), &new.acting(digest))
}

impl Replicator {
    /// Receives a copy and forwards it along its chain.
    ///
    /// # Errors
    /// It does not belong here, or this node's own copy failed. Nothing of it stays here then.
    pub async fn receive<S>(&self, mut parts: S) -> Result<PutReply, Status>
    where
        S: Stream<Item = Result<PutPart, Status>> + Send + Unpin,
    {
        let head = match parts.next().await.transpose()?.and_then(|first| first.part) {
            Some(put_part::Part::Head(head)) => head,
            _ => return Err(Status::invalid_argument("the first part must be the head")),
        };
        let copy = Announced::read(&head)?;
        let view = self.view_for(&head, &copy).await?;
        let store = self.tiers().store();
        let mut incoming =
            store.receive(copy.digest.algorithm()).await.map_err(|error| refused(&error))?;
        let mut onward = self.begin_onward(&view, &copy);
        let mut received = 0_u64;
        let mut small: Option<Bytes> = None;
        loop {
            match parts.next().await.transpose()?.and_then(|part| part.part) {
                Some(put_part::Part::Data(data)) => {
                    if let Some(onward) = &mut onward {
                        onward.data(data.clone()).await;
                    }
                    small = (received == 0).then(|| data.clone());
                    received += data.len() as u64;
                    incoming.write(data).await.map_err(|error| refused(&error))?;
                }
                Some(put_part::Part::End(_)) => break,
                Some(put_part::Part::Head(_)) => {
                    return Err(Status::invalid_argument("a second head"));
                }
                None => return Err(Status::aborted("the copy broke off")),
            }
        }
        if copy.size.is_some_and(|size| size != received) {
            return Err(Status::invalid_argument("not as many bytes as announced"));
        }
        let witnessed = self.stamps().witness(GcEpoch(copy.stamp)).await;
        witnessed.map_err(|error| Status::internal(error.to_string()))?;
        // From here on a scan for copies waits for this one; what was scanned already is refused.
        let publishing = self.cluster().begin_publish();
        if !same_owners(&view, publishing.view(), &copy.digest)
            && !Plant::AcceptStaleEpoch.is_planted()
        {
            return Err(stale_view(publishing.view().epoch));
        }
        let own =
            async { incoming.commit(&copy.digest).await.map_err(|error| not_published(&error)) };
        let others = async {
            match onward {
                Some(onward) => onward.finish().await,
                None => Acks::new(),
            }
        };
        let own = async {
            let published = own.await;
            drop(publishing);
            published
        };
        let (own, others) = futures_util::future::join(own, others).await;
        own?;
        self.after_copy(&copy, small).await?;
        self.counters().copies_received.add(1);
        let acks = std::iter::once((self.cluster().me(), Ack::Durable)).chain(others);
        Ok(PutReply { acks: acks.map(|(node, ack)| told(node, ack)).collect() })
    }

    /// The view in which the copy belongs here.
    async fn view_for(
        &self,
        head: &PutHead,
        copy: &Announced,
    ) -> Result<std::sync::Arc<View>, Status> {
        let mut view = self.cluster().admit_any_epoch(head.envelope.as_ref())?;
        let sent_in = Epoch(head.envelope.as_ref().map_or(0, |envelope| envelope.epoch));
        if sent_in > view.epoch {
            let newer = self.cluster().at_least(sent_in, VIEW_TIMEOUT).await;
            let late = || Status::unavailable(format!("view {sent_in} has not arrived here"));
            view = newer.ok_or_else(late)?;
        }
        if !self.cluster().is_seated() {
            return Err(Status::unavailable("no view knows of this start of the node yet"));
        }
        let me = self.cluster().me();
        if copy.chain.contains(&me) {
            return Err(Status::invalid_argument("a chain that comes back"));
        }
        let Err(misplaced) = check_place(&view, me, sent_in, copy) else { return Ok(view) };
        self.counters().copies_refused.add(1);
        let owners = view.acting(&copy.digest);
        let owners: Vec<String> = owners.iter().map(ToString::to_string).collect();
        let owners = owners.join(",");
        debug!(digest = %copy.digest, owners, "a copy that belongs elsewhere");
        let mut status = match misplaced {
            Misplaced::Stale(epoch) => {
                Sometimes::StaleViewRefused.reached();
                stale_view(epoch)
            }
            Misplaced::NotMine => {
                let message = format!("node {me} is no owner of the blob; nodes {owners} are");
                Status::failed_precondition(message)
            }
        };
        if let Ok(value) = owners.parse() {
            status.metadata_mut().insert(OWNERS, value);
        }
        Err(status)
    }

    fn begin_onward(&self, view: &View, copy: &Announced) -> Option<Outgoing> {
        if copy.chain.is_empty() {
            return None;
        }
        let (chain, stamp) = (copy.chain.clone(), GcEpoch(copy.stamp));
        let order = Order::new(view, &copy.digest, copy.size, chain, stamp);
        Some(Outgoing::begin(self.cluster(), &order))
    }

    /// What a copy that is here still needs before it is acknowledged.
    async fn after_copy(&self, copy: &Announced, small: Option<Bytes>) -> Result<(), Status> {
        if let Some(owner) = copy.hint_for {
            let noted = self.note_hint(owner, &copy.digest).await;
            noted.map_err(|error| Status::unavailable(error.to_string()))?;
        }
        if let Some(bytes) = small {
            self.tiers().insert(&copy.digest, bytes).await;
        }
        Ok(())
    }
}

fn refused(error: &UploadError) -> Status {
    let code = match error {
        UploadError::NoSpace(_) | UploadError::TooManySessions(_) => Code::ResourceExhausted,
        UploadError::BudgetExhausted(_) | UploadError::TooLarge(_) => Code::ResourceExhausted,
        UploadError::Unknown(_) | UploadError::Busy(_) | UploadError::Cancelled(_) => Code::Aborted,
        UploadError::OutOfOrder(_) | UploadError::Io(_) => Code::Internal,
    };
    Status::new(code, error.to_string())
}

fn not_published(error: &CommitError) -> Status {
    let code = match error {
        CommitError::DigestMismatch(_) => Code::InvalidArgument,
        CommitError::NoSpace(_) | CommitError::TooLarge(_) => Code::ResourceExhausted,
        CommitError::Unknown(_) => Code::Aborted,
        CommitError::Io(_) => Code::Internal,
    };
    Status::new(code, error.to_string())
}

fn told(node: NodeId, ack: Ack) -> PutAck {
    let (outcome, reason, epoch) = match ack {
        Ack::Durable => (PutOutcome::Durable, String::new(), 0),
        Ack::Failed(reason) => (PutOutcome::Failed, reason, 0),
        Ack::NotTried => (PutOutcome::NotTried, String::new(), 0),
        Ack::Stale(epoch) => (PutOutcome::StaleView, String::new(), epoch.0),
    };
    PutAck { node: u32::from(node.0), outcome: outcome.into(), reason, epoch }
}
