//! Tags, manifests, referrers and links, agreed by consensus.
//!
//! The repositories are shared among S *metadata groups*. Each is a Raft group of its own whose state
//! machine is [`atoll_core::metadata`] over one redb database; a repository belongs to the group that
//! its name hashes to, so everything that must change together is in one log entry of one group.
//! S is fixed when the data folder is founded.
//!
//! - [`Metadata::submit`] returns after its command is committed and applied; concurrent commands
//!   share one log entry and so one disk sync ([`proposer`]).
//! - [`Metadata::linearizable`] gives a view that holds everything acknowledged before it was asked
//!   for ([`read_index`]); [`Metadata::snapshot`] gives what this node has applied, which may be
//!   behind.
//! - The log is durable entry by entry, the state from time to time; what the state lacks after a
//!   crash is applied again ([`state`]).
//!
//! Why not one log for all: a large installation spreads its groups over many nodes. Why not a
//! database per repository: a hundred thousand files and as many elections. Why no leases for reads:
//! they trust clocks, and a batched question to the quorum is cheap.
//!
//! One voter is a full Raft group that needs nobody else; more voters are a matter of membership
//! and of [`peers`], not of other code.

mod changes;
mod codec;
mod coordinate;
mod database;
mod error;
mod group;
mod layout;
mod log;
mod membership;
mod mute;
mod network;
pub mod peers;
mod proposer;
mod raft;
mod read_index;
mod receive;
mod settings;
mod state;
mod state_machine;
mod stats;
mod story;
mod transfer;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use atoll_core::{
    RepoName,
    metadata::{Command, Outcome, Request, RequestId},
};
use sha2::{Digest as _, Sha256};
use tokio_util::sync::CancellationToken;

pub use self::{
    changes::Applied,
    error::{
        FileMissing, FoundingDamaged, GroupCountMismatch, GroupCountOutOfRange, GroupOverloaded,
        GroupStopped, GroupUnavailable, NoRoomForLog, OpenMetadataError, ReadError, StateBehindLog,
        StoreError, SubmitError,
    },
    group::HandleError,
    membership::{GroupMembership, Leader, Leadership, MemberChange, MembershipError},
    raft::NodeId,
    receive::ReceiveSnapshotError,
    settings::{COORDINATION, GROUPS_MAX, MetadataSettings},
    state::Snapshot,
    stats::{GroupStats, MetadataStats},
    transfer::{Frame, TransferError},
};
use self::{
    group::Group,
    layout::Founding,
    peers::{Alone, Peers},
    proposer::NotProposed,
    read_index::{Fresh, NotFresh},
};
use crate::io::{Clock, Io, Sometimes, plant::Plant, rt::blocking};

/// Bounds of the coordination group's log. An entry may hold a view, which is some 130 KB: a log as
/// long as those of the metadata groups would be a gigabyte.
const COORDINATION_SNAPSHOT_ENTRIES: u64 = 512;
/// As above.
const COORDINATION_ENTRIES_KEPT: u64 = 64;

/// First pause before a request is tried again; it doubles up to [`RETRY_PAUSE_MAX`].
const RETRY_PAUSE_MIN: Duration = Duration::from_millis(10);
/// Longest pause: an election takes a few hundred milliseconds.
const RETRY_PAUSE_MAX: Duration = Duration::from_millis(160);

/// The metadata of this node. Clones are handles to the same.
#[derive(Clone, Debug)]
pub struct Metadata {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// Group 0 of the design: see [`COORDINATION`].
    coordination: Group,
    groups: Vec<Group>,
    clock: Arc<dyn Clock>,
    cluster_id: String,
    submit_deadline: Duration,
    read_deadline: Duration,
    /// Who asks, in [`RequestId`]s: drawn anew at every start.
    client: u128,
    sequence: AtomicU64,
    stop: CancellationToken,
}

impl Metadata {
    /// Opens the metadata below `io.disk`'s folder; founds it on the first start.
    ///
    /// Returns when a single voter has replayed its log: what was acknowledged before a crash is
    /// visible to the first read.
    pub async fn open(io: Io, settings: MetadataSettings) -> Result<Self, OpenMetadataError> {
        Self::open_among(io, settings, Arc::new(Alone)).await
    }

    /// As [`Self::open`], with a way to other voters. It does not wait for them.
    pub async fn open_among(
        io: Io,
        settings: MetadataSettings,
        peers: Arc<dyn Peers>,
    ) -> Result<Self, OpenMetadataError> {
        let (disk, asked) = (io.disk.clone(), settings.groups);
        let founding = blocking(move || layout::found_or_check(disk.as_ref(), asked)).await?;
        let stop = CancellationToken::new();
        let mut opened = Vec::with_capacity(usize::from(settings.groups) + 1);
        let all = open_groups(&mut opened, &io, &settings, &peers, founding, &stop).await;
        if let Err(error) = all {
            stop.cancel();
            shut_down(&opened).await;
            return Err(error);
        }
        let client = draw_client(&io, settings.node, &opened);
        let groups = opened.split_off(1);
        // The one that was opened first.
        let Some(coordination) = opened.pop() else {
            return Err(OpenMetadataError::Settings("no group was opened".to_owned()));
        };
        Ok(Self {
            inner: Arc::new(Inner {
                coordination,
                groups,
                clock: io.clock,
                cluster_id: settings.cluster_id,
                submit_deadline: settings.submit_deadline,
                read_deadline: settings.read_deadline,
                client,
                sequence: AtomicU64::new(0),
                stop,
            }),
        })
    }

    /// Changes something: returns what came of it once it is committed and applied here.
    ///
    /// Retries inside, under one request id, until the deadline of the settings: a leader that
    /// changes is not seen by the caller.
    pub async fn submit(&self, command: Command) -> Result<Outcome, SubmitError> {
        self.submit_request(Request { id: self.next_request(), command }).await
    }

    /// As [`Self::submit`], for a caller that chose the id, such as a retry of an earlier request.
    pub async fn submit_request(&self, request: Request) -> Result<Outcome, SubmitError> {
        self.submit_in(self.group_of(&request.command), request).await
    }

    /// As [`Self::submit`], for a command that is not of one repository: to group `group`, of
    /// [`Self::groups`].
    pub async fn submit_to(&self, group: u16, command: Command) -> Result<Outcome, SubmitError> {
        let found = self.inner.groups.get(usize::from(group));
        let found = found.ok_or_else(|| GroupUnavailable {
            group,
            waited: Duration::ZERO,
            reason: "there is no such group".to_owned(),
        })?;
        self.submit_in(found, Request { id: self.next_request(), command }).await
    }

    async fn submit_in(&self, group: &Group, request: Request) -> Result<Outcome, SubmitError> {
        let began = self.inner.clock.monotonic();
        let mut pause = RETRY_PAUSE_MIN;
        let mut reason = "no attempt was answered".to_owned();
        let (mut first, mut led_elsewhere) = (true, false);
        loop {
            let waited = self.inner.clock.monotonic().saturating_sub(began);
            let left = self.inner.submit_deadline.saturating_sub(waited);
            if left.is_zero() {
                return Err(GroupUnavailable { group: group.id, waited, reason }.into());
            }
            let attempt = tokio::time::timeout(left, group.propose(&request, left));
            match attempt.await.unwrap_or(Err(NotProposed::Unknown)) {
                Ok(outcome) => {
                    if led_elsewhere {
                        Sometimes::LeaderChangedMidChange.reached();
                    }
                    return Ok(outcome);
                }
                Err(NotProposed::Unknown) if Plant::AckUnknown.is_planted() => {
                    return Ok(Outcome::Done);
                }
                Err(NotProposed::Stopped(reason)) => {
                    return Err(GroupStopped { group: group.id, reason }.into());
                }
                // After an attempt whose end is not known, "overloaded" would say too much.
                Err(NotProposed::Overloaded) if first => {
                    let waiting_max = proposer::WAITING_MAX;
                    return Err(GroupOverloaded { group: group.id, waiting_max }.into());
                }
                Err(NotProposed::NoRoom) if first => {
                    return Err(NoRoomForLog { group: group.id }.into());
                }
                Err(error) => {
                    led_elsewhere |= matches!(error, NotProposed::NotLeader(_));
                    reason = format!("{error:?}");
                }
            }
            first = false;
            tokio::time::sleep(pause.min(left)).await;
            pause = (pause * 2).min(RETRY_PAUSE_MAX);
        }
    }

    /// What this node has applied of the group of `repo`. It may be behind other nodes.
    pub fn snapshot(&self, repo: &RepoName) -> Result<Snapshot, ReadError> {
        self.group(repo).snapshot()
    }

    /// What this node has applied of the group of `repo`: at least everything that was acknowledged
    /// before `tenure` began. Only the first call of a tenure asks other nodes.
    ///
    /// A tenure is a stretch of time over which whoever removes something waits for this node
    /// ([`Standing::Member`](crate::cluster::Standing)); what was removed before it, it may have
    /// missed, or applied and forgotten in a crash.
    pub async fn settled(&self, repo: &RepoName, tenure: u64) -> Result<Snapshot, ReadError> {
        let group = self.group(repo);
        if group.settled.load(Ordering::Acquire) < tenure {
            self.fresh(group).await?;
            group.settled.fetch_max(tenure, Ordering::AcqRel);
        }
        group.snapshot()
    }

    /// A view of the group of `repo` that holds everything acknowledged before this call, on any
    /// node.
    pub async fn linearizable(&self, repo: &RepoName) -> Result<Snapshot, ReadError> {
        self.linearizable_in(self.group(repo)).await
    }

    /// As [`Self::linearizable`], of every group in order, for what no repository confines.
    pub async fn linearizable_all(&self) -> Result<Vec<Snapshot>, ReadError> {
        let mut all = Vec::with_capacity(self.inner.groups.len());
        for group in &self.inner.groups {
            all.push(self.linearizable_in(group).await?);
        }
        Ok(all)
    }

    /// How many groups share the repositories.
    pub fn groups(&self) -> u16 {
        // `GROUPS_MAX` is far below.
        u16::try_from(self.inner.groups.len()).unwrap_or(u16::MAX)
    }

    async fn linearizable_in(&self, group: &Group) -> Result<Snapshot, ReadError> {
        self.fresh(group).await?;
        group.snapshot()
    }

    /// Waits until this node holds everything of the group that was acknowledged before the call.
    async fn fresh(&self, group: &Group) -> Result<Fresh, ReadError> {
        let began = self.inner.clock.monotonic();
        // A round may have been under way already, and each takes up to the deadline.
        let fresh = tokio::time::timeout(self.inner.read_deadline, group.fresh());
        let late = || NotFresh::Unavailable("the round before did not end in time".to_owned());
        match fresh.await.unwrap_or_else(|_| Err(late())) {
            Ok(fresh) => Ok(fresh),
            Err(NotFresh::Stopped(reason)) => Err(GroupStopped { group: group.id, reason }.into()),
            Err(NotFresh::Unavailable(reason)) => {
                let waited = self.inner.clock.monotonic().saturating_sub(began);
                Err(GroupUnavailable { group: group.id, waited, reason }.into())
            }
        }
    }

    /// Waits, but at most `within`, until member `node` has applied everything of the group of `repo`
    /// that was acknowledged before this call. Answers whether it has.
    pub async fn is_fresh_at(&self, repo: &RepoName, node: NodeId, within: Duration) -> bool {
        let group = self.group(repo);
        if node == group.raft.metrics().borrow().id {
            return tokio::time::timeout(within, group.fresh())
                .await
                .is_ok_and(|fresh| fresh.is_ok());
        }
        group.is_fresh_at(node, within).await
    }

    /// What this node has applied of every group, for what no repository confines: the catalog, and
    /// mounts from anywhere.
    pub fn snapshots(&self) -> Result<Vec<Snapshot>, ReadError> {
        self.inner.groups.iter().map(Group::snapshot).collect()
    }

    /// Figures of every group.
    pub fn stats(&self) -> MetadataStats {
        MetadataStats { groups: self.inner.groups.iter().map(stats::of).collect() }
    }

    /// Ends consensus, makes everything applied durable and closes the files. Requests in flight
    /// fail as stopped: drain them first.
    pub async fn shutdown(&self) {
        self.inner.stop.cancel();
        shut_down(&self.inner.groups).await;
        shut_down(std::slice::from_ref(&self.inner.coordination)).await;
    }

    /// Which cluster this is; messages of another are to be refused.
    pub fn cluster_id(&self) -> &str {
        &self.inner.cluster_id
    }

    /// Answers a message of another voter: `payload` and answer are opaque.
    pub async fn handle(
        &self,
        group: u16,
        call: peers::Call,
        payload: &[u8],
    ) -> Result<bytes::Bytes, HandleError> {
        self.group_by_id(group)?.handle(call, payload).await
    }

    fn next_request(&self) -> RequestId {
        let mut sequence = self.inner.sequence.fetch_add(1, Ordering::Relaxed);
        if Plant::ReuseRequestId.is_planted() && sequence % 8 == 7 {
            sequence -= 1;
        }
        RequestId { client: self.inner.client, sequence }
    }

    fn group_of(&self, command: &Command) -> &Group {
        let repo = match command {
            Command::LinkBlob { repo, .. }
            | Command::UnlinkBlob { repo, .. }
            | Command::DeleteManifest { repo, .. }
            | Command::DeleteTag { repo, .. } => repo,
            Command::PutManifest(put) => &put.repo,
            // What names no repository goes to the first group, unless the caller says which it means.
            Command::Condemn { .. }
            | Command::CondemnAbort { .. }
            | Command::CondemnFinish { .. } => return &self.inner.groups[0],
            Command::Coordinate(_) => return &self.inner.coordination,
        };
        self.group(repo)
    }

    fn group(&self, repo: &RepoName) -> &Group {
        &self.inner.groups[self.index_of(repo)]
    }

    /// There is at least one group, and the remainder is below their number.
    fn index_of(&self, repo: &RepoName) -> usize {
        group_of(repo, self.inner.groups.len())
    }
}

/// Opens the coordination group and then the metadata groups, in order of their ids.
async fn open_groups(
    groups: &mut Vec<Group>,
    io: &Io,
    settings: &MetadataSettings,
    peers: &Arc<dyn Peers>,
    founding: Founding,
    stop: &CancellationToken,
) -> Result<(), OpenMetadataError> {
    let ids = std::iter::once((COORDINATION, founding.coordination))
        .chain((0..settings.groups).map(|id| (id, founding.complete)));
    let coordination = MetadataSettings {
        snapshot_interval: settings.snapshot_interval.min(COORDINATION_SNAPSHOT_ENTRIES),
        entries_kept: settings.entries_kept.min(COORDINATION_ENTRIES_KEPT),
        ..settings.clone()
    };
    for (id, founded) in ids {
        let settings = if id == COORDINATION { &coordination } else { settings };
        let opened = Group::open(id, io, settings, peers.clone(), founded, stop.clone());
        groups.push(Box::pin(opened).await?);
    }
    if !(founding.complete && founding.coordination) {
        let disk = io.disk.clone();
        blocking(move || layout::complete(disk.as_ref(), founding)).await?;
    }
    Ok(())
}

async fn shut_down(groups: &[Group]) {
    for group in groups {
        group.shutdown().await;
    }
}

/// A name for this start that no other start of any node has had.
///
/// Were one drawn twice, new requests would be taken for retries of old ones and silently not be
/// applied. Random bytes suffice unless their source was copied or rewound (a restored virtual
/// machine, a reused seed), so the node and its logs' lengths go in too: they have grown if an
/// earlier start under the same random bytes got anything done.
fn draw_client(io: &Io, node: NodeId, groups: &[Group]) -> u128 {
    let mut random = [0; 16];
    io.entropy.fill(&mut random);
    let mut hash = Sha256::new();
    hash.update(random);
    hash.update(node.to_le_bytes());
    for group in groups {
        hash.update(stats::of(group).last_log.unwrap_or_default().to_le_bytes());
    }
    hash.finalize().iter().take(16).fold(0, |client, byte| (client << 8) | u128::from(*byte))
}

/// Which of `groups` groups a repository belongs to. It is part of the format on disk: changing it
/// would lose every repository that moves.
fn group_of(repo: &RepoName, groups: usize) -> usize {
    let hash = Sha256::digest(repo.as_str().as_bytes());
    let head = hash.iter().take(8).fold(0_u64, |head, byte| (head << 8) | u64::from(*byte));
    usize::try_from(head % groups as u64).expect("a remainder of a usize is one")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_never_changes_its_group() {
        let group = |name: &str, groups| group_of(&name.parse().unwrap(), groups);
        assert_eq!(group("library/alpine", 1), 0);
        // The last hex digit of the first eight bytes of `printf %s NAME | sha256sum`.
        assert_eq!(group("library/alpine", 16), 0xf);
        assert_eq!(group("a", 16), 0xa);
        assert_eq!(group("library/alpine", 3), (0x8c80_5a48_d854_3a1f_u64 % 3) as usize);
    }
}
