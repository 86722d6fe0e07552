//! Where members said that they are, before it is written down.
//!
//! When many voters move at once nothing can be written down until enough of them reach each other.
//! A hint stands in for one certain address, the one that Raft's membership had when the hint was
//! first used; as soon as the membership says anything else, the hint is void.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use atoll_core::view::NodeId;

/// The hints of one node. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Hints {
    known: Arc<Mutex<BTreeMap<NodeId, Hint>>>,
}

#[derive(Clone, Debug)]
struct Hint {
    incarnation: u64,
    address: String,
    instead_of: Option<String>,
}

impl Hints {
    /// Start `incarnation` of `node` says that it is at `address`. An earlier start is not believed.
    pub fn note(&self, node: NodeId, incarnation: u64, address: String) {
        let mut known = self.lock();
        if known.get(&node).is_some_and(|hint| hint.incarnation > incarnation) {
            return;
        }
        if known.get(&node).is_some_and(|hint| hint.address == address) {
            return;
        }
        known.insert(node, Hint { incarnation, address, instead_of: None });
    }

    /// Where to reach `node`, which `written` says to be there.
    pub fn resolve(&self, node: NodeId, written: &str) -> String {
        let mut known = self.lock();
        let Some(hint) = known.get_mut(&node) else { return written.to_owned() };
        let instead_of = hint.instead_of.get_or_insert_with(|| written.to_owned());
        if instead_of == written {
            return hint.address.clone();
        }
        known.remove(&node);
        written.to_owned()
    }

    /// All of them: node, start, address.
    pub fn all(&self) -> Vec<(NodeId, u64, String)> {
        let known = self.lock();
        known.iter().map(|(node, hint)| (*node, hint.incarnation, hint.address.clone())).collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<NodeId, Hint>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_stands_in_for_one_address_until_another_is_written() {
        let (hints, node) = (Hints::default(), NodeId(2));
        assert_eq!(hints.resolve(node, "old"), "old");
        hints.note(node, 5, "new".to_owned());
        assert_eq!(hints.resolve(node, "old"), "new");
        assert_eq!(hints.resolve(node, "old"), "new");
        hints.note(node, 4, "older".to_owned());
        assert_eq!(hints.resolve(node, "old"), "new", "an earlier start is late");
        assert_eq!(hints.resolve(node, "new"), "new", "written down");
        assert_eq!(hints.resolve(node, "newer"), "newer");
        assert!(hints.all().is_empty());
    }
}
