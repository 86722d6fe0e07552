//! The one place where the tree changes.
//!
//! A change is first made to a [`Tree`] that stages what it writes, and reaches the rows only if all
//! of it is allowed: that is what makes `multi` atomic and a refusal free of traces. Everything
//! follows from the rows and the command alone, so every replica comes to the same rows and tells its
//! watchers the same events in the same order.

use super::{
    command::{
        Change, Command, CreateMode, Effects, Op, OpOutcome, Outcome, Refusal, SessionId, Verdict,
        bounded,
    },
    event::{Event, EventKind},
    keys,
    path::Path,
    query,
    record::{SessionRecord, ZnodeRecord},
    stat::Zxid,
};
use crate::metadata::{kv::Kv, query::QueryError, record::Record};

mod tree;

#[cfg(test)]
mod tests;

use tree::Tree;

/// Where in the log a command stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// Its index, which becomes its zxid.
    pub index: u64,
    /// The term of the leader that proposed it.
    pub term: u64,
}

/// Applies one command; what it did beside its outcome is added to `effects`.
///
/// Positions must grow from call to call, gaps are fine. After an error the transaction must be
/// dropped.
pub fn apply<K: Kv>(
    kv: &mut K,
    position: Position,
    command: &Command,
    effects: &mut Effects,
) -> Result<Outcome, QueryError<K::Error>> {
    let zxid = Zxid(position.index);
    let verdict = match &command.change {
        Change::CreateSession { timeout_ms, owner } => {
            let (timeout_ms, owner, since_ms) = (*timeout_ms, *owner, command.now_ms);
            let record = SessionRecord { timeout_ms, owner, since_ms };
            open(kv, SessionId(position.index), &record, effects)?
        }
        Change::CloseSession { session } => end(kv, zxid, &[*session], effects)?,
        Change::ExpireSessions { sessions, term } if *term == position.term => {
            end(kv, zxid, sessions, effects)?
        }
        Change::ExpireSessions { .. } => Verdict::Ended(Vec::new()),
        Change::Multi { session, ops } => {
            multi(kv, (zxid, command.now_ms), *session, ops, effects)?
        }
    };
    Ok(Outcome { zxid, verdict })
}

fn open<K: Kv>(
    kv: &mut K,
    id: SessionId,
    record: &SessionRecord,
    effects: &mut Effects,
) -> Result<Verdict, QueryError<K::Error>> {
    kv.put(&keys::session(id), &record.encode()).map_err(QueryError::Kv)?;
    effects.opened.push((id, record.timeout_ms));
    Ok(Verdict::Opened(id))
}

/// Ends those of `sessions` that live, with their ephemeral znodes.
fn end<K: Kv>(
    kv: &mut K,
    zxid: Zxid,
    sessions: &[SessionId],
    effects: &mut Effects,
) -> Result<Verdict, QueryError<K::Error>> {
    let mut ended = Vec::new();
    let mut tree = Tree::new(kv);
    let mut events = Vec::new();
    for &id in sessions {
        if ended.contains(&id) || query::session(tree.kv(), id)?.is_none() {
            continue;
        }
        for text in query::ephemerals(tree.kv(), id)? {
            if let Ok(path) = Path::parse(&text) {
                remove(&mut tree, zxid, path, &mut events)?;
            }
        }
        ended.push(id);
    }
    tree.write()?;
    for &id in &ended {
        kv.delete(&keys::session(id)).map_err(QueryError::Kv)?;
    }
    effects.events.append(&mut events);
    effects.ended.extend(&ended);
    Ok(Verdict::Ended(ended))
}

fn multi<K: Kv>(
    kv: &mut K,
    (zxid, now_ms): (Zxid, u64),
    session: SessionId,
    ops: &[Op],
    effects: &mut Effects,
) -> Result<Verdict, QueryError<K::Error>> {
    if query::session(kv, session)?.is_none() {
        return Ok(Verdict::Refused { at: 0, refusal: Refusal::SessionExpired(session) });
    }
    if let Err(refusal) = bounded(ops) {
        return Ok(Verdict::Refused { at: 0, refusal });
    }
    let mut tree = Tree::new(kv);
    let mut outcomes = Vec::with_capacity(ops.len());
    let mut events = Vec::new();
    for (at, op) in ops.iter().enumerate() {
        match operate(&mut tree, (zxid, now_ms), session, op, &mut events) {
            Ok(outcome) => outcomes.push(outcome),
            Err(Stop::Refused(refusal)) => return Ok(Verdict::Refused { at, refusal }),
            Err(Stop::Failed(error)) => return Err(error),
        }
    }
    tree.write()?;
    effects.events.append(&mut events);
    Ok(Verdict::Done(outcomes))
}

fn operate<K: Kv>(
    tree: &mut Tree<'_, K>,
    (zxid, now_ms): (Zxid, u64),
    session: SessionId,
    op: &Op,
    events: &mut Vec<Event>,
) -> Result<OpOutcome, Stop<K::Error>> {
    match op {
        Op::Create { path, data, mode } => {
            let owner = mode.ephemeral.then_some(session);
            let fresh = ZnodeRecord {
                czxid: zxid,
                mzxid: zxid,
                pzxid: zxid,
                ctime_ms: now_ms,
                mtime_ms: now_ms,
                owner,
                data: data.clone(),
                ..ZnodeRecord::default()
            };
            create(tree, path, *mode, fresh, events)
        }
        Op::Set { path, data, version } => {
            let path = Path::parse(path)?;
            let mut znode = at_version(tree, path, *version)?;
            znode.data.clone_from(data);
            znode.version = znode.version.wrapping_add(1);
            (znode.mzxid, znode.mtime_ms) = (zxid, now_ms);
            let stat = znode.stat();
            tree.put(path, znode);
            events.push(event(zxid, EventKind::DataChanged, path));
            Ok(OpOutcome::Set { stat })
        }
        Op::Delete { path, version } => {
            let path = Path::parse(path)?;
            if path == Path::ROOT {
                return Err(Refusal::InvalidPath(path.as_str().to_owned()).into());
            }
            if at_version(tree, path, *version)?.children > 0 {
                return Err(Refusal::NotEmpty(path.as_str().to_owned()).into());
            }
            remove(tree, zxid, path, events)?;
            Ok(OpOutcome::Deleted)
        }
        Op::Check { path, version } => {
            at_version(tree, Path::parse(path)?, *version)?;
            Ok(OpOutcome::Checked)
        }
    }
}

fn create<K: Kv>(
    tree: &mut Tree<'_, K>,
    asked: &str,
    mode: CreateMode,
    fresh: ZnodeRecord,
    events: &mut Vec<Event>,
) -> Result<OpOutcome, Stop<K::Error>> {
    // A sequential path may end with a slash: then the number is the whole name.
    let probe = if mode.sequential { format!("{asked}0") } else { asked.to_owned() };
    let invalid = || Refusal::InvalidPath(asked.to_owned());
    let exists = || Refusal::NodeExists(asked.to_owned());
    let (parent_path, _) =
        Path::parse(&probe).map_err(|_| invalid())?.split().ok_or_else(exists)?;
    let no_parent = || Refusal::NoNode(parent_path.as_str().to_owned());
    let mut parent = tree.get(parent_path)?.ok_or_else(no_parent)?;
    let text = match mode.sequential {
        true => format!("{asked}{:010}", parent.children_ever),
        false => asked.to_owned(),
    };
    let path = Path::parse(&text).map_err(|_| invalid())?;
    if tree.get(path)?.is_some() {
        return Err(Refusal::NodeExists(text).into());
    }
    if parent.owner.is_some() {
        let parent = parent_path.as_str().to_owned();
        return Err(Refusal::NoChildrenForEphemerals(parent).into());
    }
    let zxid = fresh.czxid;
    parent.children += 1;
    parent.children_ever = parent.children_ever.wrapping_add(1);
    parent.pzxid = zxid;
    tree.put(parent_path, parent);
    let stat = fresh.stat();
    tree.put(path, fresh);
    events.push(event(zxid, EventKind::Created, path));
    events.push(event(zxid, EventKind::ChildrenChanged, parent_path));
    Ok(OpOutcome::Created { path: path.as_str().to_owned(), stat })
}

/// Removes a znode that has no children; one that is not there is passed over.
fn remove<K: Kv>(
    tree: &mut Tree<'_, K>,
    zxid: Zxid,
    path: Path<'_>,
    events: &mut Vec<Event>,
) -> Result<(), QueryError<K::Error>> {
    let Some((parent_path, _)) = path.split() else { return Ok(()) };
    if tree.get(path)?.is_none() {
        return Ok(());
    }
    tree.remove(path);
    events.push(event(zxid, EventKind::Deleted, path));
    if let Some(mut parent) = tree.get(parent_path)? {
        parent.children = parent.children.saturating_sub(1);
        parent.pzxid = zxid;
        tree.put(parent_path, parent);
        events.push(event(zxid, EventKind::ChildrenChanged, parent_path));
    }
    Ok(())
}

/// The znode, if it is there at the version asked for.
fn at_version<K: Kv>(
    tree: &Tree<'_, K>,
    path: Path<'_>,
    version: Option<i32>,
) -> Result<ZnodeRecord, Stop<K::Error>> {
    let text = || path.as_str().to_owned();
    let znode = tree.get(path)?.ok_or_else(|| Refusal::NoNode(text()))?;
    match version {
        Some(expected) if expected != znode.version => {
            let found = znode.version;
            Err(Refusal::BadVersion { path: text(), expected, found }.into())
        }
        _ => Ok(znode),
    }
}

fn event(zxid: Zxid, kind: EventKind, path: Path<'_>) -> Event {
    Event { zxid, kind, path: path.as_str().to_owned() }
}

/// Why an operation stopped.
enum Stop<E> {
    /// It is refused, and the whole command with it.
    Refused(Refusal),
    /// The key space failed.
    Failed(QueryError<E>),
}

impl<E> From<Refusal> for Stop<E> {
    fn from(refusal: Refusal) -> Self {
        Stop::Refused(refusal)
    }
}

impl<E> From<QueryError<E>> for Stop<E> {
    fn from(error: QueryError<E>) -> Self {
        Stop::Failed(error)
    }
}
