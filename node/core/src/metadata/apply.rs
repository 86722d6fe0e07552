//! The one place where metadata changes.

use super::{
    command::{Outcome, Request},
    kv::Kv,
    query::QueryError,
};

/// A command that could not be carried out: it fails exactly as a read does.
pub type ApplyError<E> = QueryError<E>;

/// Applies one request at log position `index` (also the version of every tag it sets).
pub fn apply<K: Kv>(
    kv: &mut K,
    index: u64,
    request: &Request,
) -> Result<Outcome, ApplyError<K::Error>> {
    let _ = (kv, index, request);
    Ok(Outcome::Done)
}
