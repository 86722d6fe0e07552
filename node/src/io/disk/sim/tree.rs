//! The names of a simulated disk: folders, what readers see in them, and what the platter holds.
//!
//! Every change of names is one [`NameOp`] that survives a power cut whole or not at all; a rename
//! between two folders is one change of both. Changes of one folder survive in order.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Component, Path, PathBuf},
};

use super::faults::{Loss, NameOrder};
use crate::io::{disk::DirEntry, entropy::rng::SeededRng};

pub(super) type FileId = u64;
pub(super) type FolderId = u64;

/// The data folder itself.
const ROOT: FolderId = 0;

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Node {
    File(FileId),
    Folder(FolderId),
}

/// A place for a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) folder: FolderId,
    pub(super) name: String,
}

type Names = BTreeMap<String, Node>;

#[derive(Clone, Debug, Default)]
struct Folder {
    cache: Names,
    durable: Names,
}

/// One atomic change: each slot now holds this.
type NameOp = Vec<(Slot, Option<Node>)>;

/// All names of a disk.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    folders: BTreeMap<FolderId, Folder>,
    next_folder: FolderId,
    pending: Vec<NameOp>,
}

impl Tree {
    pub(super) fn new() -> Tree {
        Tree {
            folders: BTreeMap::from([(ROOT, Folder::default())]),
            next_folder: ROOT + 1,
            pending: Vec::new(),
        }
    }

    /// What `path` stands for; the empty path is the data folder.
    pub(super) fn lookup(&self, path: &Path) -> io::Result<Node> {
        let mut at = Node::Folder(ROOT);
        for component in path.components() {
            let Node::Folder(folder) = at else {
                return Err(io::ErrorKind::NotADirectory.into());
            };
            let name = text(component)?;
            at = *self.names(folder).get(name).ok_or(io::ErrorKind::NotFound)?;
        }
        Ok(at)
    }

    pub(super) fn folder(&self, path: &Path) -> io::Result<FolderId> {
        match self.lookup(path)? {
            Node::Folder(folder) => Ok(folder),
            Node::File(_) => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    pub(super) fn file(&self, path: &Path) -> io::Result<FileId> {
        match self.lookup(path)? {
            Node::File(file) => Ok(file),
            Node::Folder(_) => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    /// The place that `path` names, in a folder that exists.
    pub(super) fn slot(&self, path: &Path) -> io::Result<Slot> {
        let last = path.components().next_back().ok_or(io::ErrorKind::InvalidInput)?;
        let parent = path.parent().unwrap_or(Path::new(""));
        Ok(Slot { folder: self.folder(parent)?, name: text(last)?.to_owned() })
    }

    pub(super) fn get(&self, slot: &Slot) -> Option<Node> {
        self.names(slot.folder).get(&slot.name).copied()
    }

    pub(super) fn list(&self, folder: FolderId) -> Vec<DirEntry> {
        let entry = |(name, node): (&String, &Node)| DirEntry {
            name: name.clone(),
            is_dir: matches!(node, Node::Folder(_)),
        };
        self.names(folder).iter().map(entry).collect()
    }

    /// Names a file in a free slot.
    pub(super) fn link(&mut self, slot: Slot, file: FileId) {
        self.change(vec![(slot, Some(Node::File(file)))]);
    }

    /// Frees a slot.
    pub(super) fn unlink(&mut self, slot: Slot) {
        self.change(vec![(slot, None)]);
    }

    pub(super) fn create_folder(&mut self, slot: Slot) {
        let id = self.next_folder;
        self.next_folder += 1;
        self.folders.insert(id, Folder::default());
        self.change(vec![(slot, Some(Node::Folder(id)))]);
    }

    pub(super) fn is_empty(&self, folder: FolderId) -> bool {
        self.names(folder).is_empty()
    }

    /// Checks a rename by the rules of `rename(2)`; answers the file it replaces, if any.
    pub(super) fn check_rename(&self, from: &Slot, to: &Slot) -> io::Result<Option<FileId>> {
        let moved = self.get(from).ok_or(io::ErrorKind::NotFound)?;
        if let Node::Folder(folder) = moved
            && self.contains(folder, to.folder)
        {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        match (moved, self.get(to)) {
            (_, None) => Ok(None),
            // Linux says so for files, too.
            (_, Some(Node::Folder(there))) if self.contains(there, from.folder) => {
                Err(io::ErrorKind::DirectoryNotEmpty.into())
            }
            (moved, Some(there)) if moved == there => Ok(None),
            (Node::File(_), Some(Node::File(replaced))) => Ok(Some(replaced)),
            (Node::File(_), Some(Node::Folder(_))) => Err(io::ErrorKind::IsADirectory.into()),
            (Node::Folder(_), Some(Node::File(_))) => Err(io::ErrorKind::NotADirectory.into()),
            (Node::Folder(_), Some(Node::Folder(there))) if self.is_empty(there) => Ok(None),
            (Node::Folder(_), Some(Node::Folder(_))) => {
                Err(io::ErrorKind::DirectoryNotEmpty.into())
            }
        }
    }

    /// Renames what [`Tree::check_rename`] allowed.
    pub(super) fn rename(&mut self, from: Slot, to: Slot) {
        if from != to {
            let moved = self.get(&from);
            self.change(vec![(from, None), (to, moved)]);
        }
    }

    /// Makes the names of `folder` durable, and whatever must be durable before them.
    pub(super) fn sync(&mut self, folder: FolderId, order: NameOrder) {
        for op in self.take_through(folder, order) {
            self.settle(op);
        }
    }

    /// A failed sync: what it should have written stays visible and never becomes durable.
    pub(super) fn forget(&mut self, folder: FolderId, order: NameOrder) {
        self.take_through(folder, order);
    }

    /// The power is gone: some pending changes survived, the cache is no more. What no name leads
    /// to afterwards is gone too.
    pub(super) fn power_cut(&mut self, loss: Loss, order: NameOrder, rng: &mut SeededRng) {
        let pending = std::mem::take(&mut self.pending);
        for op in survivors(pending, loss, order, rng) {
            self.settle(op);
        }
        let (folders, _) = self.reachable(|folder| &folder.durable);
        self.folders.retain(|id, _| folders.contains(id));
        for folder in self.folders.values_mut() {
            folder.cache = folder.durable.clone();
        }
    }

    /// Every file that readers can find.
    pub(super) fn visible_files(&self) -> BTreeSet<FileId> {
        self.reachable(|folder| &folder.cache).1
    }

    /// Every file that readers can find or that a power cut may bring back.
    pub(super) fn kept_files(&self) -> BTreeSet<FileId> {
        let mut files = BTreeSet::new();
        let named = self
            .folders
            .values()
            .flat_map(|folder| folder.cache.values().chain(folder.durable.values()).copied());
        let pending = self.pending.iter().flatten().filter_map(|(_, node)| *node);
        for node in named.chain(pending) {
            if let Node::File(file) = node {
                files.insert(file);
            }
        }
        files
    }

    /// The first path that leads to `node`.
    pub(super) fn path_of(&self, node: Node) -> Option<PathBuf> {
        self.search(ROOT, node)
    }

    fn search(&self, folder: FolderId, node: Node) -> Option<PathBuf> {
        self.names(folder).iter().find_map(|(name, there)| match *there {
            there if there == node => Some(PathBuf::from(name)),
            Node::Folder(below) => Some(Path::new(name).join(self.search(below, node)?)),
            Node::File(_) => None,
        })
    }

    fn names(&self, folder: FolderId) -> &Names {
        static NONE: Names = Names::new();
        self.folders.get(&folder).map_or(&NONE, |folder| &folder.cache)
    }

    fn change(&mut self, op: NameOp) {
        for (slot, node) in &op {
            if let Some(folder) = self.folders.get_mut(&slot.folder) {
                put(&mut folder.cache, &slot.name, *node);
            }
        }
        self.pending.push(op);
    }

    fn settle(&mut self, op: NameOp) {
        for (slot, node) in op {
            if let Some(folder) = self.folders.get_mut(&slot.folder) {
                put(&mut folder.durable, &slot.name, node);
            }
        }
    }

    /// Takes the pending changes that a sync of `folder` makes durable, in order.
    fn take_through(&mut self, folder: FolderId, order: NameOrder) -> Vec<NameOp> {
        let Some(last) = self.pending.iter().rposition(|op| touches(op, folder)) else {
            return Vec::new();
        };
        let rest = self.pending.split_off(last + 1);
        let through = std::mem::replace(&mut self.pending, rest);
        if order == NameOrder::Journal {
            return through;
        }
        // Backwards: a change is needed when it touches a folder of a later change that is.
        let mut needed = BTreeSet::from([folder]);
        let (mut taken, mut left) = (Vec::new(), Vec::new());
        for op in through.into_iter().rev() {
            if op.iter().any(|(slot, _)| needed.contains(&slot.folder)) {
                needed.extend(op.iter().map(|(slot, _)| slot.folder));
                taken.push(op);
            } else {
                left.push(op);
            }
        }
        left.reverse();
        self.pending.splice(0..0, left);
        taken.reverse();
        taken
    }

    /// Is `inner` the folder `outer` or somewhere below it?
    fn contains(&self, outer: FolderId, inner: FolderId) -> bool {
        outer == inner
            || self
                .names(outer)
                .values()
                .any(|node| matches!(node, Node::Folder(below) if self.contains(*below, inner)))
    }

    fn reachable(&self, view: fn(&Folder) -> &Names) -> (BTreeSet<FolderId>, BTreeSet<FileId>) {
        let (mut folders, mut files) = (BTreeSet::from([ROOT]), BTreeSet::new());
        let mut todo = vec![ROOT];
        while let Some(folder) = todo.pop().and_then(|id| self.folders.get(&id)) {
            for node in view(folder).values() {
                match *node {
                    Node::File(file) => {
                        files.insert(file);
                    }
                    Node::Folder(below) if folders.insert(below) => todo.push(below),
                    Node::Folder(_) => {}
                }
            }
        }
        (folders, files)
    }
}

fn text(component: Component<'_>) -> io::Result<&str> {
    component.as_os_str().to_str().ok_or_else(|| io::ErrorKind::InvalidInput.into())
}

fn put(names: &mut Names, name: &str, node: Option<Node>) {
    match node {
        Some(node) => names.insert(name.to_owned(), node),
        None => names.remove(name),
    };
}

fn touches(op: &NameOp, folder: FolderId) -> bool {
    op.iter().any(|(slot, _)| slot.folder == folder)
}

fn survivors(
    pending: Vec<NameOp>,
    loss: Loss,
    order: NameOrder,
    rng: &mut SeededRng,
) -> Vec<NameOp> {
    match (loss, order) {
        (Loss::DropAll, _) => Vec::new(),
        (Loss::KeepAll, _) => pending,
        (Loss::Random | Loss::Torn, NameOrder::Journal) => {
            let survive = rng.below(pending.len() as u64 + 1) as usize;
            pending.into_iter().take(survive).collect()
        }
        (Loss::Random | Loss::Torn, NameOrder::PerFolder) => folder_prefixes(pending, rng),
    }
}

/// A prefix of each folder's changes, such that a rename is in both of its folders' or in none.
fn folder_prefixes(pending: Vec<NameOp>, rng: &mut SeededRng) -> Vec<NameOp> {
    // One in `patience` changes is the first of its folder to be lost; 1 loses them all.
    let patience = 1 + rng.below(8);
    let mut lost: BTreeSet<FolderId> = BTreeSet::new();
    let mut survive = Vec::new();
    for op in pending {
        let blocked = op.iter().any(|(slot, _)| lost.contains(&slot.folder));
        if blocked || rng.below(patience) == 0 {
            lost.extend(op.iter().map(|(slot, _)| slot.folder));
        } else {
            survive.push(op);
        }
    }
    survive
}
