//! The tree as a command in progress sees it: the rows, and what is staged over them.

use std::collections::BTreeMap;

use crate::{
    coordination::{keys, path::Path, query, record::ZnodeRecord},
    metadata::{kv::Kv, query::QueryError, record::Record},
};

/// The rows and the changes to them. Dropping it forgets the changes.
pub(super) struct Tree<'a, K> {
    kv: &'a mut K,
    /// By path; `None` is a znode that was removed.
    staged: BTreeMap<String, Option<ZnodeRecord>>,
}

impl<'a, K: Kv> Tree<'a, K> {
    pub fn new(kv: &'a mut K) -> Self {
        Self { kv, staged: BTreeMap::new() }
    }

    /// The rows without the changes.
    pub fn kv(&self) -> &K {
        self.kv
    }

    pub fn get(&self, path: Path<'_>) -> Result<Option<ZnodeRecord>, QueryError<K::Error>> {
        match self.staged.get(path.as_str()) {
            Some(staged) => Ok(staged.clone()),
            None => query::znode(self.kv, path),
        }
    }

    pub fn put(&mut self, path: Path<'_>, znode: ZnodeRecord) {
        self.staged.insert(path.as_str().to_owned(), Some(znode));
    }

    pub fn remove(&mut self, path: Path<'_>) {
        self.staged.insert(path.as_str().to_owned(), None);
    }

    /// Writes the changes.
    pub fn write(self) -> Result<(), QueryError<K::Error>> {
        let Self { kv, staged } = self;
        for (text, znode) in staged {
            // Only checked paths were staged.
            let Ok(path) = Path::parse(&text) else { continue };
            let before = query::znode(kv, path)?;
            let owner_before = before.and_then(|znode| znode.owner);
            let owner = znode.as_ref().and_then(|znode| znode.owner);
            write_one(kv, path, znode.as_ref()).map_err(QueryError::Kv)?;
            if let Some(gone) = owner_before.filter(|_| owner != owner_before) {
                kv.delete(&keys::ephemeral(gone, path)).map_err(QueryError::Kv)?;
            }
            if let Some(owner) = owner.filter(|_| owner != owner_before) {
                kv.put(&keys::ephemeral(owner, path), keys::MARK).map_err(QueryError::Kv)?;
            }
        }
        Ok(())
    }
}

fn write_one<K: Kv>(
    kv: &mut K,
    path: Path<'_>,
    znode: Option<&ZnodeRecord>,
) -> Result<(), K::Error> {
    match znode {
        Some(znode) => kv.put(&keys::znode(path), &znode.encode())?,
        None => kv.delete(&keys::znode(path))?,
    }
    match (path.split(), znode) {
        (Some((parent, name)), Some(_)) => kv.put(&keys::child(parent, name), keys::MARK),
        (Some((parent, name)), None) => kv.delete(&keys::child(parent, name)),
        (None, _) => Ok(()),
    }
}
