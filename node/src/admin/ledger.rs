//! The ledger in group 0's tree.
//!
//! Members' records and the reports of synchronised nodes are written by others; this module reads
//! them, replaces intents by compare-and-set, and keeps the staged plan.

use std::collections::BTreeMap;

use atoll_core::view::NodeId;
use futures_util::future::BoxFuture;
use serde::de::DeserializeOwned;

use super::{
    AdminError,
    pieces::{Ledger, Page, Staged, Write},
};
use crate::{
    cluster::{SessionSlot, znodes},
    coordination::{CoordinationError, CreateMode, Op, Refusal, Session},
};

/// Where a staged plan lies.
const PLAN: &str = "/atoll/plan";

/// A plan that is empty of meaning, for checking that there is none: see [`Write::NothingStaged`].
const NO_PLAN: &[u8] = &[];

/// The ledger behind this node's session.
#[derive(Clone, Debug)]
pub struct TreeLedger {
    session: SessionSlot,
}

impl TreeLedger {
    /// The ledger that `session` reads and writes.
    pub fn new(session: SessionSlot) -> TreeLedger {
        TreeLedger { session }
    }
}

impl Ledger for TreeLedger {
    fn read(&self, fresh: bool) -> BoxFuture<'_, Result<Page, AdminError>> {
        Box::pin(async move {
            let session = self.session.get().ok_or_else(no_session)?;
            if fresh {
                session.sync(znodes::ROOT).await.map_err(unreachable)?;
            }
            page(session.as_ref()).await
        })
    }

    fn write(&self, writes: Vec<Write>) -> BoxFuture<'_, Result<(), AdminError>> {
        Box::pin(async move {
            let session = self.session.get().ok_or_else(no_session)?;
            let mut ops = Vec::new();
            for write in writes {
                push(&mut ops, write)?;
            }
            match session.multi(ops).await {
                Ok(_) => Ok(()),
                Err(CoordinationError::Refused { refusal, .. }) => Err(refused(&refusal)),
                Err(error) => Err(unreachable(error)),
            }
        })
    }
}

async fn page(session: &dyn Session) -> Result<Page, AdminError> {
    let mut members = BTreeMap::new();
    for node in nodes(session, znodes::MEMBERS).await? {
        if let Some(found) = value(session, &znodes::of(znodes::MEMBERS, node)).await? {
            members.insert(node, found);
        }
    }
    let mut synced = BTreeMap::new();
    for node in nodes(session, znodes::SYNCED).await? {
        if let Some((epoch, _)) = value(session, &znodes::of(znodes::SYNCED, node)).await? {
            synced.insert(node, epoch);
        }
    }
    let plan = value::<Staged>(session, PLAN).await?;
    Ok(Page { members, synced, plan })
}

async fn nodes(session: &dyn Session, folder: &str) -> Result<Vec<NodeId>, AdminError> {
    match session.children(folder).await {
        Ok((names, _)) => Ok(names.iter().filter_map(|name| znodes::node(name)).collect()),
        Err(error) if is_missing(&error) => Ok(Vec::new()),
        Err(error) => Err(unreachable(error)),
    }
}

/// The value of a znode and its version, if it exists.
async fn value<T: DeserializeOwned>(
    session: &dyn Session,
    path: &str,
) -> Result<Option<(T, i32)>, AdminError> {
    match session.get(path).await {
        Ok((data, stat)) => {
            let decoded = znodes::decode(&data);
            let value = decoded.map_err(|error| AdminError::Failed(format!("{path}: {error}")))?;
            Ok(Some((value, stat.version)))
        }
        Err(error) if is_missing(&error) => Ok(None),
        Err(error) => Err(unreachable(error)),
    }
}

fn push(ops: &mut Vec<Op>, write: Write) -> Result<(), AdminError> {
    let create = |data| Op::Create { path: PLAN.to_owned(), data, mode: CreateMode::PERSISTENT };
    match write {
        Write::Member(node, record, version) => {
            let path = znodes::of(znodes::MEMBERS, node);
            ops.push(Op::Set { path, data: encode(&record)?, version: Some(version) });
        }
        Write::Stage(plan) => ops.push(create(encode(&plan)?)),
        Write::Unstage(version) => {
            ops.push(Op::Delete { path: PLAN.to_owned(), version: Some(version) });
        }
        // The tree has no "must not exist": within one `multi`, created and deleted is the same.
        Write::NothingStaged => {
            ops.push(create(NO_PLAN.to_vec()));
            ops.push(Op::Delete { path: PLAN.to_owned(), version: None });
        }
    }
    Ok(())
}

fn encode<T: serde::Serialize>(value: &T) -> Result<Vec<u8>, AdminError> {
    znodes::encode(value).map_err(|error| AdminError::Failed(error.to_string()))
}

fn no_session() -> AdminError {
    AdminError::NoCoordination("this node has no session".to_owned())
}

fn unreachable(error: CoordinationError) -> AdminError {
    AdminError::NoCoordination(error.to_string())
}

fn is_missing(error: &CoordinationError) -> bool {
    matches!(error.refusal(), Some(Refusal::NoNode(_)))
}

/// A version that moved on, a plan that appeared: somebody else was quicker.
fn refused(refusal: &Refusal) -> AdminError {
    match refusal {
        Refusal::BadVersion { .. } | Refusal::NodeExists(_) | Refusal::NoNode(_) => {
            AdminError::Conflict
        }
        refusal => AdminError::Failed(refusal.to_string()),
    }
}
