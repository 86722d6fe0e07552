//! Who is told about which change.
//!
//! A watch is registered as of some zxid: that of the state its owner has read. It is told only about
//! what came after, so nothing is told twice and nothing is left out, whatever order reading and
//! registering took.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    event::{Event, EventKind},
    path::Path,
    stat::Zxid,
};

/// A registered watch. Earlier ones are told first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WatchId(u64);

/// What a watch waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum WatchKind {
    /// Once: the data is set, or the znode deleted.
    Data,
    /// Once: the znode is created, set or deleted.
    Exists,
    /// Once: a child is created or deleted, or the znode is deleted.
    Children,
    /// Each time anything happens to the znode.
    Persistent,
    /// Each time the znode or one below it is created, set or deleted.
    PersistentRecursive,
}

impl WatchKind {
    /// Is it over once it has been told?
    pub fn is_one_shot(self) -> bool {
        !matches!(self, WatchKind::Persistent | WatchKind::PersistentRecursive)
    }

    fn waits_for(self, happened: EventKind) -> bool {
        use EventKind::{ChildrenChanged, Created, DataChanged, Deleted};
        match self {
            WatchKind::Data => matches!(happened, DataChanged | Deleted),
            WatchKind::Exists => matches!(happened, Created | DataChanged | Deleted),
            WatchKind::Children => matches!(happened, ChildrenChanged | Deleted),
            WatchKind::Persistent => true,
            WatchKind::PersistentRecursive => happened != ChildrenChanged,
        }
    }
}

#[derive(Clone, Debug)]
struct Watch {
    path: String,
    kind: WatchKind,
    since: Zxid,
}

/// The watches of one server.
#[derive(Clone, Debug, Default)]
pub struct Watches {
    next: u64,
    watches: BTreeMap<WatchId, Watch>,
    /// Watches by their path; recursive ones apart, for they are looked for above an event too.
    at: BTreeMap<String, BTreeSet<WatchId>>,
    below: BTreeMap<String, BTreeSet<WatchId>>,
}

impl Watches {
    /// Registers a watch for what happens after `since`.
    pub fn register(&mut self, path: Path<'_>, kind: WatchKind, since: Zxid) -> WatchId {
        let id = WatchId(self.next);
        self.next += 1;
        let path = path.as_str().to_owned();
        self.index(kind).entry(path.clone()).or_default().insert(id);
        self.watches.insert(id, Watch { path, kind, since });
        id
    }

    /// Forgets a watch.
    pub fn remove(&mut self, id: WatchId) {
        let Some(Watch { path, kind, .. }) = self.watches.remove(&id) else { return };
        let index = self.index(kind);
        if let Some(ids) = index.get_mut(&path) {
            ids.remove(&id);
            if ids.is_empty() {
                index.remove(&path);
            }
        }
    }

    /// Who is told about `event`, in order. One-shot watches are forgotten with it.
    pub fn handle(&mut self, event: &Event) -> Vec<WatchId> {
        let mut told: Vec<WatchId> = self.concerned(event).into_iter().collect();
        told.retain(|id| {
            let watch = &self.watches[id];
            watch.since < event.zxid && watch.kind.waits_for(event.kind)
        });
        for &id in &told {
            if self.watches[&id].kind.is_one_shot() {
                self.remove(id);
            }
        }
        told
    }

    /// Events are lacking: who has to be told so? Everyone, and one-shot watches are over.
    pub fn handle_gap(&mut self) -> Vec<WatchId> {
        let told: Vec<WatchId> = self.watches.keys().copied().collect();
        for &id in &told {
            if self.watches[&id].kind.is_one_shot() {
                self.remove(id);
            }
        }
        told
    }

    /// Is it still to be told?
    pub fn contains(&self, id: WatchId) -> bool {
        self.watches.contains_key(&id)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.watches.len()
    }

    /// Are there none?
    pub fn is_empty(&self) -> bool {
        self.watches.is_empty()
    }

    fn concerned(&self, event: &Event) -> BTreeSet<WatchId> {
        let mut ids = self.at.get(&event.path).cloned().unwrap_or_default();
        if let Ok(path) = Path::parse(&event.path) {
            for above in path.ancestors() {
                ids.extend(self.below.get(above.as_str()).into_iter().flatten());
            }
        }
        ids
    }

    fn index(&mut self, kind: WatchKind) -> &mut BTreeMap<String, BTreeSet<WatchId>> {
        match kind {
            WatchKind::PersistentRecursive => &mut self.below,
            _ => &mut self.at,
        }
    }
}

#[cfg(test)]
mod tests;
