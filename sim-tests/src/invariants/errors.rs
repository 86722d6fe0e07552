//! An ERROR says that someone must look: one that no fault explains is a bug, or a wrong level.

use crate::events;

/// Looks at the ERRORs since the last call.
///
/// A peer that does not answer is none of them: Raft asks it again, and a node that lost touch says
/// 503.
///
/// # Errors
/// The first one that nothing excuses.
pub fn expect_none(is_excused: impl Fn(&str) -> bool) -> Result<(), String> {
    let is_outage = |line: &str| line.contains(" openraft::") || line.contains(" status=503 ");
    let errors = events::take_errors();
    match errors.into_iter().find(|line| !is_outage(line) && !is_excused(line)) {
        Some(line) => Err(format!("ERROR event that no fault explains: {line}")),
        None => Ok(()),
    }
}
