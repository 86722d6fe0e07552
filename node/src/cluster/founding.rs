//! The first znodes of a cluster, written by its first node.

use atoll_core::view::{Intent, Member, MemberRecord, MemberState, NodeId, RingMode, View};

use super::znodes;
use crate::coordination::{CoordinationError, CreateMode, Op, Refusal, Session};

/// Identities of each node in a ring laid out as in the paper.
const PAPER_IDENTITIES: u16 = 50;

/// What the founder decides for the life of the cluster, and what it is itself.
#[derive(Clone, Debug)]
pub struct Founding {
    /// The cluster's id.
    pub cluster_id: String,
    /// Copies of every blob.
    pub replicas: u8,
    /// Points of an assigned ring; `None` for the ring of the paper.
    pub points: Option<u32>,
    /// The founder.
    pub record: MemberRecord,
}

impl Founding {
    /// The view of a cluster of one.
    pub fn first_view(&self, node: NodeId) -> View {
        let mode = match self.points {
            Some(points) => RingMode::Assigned { points },
            None => RingMode::Paper { identities: PAPER_IDENTITIES },
        };
        let member = Member {
            name: self.record.name.clone(),
            incarnation: 0,
            http: self.record.http.clone(),
            grpc: self.record.grpc.clone(),
            zone: self.record.zone.clone(),
            weight: self.record.weight,
            state: MemberState::Up,
        };
        View::first(self.cluster_id.clone(), self.replicas, mode, node, member)
    }

    /// Writes the first znodes, all at once, unless they are there.
    ///
    /// # Errors
    /// The session.
    pub async fn write(
        &self,
        session: &dyn Session,
        node: NodeId,
    ) -> Result<(), CoordinationError> {
        session.sync(znodes::ROOT).await?;
        if session.exists(znodes::VIEW).await?.is_some() {
            return Ok(());
        }
        let failed = |error: znodes::BadData| CoordinationError::Failed(error.to_string());
        let create = |path: String, data| Op::Create { path, data, mode: CreateMode::PERSISTENT };
        let mut ops: Vec<Op> =
            znodes::FOLDERS.iter().map(|path| create((*path).to_owned(), Vec::new())).collect();
        let record = MemberRecord { intent: Intent::In, ..self.record.clone() };
        ops.push(create(
            znodes::of(znodes::MEMBERS, node),
            znodes::encode(&record).map_err(failed)?,
        ));
        let next = znodes::encode(&(node.0 + 1)).map_err(failed)?;
        ops.push(create(znodes::NEXT_NODE.to_owned(), next));
        ops.push(create(znodes::VIEW.to_owned(), self.first_view(node).encode()));
        match session.multi(ops).await {
            // An earlier try arrived after all.
            Err(error) if matches!(error.refusal(), Some(Refusal::NodeExists(_))) => Ok(()),
            other => {
                other?;
                tracing::info!(
                    cluster = self.cluster_id, %node, replicas = self.replicas, "cluster founded"
                );
                Ok(())
            }
        }
    }
}
