//! What a metadata group decides, asked of the real state machine.
//!
//! A group's rows are told by a few numbers. To take a step, rows with those numbers are made by
//! commands, the command is applied, and the numbers are read off again. There are few combinations,
//! so each is asked once.

use std::collections::HashMap;

use atoll_core::{
    Algorithm, Digest,
    gc::{GcEpoch, Marks},
    metadata::{
        Command, KvRead, MemoryKv, Outcome, Precondition, PutManifest, Refusal, Request, RequestId,
        apply, command::TagProtection, keys, query,
    },
};

/// The blob it is all about.
pub fn blob() -> Digest {
    Digest::of(Algorithm::Sha256, b"blob")
}

fn manifest(of: u8) -> Digest {
    Digest::of(Algorithm::Sha256, &[of])
}

/// All there is to know about a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Group {
    /// Its collection epoch.
    pub epoch: u8,
    /// The epoch that condemned the blob; 0 when it is not.
    pub mark: u8,
    /// Bit `i`: the manifest of pusher `i` is there, and needs the blob.
    pub manifests: u8,
    /// Does the repository link the blob?
    pub linked: bool,
}

impl Group {
    /// May a client be told that the blob is there?
    pub fn shows_blob(&self) -> bool {
        self.linked && self.mark == 0
    }

    /// As the driver of a round reads them.
    pub fn marks(&self) -> Marks {
        let condemned = (self.mark > 0).then(|| (blob(), GcEpoch(self.mark.into())));
        Marks { epoch: GcEpoch(self.epoch.into()), condemned: condemned.into_iter().collect() }
    }
}

/// A command, in short.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ask {
    Link {
        vg: u8,
    },
    /// The manifest of pusher `by`. `strict`: the blob must be linked.
    Push {
        by: u8,
        vg: u8,
        strict: bool,
    },
    Delete {
        by: u8,
    },
    /// `blob`: is it named?
    Condemn {
        e: u8,
        blob: bool,
    },
    Abort {
        e: u8,
    },
    Finish {
        e: u8,
    },
}

/// An answer, in short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Done,
    Reverify,
    Refused,
}

/// The state machine, asked once about everything.
#[derive(Default)]
pub struct Machine {
    known: HashMap<(Group, Ask), (Group, Answer)>,
}

impl Machine {
    pub fn ask(&mut self, group: Group, ask: Ask) -> (Group, Answer) {
        *self.known.entry((group, ask)).or_insert_with(|| {
            let mut rows = Rows::of(group);
            let outcome = rows.apply(ask);
            let answer = match outcome {
                Outcome::Done => Answer::Done,
                Outcome::Refused(Refusal::Reverify) => Answer::Reverify,
                Outcome::Refused(_) => Answer::Refused,
                Outcome::Coordinated(_) => {
                    unreachable!("nothing is coordinated in a model of collection")
                }
            };
            (rows.group(), answer)
        })
    }
}

struct Rows {
    kv: MemoryKv,
    index: u64,
}

impl Rows {
    /// Rows of such a group. How the group came to be so is another story than this one; the rows
    /// are the same but for what remembers requests.
    fn of(group: Group) -> Rows {
        let mut rows = Rows { kv: MemoryKv::default(), index: 0 };
        for by in 0..8 {
            if group.manifests & 1 << by != 0 {
                rows.apply(Ask::Push { by, vg: 0, strict: false });
            }
        }
        if group.linked {
            rows.apply(Ask::Link { vg: 0 });
        }
        if group.mark > 0 {
            rows.apply(Ask::Condemn { e: group.mark, blob: true });
        }
        if group.epoch > group.mark {
            rows.apply(Ask::Condemn { e: group.epoch, blob: false });
        }
        assert_eq!(rows.group(), group, "no commands lead to such a group");
        rows
    }

    fn group(&self) -> Group {
        let repo = "a".parse().unwrap();
        let has = |by: &u8| query::manifest(&self.kv, &repo, &manifest(*by)).unwrap().is_some();
        let group = Group {
            epoch: query::gc_epoch(&self.kv).unwrap().0 as u8,
            mark: query::condemned(&self.kv, &blob()).unwrap().map_or(0, |epoch| epoch.0 as u8),
            manifests: (0..8).filter(has).map(|by| 1 << by).sum(),
            linked: self.kv.get(&keys::link(&repo, &blob())).unwrap().is_some(),
        };
        let shown = query::link(&self.kv, &repo, &blob()).unwrap().is_some();
        assert_eq!(shown, group.shows_blob());
        let needed = query::refcount(&self.kv, &blob()).unwrap();
        assert_eq!(needed, u64::from(group.manifests.count_ones()));
        group
    }

    fn apply(&mut self, ask: Ask) -> Outcome {
        self.index += 1;
        let id = RequestId { client: 1, sequence: self.index };
        apply(&mut self.kv, self.index, &Request { id, command: command(ask) }).unwrap()
    }
}

fn command(ask: Ask) -> Command {
    let repo = "a".parse().unwrap();
    let (epoch, digests) = (|e: u8| GcEpoch(e.into()), vec![blob()]);
    match ask {
        Ask::Link { vg } => Command::LinkBlob { repo, digest: blob(), size: 1, vg: epoch(vg) },
        Ask::Push { by, vg, strict } => push(by, epoch(vg), strict),
        Ask::Delete { by } => {
            Command::DeleteManifest { repo, digest: manifest(by), protected: TagProtection::None }
        }
        Ask::Condemn { e, blob: true } => Command::Condemn { e: epoch(e), digests },
        Ask::Condemn { e, blob: false } => Command::Condemn { e: epoch(e), digests: Vec::new() },
        Ask::Abort { e } => Command::CondemnAbort { e: epoch(e), digests },
        Ask::Finish { e } => Command::CondemnFinish { e: epoch(e), digests },
    }
}

fn push(by: u8, vg: GcEpoch, strict: bool) -> Command {
    let (yes, no) = (vec![blob()], Vec::new());
    let (blobs, foreign_blobs) = if strict { (yes, no) } else { (no, yes) };
    Command::PutManifest(PutManifest {
        repo: "a".parse().unwrap(),
        digest: manifest(by),
        media_type: "a/b".to_owned(),
        size: 1,
        blobs,
        foreign_blobs,
        children: Vec::new(),
        subject: None,
        artifact_type: None,
        annotations: Default::default(),
        tags: Vec::new(),
        precondition: Precondition::Always,
        protected: TagProtection::None,
        vg,
    })
}
