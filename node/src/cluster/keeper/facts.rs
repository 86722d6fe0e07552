//! The facts in the tree from which the next view follows.

use std::collections::{BTreeMap, BTreeSet};

use atoll_core::view::{Epoch, Facts, MemberRecord, NodeId, View};
use serde::de::DeserializeOwned;

use crate::{
    cluster::znodes,
    coordination::{CoordinationError, Refusal, Session},
};

/// Reads every fact but who has been down for too long.
///
/// # Errors
/// The session.
pub async fn read(session: &dyn Session) -> Result<Facts, CoordinationError> {
    let synced: BTreeMap<NodeId, Epoch> = folder(session, znodes::SYNCED).await?;
    Ok(Facts {
        members: members(session).await?,
        registered: folder(session, znodes::REGISTRIES).await?,
        synced,
        down_too_long: BTreeSet::new(),
    })
}

/// What is written down about every member.
///
/// # Errors
/// The session.
pub async fn members(
    session: &dyn Session,
) -> Result<BTreeMap<NodeId, MemberRecord>, CoordinationError> {
    folder(session, znodes::MEMBERS).await
}

/// The newest view with the version of its znode; `None` before the founding.
///
/// # Errors
/// The session, or a view that does not decode.
pub async fn view(session: &dyn Session) -> Result<Option<(View, i32)>, CoordinationError> {
    match session.get(znodes::VIEW).await {
        Ok((data, stat)) => {
            let view = View::decode(&data)
                .map_err(|error| CoordinationError::Failed(format!("the view: {error}")))?;
            Ok(Some((view, stat.version)))
        }
        Err(error) if matches!(error.refusal(), Some(Refusal::NoNode(_))) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The values below a folder, by node. What is no node, does not decode or went away meanwhile is
/// passed over: one bad znode must not stop the cluster.
async fn folder<T: DeserializeOwned>(
    session: &dyn Session,
    path: &str,
) -> Result<BTreeMap<NodeId, T>, CoordinationError> {
    let (names, _) = match session.children(path).await {
        Err(error) if matches!(error.refusal(), Some(Refusal::NoNode(_))) => {
            return Ok(BTreeMap::new());
        }
        listed => listed?,
    };
    let mut values = BTreeMap::new();
    for name in names {
        let Some(node) = znodes::node(&name) else { continue };
        let data = match session.get(&znodes::of(path, node)).await {
            Ok((data, _)) => data,
            Err(error) if matches!(error.refusal(), Some(Refusal::NoNode(_))) => continue,
            Err(error) => return Err(error),
        };
        match znodes::decode(&data) {
            Ok(value) => _ = values.insert(node, value),
            Err(error) => tracing::error!(path, %node, %error, "a fact cannot be read"),
        }
    }
    Ok(values)
}
