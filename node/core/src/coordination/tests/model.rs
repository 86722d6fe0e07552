//! The reference: a map from paths to znodes, changed as a whole or not at all. It counts what the
//! state machine derives (children, changes of children) and derives what that one counts.

use std::collections::BTreeMap;

use crate::coordination::{
    Change, CreateMode, Effects, Event, EventKind, Op, OpOutcome, Refusal, SessionId, Stat,
    Verdict, Zxid,
};

#[derive(Clone, Debug, Default)]
struct Node {
    data: Vec<u8>,
    owner: Option<SessionId>,
    created: (u64, u64),
    modified: (u64, u64),
    children_changed: u64,
    sets: i32,
    children_created: i32,
    children_deleted: i32,
}

#[derive(Clone, Debug)]
pub struct Model {
    nodes: BTreeMap<String, Node>,
    sessions: BTreeMap<SessionId, u64>,
    events: Vec<Event>,
    zxid: u64,
    now: u64,
}

impl Default for Model {
    fn default() -> Self {
        let nodes = BTreeMap::from([("/".to_owned(), Node::default())]);
        Self { nodes, sessions: BTreeMap::new(), events: Vec::new(), zxid: 0, now: 0 }
    }
}

impl Model {
    pub fn apply(&mut self, zxid: u64, now: u64, term: u64, change: &Change) -> (Verdict, Effects) {
        (self.zxid, self.now) = (zxid, now);
        self.events.clear();
        let mut effects = Effects::default();
        let verdict = match change {
            Change::CreateSession { timeout_ms, .. } => {
                self.sessions.insert(SessionId(zxid), *timeout_ms);
                effects.opened.push((SessionId(zxid), *timeout_ms));
                Verdict::Opened(SessionId(zxid))
            }
            Change::CloseSession { session } => self.end(&[*session], &mut effects),
            Change::ExpireSessions { sessions, term: timed } => {
                self.end(if *timed == term { sessions } else { &[] }, &mut effects)
            }
            Change::Multi { session, ops } => {
                let mut next = self.clone();
                match next.multi(*session, ops) {
                    Ok(outcomes) => {
                        *self = next;
                        Verdict::Done(outcomes)
                    }
                    Err((at, refusal)) => Verdict::Refused { at, refusal },
                }
            }
        };
        effects.events = std::mem::take(&mut self.events);
        (verdict, effects)
    }

    pub fn all(&self) -> BTreeMap<String, (Vec<u8>, Stat)> {
        let each = self.nodes.iter();
        each.map(|(path, node)| (path.clone(), (node.data.clone(), self.stat(path)))).collect()
    }

    /// The paths that end with each session that lives.
    pub fn ephemerals(&self) -> Vec<(SessionId, Vec<String>)> {
        let owned = |id: &SessionId| {
            let nodes = self.nodes.iter().filter(|(_, node)| node.owner == Some(*id));
            nodes.map(|(path, _)| path.clone()).collect()
        };
        self.sessions.keys().map(|id| (*id, owned(id))).collect()
    }

    pub fn children(&self, path: &str) -> Vec<String> {
        let prefix = if path == "/" { "/".to_owned() } else { format!("{path}/") };
        let below = self.nodes.keys().filter_map(|other| other.strip_prefix(&prefix));
        below.filter(|name| !name.is_empty() && !name.contains('/')).map(str::to_owned).collect()
    }

    fn stat(&self, path: &str) -> Stat {
        let node = &self.nodes[path];
        Stat {
            czxid: Zxid(node.created.0),
            mzxid: Zxid(node.modified.0),
            pzxid: Zxid(node.children_changed),
            ctime_ms: node.created.1,
            mtime_ms: node.modified.1,
            version: node.sets,
            cversion: node.children_created + node.children_deleted,
            aversion: 0,
            ephemeral_owner: node.owner,
            data_length: node.data.len() as u32,
            num_children: self.children(path).len() as u32,
        }
    }

    fn happened(&mut self, kind: EventKind, path: &str) {
        self.events.push(Event { zxid: Zxid(self.zxid), kind, path: path.to_owned() });
    }

    fn end(&mut self, sessions: &[SessionId], effects: &mut Effects) -> Verdict {
        for id in sessions {
            if self.sessions.remove(id).is_none() {
                continue;
            }
            effects.ended.push(*id);
            let owned = self.nodes.iter().filter(|(_, node)| node.owner == Some(*id));
            let owned: Vec<String> = owned.map(|(path, _)| path.clone()).collect();
            owned.iter().for_each(|path| self.delete(path));
        }
        Verdict::Ended(effects.ended.clone())
    }

    fn delete(&mut self, path: &str) {
        self.nodes.remove(path).unwrap();
        self.happened(EventKind::Deleted, path);
        let parent = parent(path);
        let node = self.nodes.get_mut(&parent).unwrap();
        node.children_deleted += 1;
        node.children_changed = self.zxid;
        self.happened(EventKind::ChildrenChanged, &parent);
    }

    fn multi(
        &mut self,
        session: SessionId,
        ops: &[Op],
    ) -> Result<Vec<OpOutcome>, (usize, Refusal)> {
        if !self.sessions.contains_key(&session) {
            return Err((0, Refusal::SessionExpired(session)));
        }
        let each = ops.iter().enumerate();
        each.map(|(at, op)| self.op(session, op).map_err(|refusal| (at, refusal))).collect()
    }

    fn op(&mut self, session: SessionId, op: &Op) -> Result<OpOutcome, Refusal> {
        match op {
            Op::Create { path, data, mode } => self.create(session, path, data, *mode),
            Op::Set { path, data, version } => {
                self.at_version(path, *version)?;
                let modified = (self.zxid, self.now);
                let node = self.nodes.get_mut(path).unwrap();
                node.data.clone_from(data);
                node.sets += 1;
                node.modified = modified;
                self.happened(EventKind::DataChanged, path);
                Ok(OpOutcome::Set { stat: self.stat(path) })
            }
            Op::Delete { path, version } => {
                if path == "/" {
                    return Err(Refusal::InvalidPath(path.clone()));
                }
                self.at_version(path, *version)?;
                if !self.children(path).is_empty() {
                    return Err(Refusal::NotEmpty(path.clone()));
                }
                self.delete(path);
                Ok(OpOutcome::Deleted)
            }
            Op::Check { path, version } => {
                self.at_version(path, *version)?;
                Ok(OpOutcome::Checked)
            }
        }
    }

    fn create(
        &mut self,
        session: SessionId,
        asked: &str,
        data: &[u8],
        mode: CreateMode,
    ) -> Result<OpOutcome, Refusal> {
        if asked == "/" && !mode.sequential {
            return Err(Refusal::NodeExists("/".to_owned()));
        }
        let probe = if mode.sequential { format!("{asked}0") } else { asked.to_owned() };
        valid(&probe).then_some(()).ok_or_else(|| Refusal::InvalidPath(asked.to_owned()))?;
        let above = parent(&probe);
        let Some(parent) = self.nodes.get(&above) else { return Err(Refusal::NoNode(above)) };
        let number = parent.children_created;
        let path = if mode.sequential { format!("{asked}{number:010}") } else { probe };
        if self.nodes.contains_key(&path) {
            return Err(Refusal::NodeExists(path));
        }
        if parent.owner.is_some() {
            return Err(Refusal::NoChildrenForEphemerals(above));
        }
        let node = Node {
            data: data.to_vec(),
            owner: mode.ephemeral.then_some(session),
            created: (self.zxid, self.now),
            modified: (self.zxid, self.now),
            children_changed: self.zxid,
            ..Node::default()
        };
        self.nodes.insert(path.clone(), node);
        let parent = self.nodes.get_mut(&above).unwrap();
        parent.children_created += 1;
        parent.children_changed = self.zxid;
        self.happened(EventKind::Created, &path);
        self.happened(EventKind::ChildrenChanged, &above);
        let stat = self.stat(&path);
        Ok(OpOutcome::Created { path, stat })
    }

    fn at_version(&self, path: &str, expected: Option<i32>) -> Result<(), Refusal> {
        if !valid(path) {
            return Err(Refusal::InvalidPath(path.to_owned()));
        }
        let node = self.nodes.get(path).ok_or_else(|| Refusal::NoNode(path.to_owned()))?;
        match expected {
            Some(expected) if expected != node.sets => {
                let (path, found) = (path.to_owned(), node.sets);
                Err(Refusal::BadVersion { path, expected, found })
            }
            _ => Ok(()),
        }
    }
}

fn parent(path: &str) -> String {
    let above = path.rsplit_once('/').unwrap().0;
    if above.is_empty() { "/".to_owned() } else { above.to_owned() }
}

/// Of the paths that the test makes up.
fn valid(path: &str) -> bool {
    !matches!(path, "" | "a" | "a0" | "0" | "/a/" | "/a//b" | "/a//b0" | "/a/.." | "/a\u{1}")
        && !path.contains('\u{1}')
}
