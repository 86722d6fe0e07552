//! Copies that are owed to owners, one small file each.
//!
//! Two kinds share this: *hints* of a stand-in that took a copy for an owner out of reach, and the
//! *outbox* of pushes that were acknowledged before every owner had its copy. A record is an empty
//! file whose name says everything, so that it is durable when its folder is synced, and there is
//! nothing to decode but a name:
//!
//! ```text
//! hints/<node>-<alg>-<hex>    this node holds the blob for <node>
//! outbox/<node>-<alg>-<hex>   <node> is to have the blob, which is here or at another owner
//! ```
//!
//! Neither replaces repair, which compares what owners hold; they only are quicker.

use std::{
    collections::BTreeMap,
    io,
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use atoll_core::{Digest, view::NodeId};

use crate::io::{Disk, Io, disk::create_dir_all_durable};

/// Records kept at most. A node that is away for the whole life of its hints while a hundred blobs a
/// second are pushed is owed 360,000; beyond this the copy fails and its push looks for another node.
const RECORDS_MAX: usize = 500_000;

/// First pause after a copy could not be delivered; it doubles up to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_millis(500);
/// Longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// The records of one kind.
#[derive(Debug)]
pub struct Debts {
    io: Io,
    folder: PathBuf,
    open: Mutex<BTreeMap<(NodeId, Digest), Debt>>,
}

#[derive(Clone, Copy, Debug)]
struct Debt {
    since: Duration,
    not_before: Duration,
    pause: Duration,
}

impl Debts {
    /// Opens the records in `folder`, which is created when it is missing. Their age counts from now:
    /// a restart only prolongs it.
    ///
    /// # Errors
    /// The disk failed.
    pub async fn open(io: Io, folder: PathBuf) -> io::Result<Debts> {
        let at = folder.clone();
        let names = io.disk_op(move |disk| {
            create_dir_all_durable(&**disk, &at)?;
            disk.list(&at)
        });
        let now = io.clock.monotonic();
        let known = names.await?.into_iter().filter_map(|entry| parse(&entry.name));
        let open = known.map(|key| (key, Debt::new(now))).collect();
        Ok(Debts { io, folder, open: Mutex::new(open) })
    }

    fn opened(&self) -> MutexGuard<'_, BTreeMap<(NodeId, Digest), Debt>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records that `node` is owed the blob. Durable when this answers `Ok`.
    ///
    /// # Errors
    /// The disk failed, or there are too many records.
    pub async fn note(&self, node: NodeId, digest: &Digest) -> io::Result<()> {
        if self.opened().contains_key(&(node, *digest)) {
            return Ok(());
        }
        if self.opened().len() >= RECORDS_MAX {
            return Err(io::Error::other(format!("{RECORDS_MAX} copies are owed already")));
        }
        let (folder, path) = (self.folder.clone(), self.folder.join(name(node, digest)));
        let written = self.io.disk_op(move |disk| write(&**disk, &folder, &path));
        written.await?;
        let debt = Debt::new(self.io.clock.monotonic());
        self.opened().insert((node, *digest), debt);
        Ok(())
    }

    /// The copy was delivered, or is not owed any more.
    pub async fn settle(&self, node: NodeId, digest: &Digest) {
        let path = self.folder.join(name(node, digest));
        // The name need not be gone durably: a record that comes back is settled again.
        let removed = self.io.disk_op(move |disk| disk.unlink(&path)).await;
        if let Err(error) = removed
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(%node, %digest, %error, "record of a copy that was owed stays");
        }
        self.opened().remove(&(node, *digest));
    }

    /// It could not be delivered: it is tried again after a while.
    pub fn put_off(&self, node: NodeId, digest: &Digest) {
        let now = self.io.clock.monotonic();
        if let Some(debt) = self.opened().get_mut(&(node, *digest)) {
            debt.not_before = now + debt.pause;
            debt.pause = (debt.pause * 2).min(PAUSE_MAX);
        }
    }

    /// At most `count` copies to deliver now, with their age. Those for nodes that are down wait, and
    /// are due at once when their nodes return; only what is older than `age_max` is due even so.
    pub fn due(
        &self,
        count: usize,
        age_max: Duration,
        is_down: impl Fn(NodeId) -> bool,
    ) -> Vec<(NodeId, Digest, Duration)> {
        let now = self.io.clock.monotonic();
        let open = self.opened();
        let is_due = |node: NodeId, debt: &Debt| {
            let is_old = now.saturating_sub(debt.since) > age_max;
            is_old || debt.not_before <= now && !is_down(node)
        };
        let due = open.iter().filter(|((node, _), debt)| is_due(*node, debt));
        due.map(|((node, digest), debt)| (*node, *digest, now.saturating_sub(debt.since)))
            .take(count)
            .collect()
    }

    /// Records there are.
    pub fn count(&self) -> usize {
        self.opened().len()
    }
}

impl Debt {
    fn new(now: Duration) -> Debt {
        Debt { since: now, not_before: now, pause: PAUSE_MIN }
    }
}

fn write(disk: &dyn Disk, folder: &std::path::Path, path: &std::path::Path) -> io::Result<()> {
    match disk.create_new(path) {
        Ok(_) => {}
        // Left by a writer whose sync failed or has not come yet: it is synced now.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    disk.sync_dir(folder)
}

fn name(node: NodeId, digest: &Digest) -> String {
    format!("{node}-{}-{}", digest.algorithm(), digest.hex())
}

fn parse(text: &str) -> Option<(NodeId, Digest)> {
    let (node, rest) = text.split_once('-')?;
    let (algorithm, hex) = rest.split_once('-')?;
    let key = (NodeId(node.parse().ok()?), format!("{algorithm}:{hex}").parse().ok()?);
    (name(key.0, &key.1) == text).then_some(key)
}

#[cfg(test)]
mod tests {
    use atoll_core::Algorithm;

    use super::*;

    #[test]
    fn names_are_read_back_and_strangers_are_not() {
        for algorithm in Algorithm::ALL {
            let digest = Digest::of(algorithm, b"x");
            assert_eq!(parse(&name(NodeId(7), &digest)), Some((NodeId(7), digest)));
            assert_eq!(parse(&format!("07{}", &name(NodeId(7), &digest)[1..])), None);
        }
        for stranger in ["", "7", "7-sha256", "7-sha256-zz", "x-sha256-00", "lost+found"] {
            assert_eq!(parse(stranger), None);
        }
    }
}
