//! What joins leave in the tree and nobody needs any more.
//!
//! A token that has ended is kept for a day, so that whoever still uses it hears that it has ended. The
//! record of a join answers the newcomer that asks again because the first answer was lost; once the
//! newcomer is up in a view it has its answer.

use std::time::{Duration, SystemTime};

use atoll_core::view::{NodeId, View};

use crate::{
    cluster::{token, znodes},
    coordination::{CoordinationError, Refusal, Session},
};

/// How often the keeper looks.
pub const INTERVAL: Duration = Duration::from_secs(600);

/// How long a token is kept after its end.
const ENDED_KEPT: Duration = Duration::from_secs(24 * 3600);

/// Removes what is over; answers how many znodes.
///
/// # Errors
/// The session.
pub async fn tidy(
    session: &dyn Session,
    view: &View,
    now: SystemTime,
) -> Result<usize, CoordinationError> {
    let mut removed = token::sweep(session, now.checked_sub(ENDED_KEPT).unwrap_or(now)).await?;
    let names = match session.children(znodes::JOINS).await {
        Ok((names, _)) => names,
        Err(error) if is_gone(&error) => return Ok(removed),
        Err(error) => return Err(error),
    };
    for name in names {
        let path = format!("{}/{name}", znodes::JOINS);
        let joined: Option<NodeId> = match session.get(&path).await {
            Ok((data, _)) => znodes::decode(&data).ok(),
            Err(error) if is_gone(&error) => None,
            Err(error) => return Err(error),
        };
        if joined.is_some_and(|node| view.is_up(node)) {
            match session.delete(&path, None).await {
                Err(error) if !is_gone(&error) => return Err(error),
                _ => removed += 1,
            }
        }
    }
    Ok(removed)
}

fn is_gone(error: &CoordinationError) -> bool {
    matches!(error.refusal(), Some(Refusal::NoNode(_)))
}
