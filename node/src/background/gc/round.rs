//! One round: find, ask everybody, condemn, delete, finish.
//!
//! The driver decides nothing that is not in the groups. After every command whose end it does not
//! know it may simply stop: the next settling, here or at another node, goes by what the groups hold.

use std::collections::{BTreeMap, BTreeSet};

use atoll_core::{
    Digest,
    gc::{self, GcEpoch, Marks, Step},
    metadata::{Command, Outcome, query},
    view::NodeId,
};
use futures_util::future::join_all;

use super::{
    DECIDER, Gc,
    holder::{DIGESTS_MAX, HolderError},
};
use crate::{
    io::{Sometimes, plant::Plant, rt::blocking},
    metadata::{ReadError, SubmitError},
};

/// Times that settling looks at the groups again. Each look ends something, or another driver is at
/// work; then later is soon enough.
const LOOKS_MAX: usize = 8;

/// Pages of candidates looked at for one round: a pass over a large store where everything is needed
/// still shows signs of life.
const PAGES_MAX: usize = 64;

/// What a round did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Round {
    /// Blobs that all groups condemned.
    pub condemned: u64,
    /// Candidates that somebody needed after all, or touched.
    pub spared: u64,
    /// Copies deleted.
    pub copies: u64,
    /// Bytes freed.
    pub bytes: u64,
}

impl Round {
    /// Adds another round.
    pub fn add(&mut self, other: Round) {
        self.condemned += other.condemned;
        self.spared += other.spared;
        self.copies += other.copies;
        self.bytes += other.bytes;
    }
}

/// What a pass would collect now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DryRun {
    /// Blobs that nobody needs.
    pub blobs: u64,
    /// Their bytes, one copy of each.
    pub bytes: u64,
    /// Copies of them on all nodes that are up.
    pub copies: u64,
    /// The bytes of all those copies.
    pub copies_bytes: u64,
}

/// Why collection did not go on.
#[derive(Debug, thiserror::Error)]
pub enum GcError {
    /// A node that is up did not do its part.
    #[error("node {node}: {error}")]
    Holder {
        /// Which.
        node: NodeId,
        /// Why.
        error: HolderError,
    },
    /// A group cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A group's rows are damaged.
    #[error("the marks cannot be read: {0}")]
    Marks(String),
    /// A group did not take a command, or nobody knows whether it did.
    #[error(transparent)]
    Submit(#[from] SubmitError),
    /// The groups did not come to rest.
    #[error("marks are left after {LOOKS_MAX} looks: another driver is at work")]
    Unsettled,
}

/// Where a node's next page starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Start,
    Behind(Digest),
    End,
}

/// How far a pass has come at each node.
#[derive(Clone, Debug, Default)]
pub(super) struct Cursor {
    places: BTreeMap<NodeId, Place>,
    is_begun: bool,
}

impl Cursor {
    pub fn is_at_end(&self) -> bool {
        self.is_begun && self.places.values().all(|place| *place == Place::End)
    }
}

impl Gc {
    /// One round: at most a batch of candidates, from where the last one stopped.
    pub(super) async fn round(&self, cursor: &mut Cursor) -> Result<Round, GcError> {
        let found = self.find(cursor, self.settings.batch).await?;
        if found.is_empty() {
            return Ok(Round::default());
        }
        let mut round = Round::default();
        let idle = self.untouched_everywhere(found.keys().copied().collect()).await?;
        round.spared += (found.len() - idle.len()) as u64;
        if Plant::DeleteUncondemned.is_planted() {
            for node in self.holders.up() {
                let _ = self.holders.delete(node, GcEpoch(u64::MAX - 1), idle.clone()).await;
            }
            return Ok(round);
        }
        if !idle.is_empty() {
            let condemned = self.condemn(&idle).await?;
            round.condemned += condemned.len() as u64;
            round.spared += (idle.len() - condemned.len()) as u64;
            self.counters.rounds.add(1);
        }
        self.counters.condemned.add(round.condemned);
        self.counters.spared.add(round.spared);
        let settled = self.settle().await?;
        round.copies += settled.copies;
        round.bytes += settled.bytes;
        Ok(round)
    }

    /// What a pass would collect if it ran now.
    ///
    /// # Errors
    /// A node that is up does not answer.
    pub async fn dry_run(&self) -> Result<DryRun, GcError> {
        let mut cursor = Cursor::default();
        let mut report = DryRun::default();
        // The same blob comes from each of its owners, and pages of nodes do not keep step.
        let mut all: BTreeMap<Digest, (u64, u64)> = BTreeMap::new();
        while !cursor.is_at_end() {
            for (digest, (size, copies)) in self.find(&mut cursor, usize::MAX).await? {
                all.entry(digest).or_insert((size, 0)).1 += copies;
            }
        }
        for digest in self.untouched_everywhere(all.keys().copied().collect()).await? {
            let (size, copies) = all.get(&digest).copied().unwrap_or_default();
            report.blobs += 1;
            report.bytes += size;
            report.copies += copies;
            report.copies_bytes += size * copies;
        }
        Ok(report)
    }

    /// Candidates of all nodes that are up, about `batch`, with their lengths and how many nodes named
    /// them.
    async fn find(
        &self,
        cursor: &mut Cursor,
        batch: usize,
    ) -> Result<BTreeMap<Digest, (u64, u64)>, GcError> {
        let up = self.holders.up();
        cursor.is_begun = true;
        cursor.places.retain(|node, _| up.contains(node));
        let mut found: BTreeMap<Digest, (u64, u64)> = BTreeMap::new();
        for node in up {
            let place = cursor.places.entry(node).or_insert(Place::Start);
            for _ in 0..PAGES_MAX {
                let after = match *place {
                    Place::Start => None,
                    Place::Behind(digest) => Some(digest),
                    Place::End => break,
                };
                if found.len() >= batch {
                    break;
                }
                let page = self.holders.candidates(node, after, self.settings.min_age).await;
                let page = page.map_err(|error| GcError::Holder { node, error })?;
                for (digest, size) in page.blobs {
                    found.entry(digest).or_insert((size, 0)).1 += 1;
                }
                *place = page.cursor.map_or(Place::End, Place::Behind);
            }
        }
        Ok(found)
    }

    /// Those that nobody touched lately through any node that is up. A node that does not answer ends
    /// the round.
    async fn untouched_everywhere(&self, digests: Vec<Digest>) -> Result<Vec<Digest>, GcError> {
        let mut idle = Vec::with_capacity(digests.len());
        for some in digests.chunks(DIGESTS_MAX) {
            let mut some = some.to_vec();
            for node in self.holders.up() {
                if some.is_empty() {
                    break;
                }
                let answer = self.holders.untouched(node, some, self.settings.min_age).await;
                some = answer.map_err(|error| GcError::Holder { node, error })?;
            }
            idle.extend(some);
        }
        Ok(idle)
    }

    /// Condemns in every group, the one that decides last. Answers what all of them condemned.
    async fn condemn(&self, digests: &[Digest]) -> Result<BTreeSet<Digest>, GcError> {
        let newest = self.marks().await?.iter().map(|marks| marks.epoch).max().unwrap_or_default();
        let e = newest.next();
        for group in 1..self.metadata.groups() {
            let command = Command::Condemn { e, digests: digests.to_vec() };
            if !self.is_accepted(group, command).await? {
                // Another driver was quicker with this epoch; its round and ours end in settling.
                return Ok(BTreeSet::new());
            }
        }
        let agreed = gc::agreed(self.marks().await?.get(1..).unwrap_or_default(), e, digests);
        let command = Command::Condemn { e, digests: agreed.iter().copied().collect() };
        if !self.is_accepted(DECIDER, command).await? {
            return Ok(BTreeSet::new());
        }
        let decided = self.marks().await?;
        let is_decided = |digest: &Digest| {
            decided.first().is_some_and(|marks| marks.condemned.get(digest) == Some(&e))
        };
        Ok(agreed.into_iter().filter(is_decided).collect())
    }

    /// Ends every round that is under way, whoever began it.
    pub(super) async fn settle(&self) -> Result<Round, GcError> {
        let mut total = Round::default();
        for _ in 0..LOOKS_MAX {
            let steps = gc::settle(&self.marks().await?);
            if steps.is_empty() {
                return Ok(total);
            }
            for step in steps {
                total.add(self.take(step).await?);
            }
        }
        Err(GcError::Unsettled)
    }

    async fn take(&self, step: Step) -> Result<Round, GcError> {
        if !matches!(step, Step::Delete { .. }) {
            Sometimes::RoundSettled.reached();
        }
        match step {
            Step::Close { epoch } => {
                let command = Command::Condemn { e: epoch, digests: Vec::new() };
                self.is_accepted(DECIDER, command).await?;
                Ok(Round::default())
            }
            Step::Abort { group, epoch, digests } => {
                // A group's number is one of those that were read.
                let group = u16::try_from(group).unwrap_or(u16::MAX);
                tracing::info!(%epoch, group, blobs = digests.len(), "condemned blobs are spared");
                self.is_accepted(group, Command::CondemnAbort { e: epoch, digests }).await?;
                Ok(Round::default())
            }
            Step::Delete { epoch, digests } => self.delete_and_finish(epoch, digests).await,
        }
    }

    async fn delete_and_finish(&self, e: GcEpoch, digests: Vec<Digest>) -> Result<Round, GcError> {
        let mut round = Round::default();
        for some in digests.chunks(DIGESTS_MAX) {
            let orders = self.holders.up().into_iter().map(|node| async move {
                (node, self.holders.delete(node, e, some.to_vec()).await)
            });
            // All of them first: a node that fails must not keep the others from freeing their room.
            for (node, answer) in join_all(orders).await {
                let freed = answer.map_err(|error| GcError::Holder { node, error })?;
                round.copies += freed.iter().filter(|bytes| **bytes > 0).count() as u64;
                round.bytes += freed.iter().sum::<u64>();
            }
            // A node that is down may keep a copy. That is garbage, not danger: whoever relies on a
            // copy has stamped it. It comes up as a candidate when the node is back.
            for group in (1..self.metadata.groups()).chain([DECIDER]) {
                let command = Command::CondemnFinish { e, digests: some.to_vec() };
                self.is_accepted(group, command).await?;
            }
        }
        self.counters.copies.add(round.copies);
        self.counters.bytes.add(round.bytes);
        let (blobs, Round { copies, bytes, .. }) = (digests.len(), round);
        tracing::info!(%e, blobs, copies, bytes, "collection round ended");
        Ok(round)
    }

    /// Was the command applied? `false` when its epoch has been there already.
    async fn is_accepted(&self, group: u16, command: Command) -> Result<bool, GcError> {
        Ok(self.metadata.submit_to(group, command).await? == Outcome::Done)
    }

    /// What every group holds, at a state that has everything acknowledged so far.
    async fn marks(&self) -> Result<Vec<Marks>, GcError> {
        let groups = self.metadata.linearizable_all().await?;
        let read = move || {
            let marks = groups.iter().map(query::marks);
            marks.collect::<Result<Vec<_>, _>>().map_err(|error| GcError::Marks(error.to_string()))
        };
        blocking(read).await
    }
}
