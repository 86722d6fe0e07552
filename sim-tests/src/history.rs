//! What clients did and were told, as one register per tag, manifest and blob.
//!
//! Everything that a client may hold against the registry is in here; [`crate::linear`] judges it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use atoll_core::Digest;
use bytes::Bytes;

use crate::{
    invariants::collected,
    linear::{self, Event, Op, Outcome},
};

/// What a register stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A tag and the manifest it points to.
    Tag,
    /// Whether a manifest is there.
    Manifest,
    /// Whether a blob is visible.
    Blob,
}

/// A register.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// The repository.
    pub repo: String,
    /// What it stands for.
    pub kind: Kind,
    /// The tag or the digest.
    pub name: String,
}

impl Key {
    /// The register of a tag.
    pub fn tag(repo: &str, tag: &str) -> Key {
        Key { repo: repo.to_owned(), kind: Kind::Tag, name: tag.to_owned() }
    }

    /// The register of a manifest.
    pub fn manifest(repo: &str, digest: &Digest) -> Key {
        Key { repo: repo.to_owned(), kind: Kind::Manifest, name: digest.to_string() }
    }

    /// The register of a blob.
    pub fn blob(repo: &str, digest: &Digest) -> Key {
        Key { repo: repo.to_owned(), kind: Kind::Blob, name: digest.to_string() }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}/{}", self.kind, self.repo, self.name)
    }
}

/// A manifest that was pushed, and what it needs.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// Its digest.
    pub digest: Digest,
    /// Its bytes.
    pub bytes: Bytes,
    /// The blobs it refers to.
    pub blobs: Vec<Digest>,
    /// The manifest it says something about.
    pub subject: Option<Digest>,
}

/// An upload in numbered chunks, which must survive a crash.
#[derive(Clone, Debug)]
pub struct Resumable {
    /// The repository.
    pub repo: String,
    /// Where it is uploaded to; `None` until the registry said so.
    pub location: Option<String>,
    /// All of the blob.
    pub content: Bytes,
    /// Bytes of the chunks that were acknowledged: these outlast a crash.
    pub acknowledged: u64,
    /// Where the next chunk starts.
    pub position: u64,
    /// Bytes that were sent.
    pub sent: u64,
    /// Was the end asked for, or a cancel?
    pub ending: bool,
}

/// Everything that happened.
#[derive(Clone, Debug, Default)]
pub struct History {
    moment: u64,
    registers: BTreeMap<Key, Vec<Event<Digest>>>,
    /// Every content that was ever pushed.
    pub contents: BTreeMap<Digest, Bytes>,
    /// Every manifest that was ever pushed.
    pub manifests: BTreeMap<Digest, Manifest>,
    /// Uploads that can be gone on with.
    pub resumables: Vec<Resumable>,
    /// Content whose only copy was damaged on purpose: it may be out of reach, never wrong.
    pub damaged: BTreeSet<Digest>,
    /// Are blobs collected that no manifest needs? Then they may be gone.
    pub collects: bool,
    /// Copies that were damaged at a machine, of which others have more.
    pub rotten: BTreeSet<(u8, Digest)>,
    /// What was read when everything was over.
    pub present: BTreeSet<Digest>,
    /// What the registry did that it must not do.
    pub violations: Vec<String>,
    /// Operations by what became of them, for the summary.
    pub counts: BTreeMap<String, u64>,
}

impl History {
    /// The next moment.
    pub fn tick(&mut self) -> u64 {
        self.moment += 1;
        self.moment
    }

    /// Records an operation that was asked at `called` and is answered now.
    pub fn record(&mut self, key: Key, called: u64, op: Op<Digest>, outcome: Outcome) {
        let returned = if outcome == Outcome::Unknown { u64::MAX } else { self.tick() };
        self.registers.entry(key).or_default().push(Event { called, returned, op, outcome });
    }

    /// The registers that anybody touched.
    pub fn keys(&self) -> Vec<Key> {
        self.registers.keys().cloned().collect()
    }

    /// Says beforehand which tags there will be: a delete of a manifest that nobody heard the end
    /// of may reach a tag that is pushed later.
    pub fn declare_tag(&mut self, repo: &str, tag: &str) {
        self.registers.entry(Key::tag(repo, tag)).or_default();
    }

    /// The declared tags of a repository.
    pub fn tags_of(&self, repo: &str) -> Vec<String> {
        let tags = self.registers.keys().filter(|key| key.repo == repo && key.kind == Kind::Tag);
        tags.map(|key| key.name.clone()).collect()
    }

    /// What was done with a register.
    pub fn events(&self, key: &Key) -> &[Event<Digest>] {
        self.registers.get(key).map_or(&[][..], Vec::as_slice)
    }

    /// Did anybody ever ask for this register to be emptied?
    pub fn was_ever_cleared(&self, key: &Key) -> bool {
        self.events(key)
            .iter()
            .any(|event| matches!(event.op, Op::Set { to: None, .. } | Op::ClearIf(_)))
    }

    /// The manifests among `present`, and what they need.
    pub fn needed(&self, present: &BTreeSet<Digest>) -> BTreeSet<Digest> {
        let manifests = present.iter().filter_map(|digest| self.manifests.get(digest));
        manifests.flat_map(|it| it.blobs.iter().chain([&it.digest])).copied().collect()
    }

    /// Notes a broken promise.
    pub fn violation(&mut self, what: impl Into<String>) {
        self.violations.push(what.into());
    }

    /// Counts something for the summary.
    pub fn count(&mut self, what: &str) {
        *self.counts.entry(what.to_owned()).or_default() += 1;
    }

    /// Promises P1, P2 and P4: every register's history is that of one register.
    pub fn check_registers(&mut self) {
        let mut refused = Vec::new();
        for (key, events) in &self.registers {
            let events = match self.collects {
                true => collected::without_collected(self, key),
                false => events.clone(),
            };
            let Err(refusal) = linear::check(&events) else { continue };
            let mut text = format!("{key}: {refusal:?}");
            for event in &events {
                let returned = match event.returned {
                    u64::MAX => "never".to_owned(),
                    at => at.to_string(),
                };
                let Event { called, op, outcome, .. } = event;
                text.push_str(&format!("\n    {called}..{returned} {} {outcome:?}", short(op)));
            }
            refused.push(text);
        }
        self.violations.append(&mut refused);
    }
}

fn short(op: &Op<Digest>) -> String {
    let text = format!("{op:?}");
    text.replace("Digest", "")
}

/// A history that several clients write to.
#[derive(Clone, Debug, Default)]
pub struct Book(Arc<Mutex<History>>);

impl Book {
    /// An independent copy, to go on with from here in different ways.
    pub fn fork(&self) -> Book {
        Book(Arc::new(Mutex::new(self.lock().clone())))
    }

    /// The history. Never held across an await.
    pub fn lock(&self) -> MutexGuard<'_, History> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
