//! Owners hold their copies after healing; copies that others own, and garbage, are gone.
//!
//! This looks at the disks themselves, for a read over HTTP is content with one good copy. It defends P1
//! (R − 1 losses, again), and that room is given back: "disowned copies are deleted", "collection frees
//! the rest". That copies are deleted *only when safe* shows in everything else: a copy deleted early
//! is one that is missing here, or an answer that nobody can give.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    time::Duration,
};

use atoll_core::Digest;
use atoll_node::io::disk::Disk;
use tokio::time::Instant;

use crate::{
    cluster::{Machine, fleet::Fleet},
    history::Book,
    workload::push::short,
};

/// Where blobs are.
const BLOBS: &str = "blobs/sha256";

/// How often disks are looked at.
const LOOK: Duration = Duration::from_millis(500);

/// What should be, and what is.
pub struct Copies<'a> {
    /// The machines.
    pub fleet: &'a Fleet,
    /// What was pushed.
    pub book: &'a Book,
    /// Is rot found by itself before this ends?
    pub is_scrubbed: bool,
    /// What is there: owners must have these.
    pub present: BTreeSet<Digest>,
    /// Where blobs are collected: what manifests need. Everything else must go.
    pub needed: Option<BTreeSet<Digest>>,
}

impl Copies<'_> {
    /// Waits until every owner holds what it owns, and nobody anything else.
    ///
    /// # Errors
    /// What is wrong still.
    pub async fn wait(&self, within: Duration) -> Result<Duration, String> {
        let begun = Instant::now();
        loop {
            let wrong = self.wrong();
            if wrong.is_empty() {
                return Ok(begun.elapsed());
            }
            if begun.elapsed() > within {
                let count = wrong.len();
                let some: Vec<String> = wrong.into_iter().take(4).collect();
                return Err(format!("{count} copies after {within:?}: {}", some.join("; ")));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    fn wrong(&self) -> Vec<String> {
        let machines = self.fleet.machines();
        let Some(view) = machines.first().and_then(Machine::view) else {
            return vec!["there is no view".to_owned()];
        };
        let held: BTreeMap<u8, BTreeSet<String>> =
            machines.iter().map(|it| (it.number, held(it))).collect();
        let mut wrong = Vec::new();
        for digest in &self.present {
            let owners = view.placement(digest);
            let owners: Vec<Machine> =
                owners.iter().filter_map(|node| self.fleet.machine_of(&view, *node)).collect();
            for owner in &owners {
                if !self.is_good(owner, digest) && !self.is_latent(owner, digest) {
                    wrong.push(format!("{} has no good copy of {}", owner.name(), short(digest)));
                }
            }
            let others = machines.iter().filter(|it| !owners.iter().any(|o| o.number == it.number));
            for other in others {
                if held.get(&other.number).is_some_and(|held| held.contains(&digest.hex())) {
                    wrong.push(format!("{} does not own {}", other.name(), short(digest)));
                }
            }
        }
        if let Some(needed) = &self.needed {
            wrong.extend(garbage(needed, &machines, &held));
        }
        wrong
    }

    /// Rot that nobody has met yet.
    fn is_latent(&self, machine: &Machine, digest: &Digest) -> bool {
        !self.is_scrubbed && self.book.lock().rotten.contains(&(machine.number, *digest))
    }

    fn is_good(&self, machine: &Machine, digest: &Digest) -> bool {
        let content = self.book.lock().contents.get(digest).cloned();
        let Some(content) = content else { return false };
        let hex = digest.hex();
        let path = Path::new(BLOBS).join(&hex[..2]).join(&hex).join("data");
        let Ok(file) = machine.device.mount().open_read(&path) else { return false };
        let mut found = vec![0; content.len()];
        file.read_at(&mut found, 0).is_ok_and(|read| read == content.len()) && found == content
    }
}

/// What is on a disk and no manifest needs.
fn garbage(
    needed: &BTreeSet<Digest>,
    machines: &[Machine],
    held: &BTreeMap<u8, BTreeSet<String>>,
) -> Vec<String> {
    let needed: BTreeSet<String> = needed.iter().map(Digest::hex).collect();
    let mut garbage = Vec::new();
    for machine in machines {
        let held = held.get(&machine.number).into_iter().flatten();
        for hex in held.filter(|hex| !needed.contains(*hex)) {
            garbage.push(format!("{} keeps garbage {}", machine.name(), &hex[..8]));
        }
    }
    garbage
}

/// The blobs on a machine's disk, by digest in hex. A folder without data is none: a disk that lies may
/// bring the name of a blob back whose bytes are gone.
fn held(machine: &Machine) -> BTreeSet<String> {
    let disk = machine.device.mount();
    let mut held = BTreeSet::new();
    for shard in names(&*disk, Path::new(BLOBS)) {
        let shard = Path::new(BLOBS).join(shard);
        let has_data = |hex: &String| disk.file_len(&shard.join(hex).join("data")).is_ok();
        held.extend(names(&*disk, &shard).into_iter().filter(has_data));
    }
    held
}

fn names(disk: &dyn Disk, folder: &Path) -> Vec<String> {
    let entries = disk.list(folder).unwrap_or_default();
    entries.into_iter().map(|entry| PathBuf::from(entry.name).display().to_string()).collect()
}
