//! Questions to the tree, all of them pure reads.

use super::{
    command::SessionId,
    keys,
    path::Path,
    record::{SessionRecord, ZnodeRecord},
    stat::Stat,
};
use crate::metadata::{
    kv::KvRead,
    query::QueryError,
    record::{CorruptReason, CorruptRecord, Record},
};

/// Something of a znode with its status; none when there is no such znode.
type Found<T, E> = Result<Option<(T, Stat)>, QueryError<E>>;

/// The data and status of a znode, if it exists.
pub fn get<K: KvRead + ?Sized>(kv: &K, path: Path<'_>) -> Found<Vec<u8>, K::Error> {
    let found = znode(kv, path)?;
    Ok(found.map(|znode| {
        let stat = znode.stat();
        (znode.data, stat)
    }))
}

/// The status of a znode, if it exists.
pub fn stat<K: KvRead + ?Sized>(
    kv: &K,
    path: Path<'_>,
) -> Result<Option<Stat>, QueryError<K::Error>> {
    Ok(znode(kv, path)?.map(|znode| znode.stat()))
}

/// The names of a znode's children in the order of their bytes, and its status, if it exists.
pub fn children<K: KvRead + ?Sized>(kv: &K, path: Path<'_>) -> Found<Vec<String>, K::Error> {
    let Some(stat) = stat(kv, path)? else { return Ok(None) };
    let names = tails(kv, &keys::children_of(path), |tail, _| text(tail, "child"))?;
    Ok(Some((names, stat)))
}

/// A session, if it lives.
pub fn session<K: KvRead + ?Sized>(
    kv: &K,
    session: SessionId,
) -> Result<Option<SessionRecord>, QueryError<K::Error>> {
    read(kv, &keys::session(session))
}

/// All sessions that live.
pub fn sessions<K: KvRead + ?Sized>(
    kv: &K,
) -> Result<Vec<(SessionId, SessionRecord)>, QueryError<K::Error>> {
    tails(kv, &keys::sessions(), |tail, value| {
        let id = keys::session_id(tail).ok_or_else(|| corrupt_key(SessionRecord::KIND))?;
        Ok((id, SessionRecord::decode(value)?))
    })
}

/// The paths of the znodes that end with a session.
pub fn ephemerals<K: KvRead + ?Sized>(
    kv: &K,
    session: SessionId,
) -> Result<Vec<String>, QueryError<K::Error>> {
    tails(kv, &keys::ephemerals_of(session), |tail, _| text(tail, "ephemeral"))
}

/// A znode, if it exists. The root always does.
pub(super) fn znode<K: KvRead + ?Sized>(
    kv: &K,
    path: Path<'_>,
) -> Result<Option<ZnodeRecord>, QueryError<K::Error>> {
    let found = read(kv, &keys::znode(path))?;
    Ok(found.or_else(|| (path == Path::ROOT).then(ZnodeRecord::default)))
}

fn read<K: KvRead + ?Sized, R: Record>(
    kv: &K,
    key: &[u8],
) -> Result<Option<R>, QueryError<K::Error>> {
    let value = kv.get(key).map_err(QueryError::Kv)?;
    Ok(value.map(|bytes| R::decode(&bytes)).transpose()?)
}

/// What `make` makes of the end of each key under `prefix`, and of its value.
fn tails<T, K: KvRead + ?Sized>(
    kv: &K,
    prefix: &[u8],
    make: impl Fn(&[u8], &[u8]) -> Result<T, CorruptRecord>,
) -> Result<Vec<T>, QueryError<K::Error>> {
    let mut found = Ok(Vec::new());
    let end = crate::metadata::keys::prefix_end(prefix);
    kv.scan(std::ops::Bound::Included(prefix), end.as_deref(), &mut |key, value| {
        match (make(&key[prefix.len()..], value), &mut found) {
            (Ok(made), Ok(all)) => all.push(made),
            (Err(error), _) => found = Err(error),
            (_, Err(_)) => {}
        }
        found.is_ok()
    })
    .map_err(QueryError::Kv)?;
    Ok(found?)
}

fn text(bytes: &[u8], kind: &'static str) -> Result<String, CorruptRecord> {
    String::from_utf8(bytes.to_vec()).map_err(|_| corrupt_key(kind))
}

fn corrupt_key(kind: &'static str) -> CorruptRecord {
    CorruptRecord { kind, reason: CorruptReason::Key }
}
