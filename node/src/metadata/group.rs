//! One metadata group on this node: its log, its state, its consensus and the two ways in.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use atoll_core::metadata::{Outcome, Request};
use bytes::Bytes;
use openraft::{BasicNode, Config, SnapshotPolicy, error::RaftError};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{
    codec,
    error::{OpenMetadataError, ReadError, StateBehindLog},
    layout::{self, GroupPaths},
    log::LogStore,
    membership,
    mute::Mute,
    network::Network,
    peers::{Call, Peer, Peers},
    proposer::{NotProposed, Proposer},
    raft::{NodeId, Raft},
    read_index::{Found, Fresh, NotFresh, ReadIndex},
    settings::MetadataSettings,
    state::{Snapshot, StateStore},
    state_machine::StateMachine,
    story,
};
use crate::io::{Io, disk::create_dir_all_durable, rt::blocking};

/// Entries in one AppendEntries message; their bytes are bounded by the log.
const ENTRIES_PER_MESSAGE_MAX: u64 = 64;

/// Entries purged at a time at least: a purge is a commit, and need not follow every snapshot entry
/// by entry.
const PURGE_BATCH: u64 = 256;

/// One metadata group on this node.
pub(super) struct Group {
    pub id: u16,
    pub raft: Raft,
    pub proposer: Proposer,
    pub state: StateStore,
    /// One state may be received at a time.
    pub receiving: Arc<Semaphore>,
    pub peers: Arc<dyn Peers>,
    /// The last tenure in which the state was known to be fresh; 0 before the first.
    pub settled: AtomicU64,
    log: LogStore,
    found: Found,
    reads: ReadIndex,
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Group {
    /// Opens the group's files and joins its consensus; waits until a single voter has replayed.
    pub async fn open(
        id: u16,
        io: &Io,
        settings: &MetadataSettings,
        peers: Arc<dyn Peers>,
        founded: bool,
        stop: CancellationToken,
    ) -> Result<Self, OpenMetadataError> {
        let (log, state, found) = open_files(id, io, settings, founded).await?;
        let config = Arc::new(raft_config(id, settings)?);
        let mute = Mute::default();
        let network = Network { group: id, peers: peers.clone(), mute: mute.clone() };
        let state_machine = StateMachine { store: state.clone() };
        let raft = Raft::new(settings.node, config, network, log.clone(), state_machine).await;
        let raft = raft.map_err(|error| not_started(id, error))?;
        let deadline = settings.read_deadline;
        let reads =
            ReadIndex::start(id, raft.clone(), peers.clone(), found, deadline, stop.clone());
        tokio::spawn(story::tell(id, raft.metrics(), stop.clone()));
        let election_timeout = settings.election_timeout_max;
        let clock = io.clock.clone();
        tokio::spawn(mute.watch(id, raft.metrics(), clock, election_timeout, stop.clone()));
        let proposer = Proposer::start(id, raft.clone(), io.clone(), stop);
        let receiving = Arc::new(Semaphore::new(1));
        let settled = AtomicU64::new(0);
        let group =
            Self { id, raft, proposer, state, receiving, settled, log, found, reads, peers };
        if let Err(error) = group.start(settings).await {
            group.shutdown().await;
            return Err(error);
        }
        Ok(group)
    }

    async fn start(&self, settings: &MetadataSettings) -> Result<(), OpenMetadataError> {
        if settings.found {
            initialize(self.id, &self.raft, settings).await?;
        }
        self.wait_until_ready(settings.node, settings.open_deadline).await
    }

    /// Proposes `request` here, or at the leader if that is another voter.
    pub async fn propose(
        &self,
        request: &Request,
        within: Duration,
    ) -> Result<Outcome, NotProposed> {
        match self.proposer.propose(request.clone()).await {
            Err(NotProposed::NotLeader(Some(leader))) => {
                self.propose_at(leader, request, within).await
            }
            other => other,
        }
    }

    async fn propose_at(
        &self,
        leader: Peer,
        request: &Request,
        within: Duration,
    ) -> Result<Outcome, NotProposed> {
        let Ok(question) = codec::encode(request) else { return Err(NotProposed::Unknown) };
        let asked = self.peers.call(leader, self.id, Call::Propose, question.into(), within);
        let Ok(answer) = asked.await else { return Err(NotProposed::Unknown) };
        match codec::decode::<Option<Outcome>>(&answer) {
            Ok(Some(outcome)) => Ok(outcome),
            Ok(None) => Err(NotProposed::NotLeader(None)),
            Err(_) => Err(NotProposed::Unknown),
        }
    }

    /// Returns once the local state holds everything acknowledged before the call.
    pub async fn fresh(&self) -> Result<Fresh, NotFresh> {
        self.reads.fresh().await
    }

    /// Asks another member to wait until it has applied everything acknowledged before the question.
    pub async fn is_fresh_at(&self, node: super::raft::NodeId, within: Duration) -> bool {
        let address = {
            let metrics = self.raft.metrics();
            let metrics = metrics.borrow();
            let found = metrics.membership_config.membership().get_node(&node);
            found.map(|node| node.addr.clone())
        };
        let (Some(address), Ok(question)) = (address, codec::encode(&())) else { return false };
        let peer = Peer { id: node, address };
        self.peers.call(peer, self.id, Call::Fresh, question.into(), within).await.is_ok()
    }

    /// The rows as they are applied here.
    pub fn snapshot(&self) -> Result<Snapshot, ReadError> {
        Ok(self.state.snapshot()?)
    }

    /// Stops consensus and closes the files, with everything applied made durable.
    pub async fn shutdown(&self) {
        if self.raft.shutdown().await.is_err() {
            warn!(group = self.id, "metadata group had stopped before");
        }
        let state = self.state.clone();
        if let Err(error) = blocking(move || state.sync()).await {
            warn!(group = self.id, %error, "metadata state not synced; the log has it");
        }
        if !(self.state.close().await & self.log.close().await) {
            warn!(group = self.id, "metadata files are still being read");
        }
    }

    /// A single voter leads as soon as it wants to; its first reads must see what it acknowledged
    /// before it died. With others, the node serves what it can while they find each other; and one
    /// that has not been added to a group yet, or is no voter of it, waits for nobody either.
    async fn wait_until_ready(
        &self,
        node: NodeId,
        deadline: Duration,
    ) -> Result<(), OpenMetadataError> {
        let membership = self.raft.with_raft_state(|state| {
            state.membership_state.effective().membership().voter_ids().collect::<BTreeSet<_>>()
        });
        let voters = membership.await.map_err(|error| not_started(self.id, error))?;
        if voters != BTreeSet::from([node]) {
            return Ok(());
        }
        let wait = self.raft.wait(Some(deadline));
        let leads = wait
            .metrics(|metrics| metrics.current_leader == Some(metrics.id), "a single voter leads");
        let leading = leads.await.map_err(|error| not_started(self.id, error))?;
        // Everything in a single voter's log is committed, and some of it not applied yet.
        let replayed = wait.applied_index_at_least(leading.last_log_index, "the log is replayed");
        replayed.await.map_err(|error| not_started(self.id, error))?;
        self.fresh().await.map_err(|error| not_started(self.id, format!("{error:?}")))?;
        let metrics = self.raft.metrics().borrow().clone();
        info!(
            group = self.id,
            term = metrics.current_term,
            last_log = metrics.last_log_index,
            applied = metrics.last_applied.map(|log_id| log_id.index),
            "metadata group is ready"
        );
        Ok(())
    }

    /// Answers a message of another voter.
    pub async fn handle(&self, call: Call, payload: &[u8]) -> Result<Bytes, HandleError> {
        let answer = match call {
            Call::Append => {
                let answer = self.raft.append_entries(codec::decode(payload)?).await;
                codec::encode(&answer.map_err(stopped)?)?
            }
            Call::Vote => {
                let answer = self.raft.vote(codec::decode(payload)?).await;
                codec::encode(&answer.map_err(stopped)?)?
            }
            Call::Fresh => {
                let () = codec::decode(payload)?;
                let fresh = self.reads.fresh().await;
                fresh.map_err(|error| HandleError::NotNow(format!("{error:?}")))?;
                codec::encode(&())?
            }
            Call::ReadIndex => {
                let () = codec::decode(payload)?;
                let index = super::read_index::read_index(&self.raft, self.found).await;
                codec::encode(&index.map_err(|error| HandleError::NotNow(format!("{error:?}")))?)?
            }
            Call::Propose => {
                let outcome = match self.proposer.propose(codec::decode(payload)?).await {
                    Ok(outcome) => Some(outcome),
                    Err(NotProposed::NotLeader(_)) => None,
                    Err(error) => return Err(HandleError::NotNow(format!("{error:?}"))),
                };
                codec::encode(&outcome)?
            }
            Call::ChangeMembers => {
                let change = codec::decode(payload)?;
                codec::encode(&membership::change_here(&self.raft, change).await?)?
            }
        };
        Ok(answer.into())
    }
}

/// Why a message of another voter got no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandleError {
    /// There is no such group here.
    #[error("there is no metadata group {0} here")]
    UnknownGroup(u16),
    /// The message is not what it should be.
    #[error("the message cannot be read: {0}")]
    Malformed(#[from] codec::CodecError),
    /// Perhaps another time, or another voter.
    #[error("not now: {0}")]
    NotNow(String),
    /// The group has stopped.
    #[error("the group has stopped: {0}")]
    Stopped(String),
}

fn stopped(error: RaftError<NodeId>) -> HandleError {
    HandleError::Stopped(error.to_string())
}

fn not_started(group: u16, reason: impl ToString) -> OpenMetadataError {
    OpenMetadataError::Start { group, reason: reason.to_string() }
}

async fn open_files(
    id: u16,
    io: &Io,
    settings: &MetadataSettings,
    founded: bool,
) -> Result<(LogStore, StateStore, Found), OpenMetadataError> {
    let disk = io.disk.clone();
    let settings = settings.clone();
    blocking(move || {
        let paths = GroupPaths::new(id);
        create_dir_all_durable(disk.as_ref(), &paths.folder)?;
        if founded {
            layout::require(disk.as_ref(), &paths.log)?;
            layout::require(disk.as_ref(), &paths.state)?;
        }
        let log = LogStore::open(&disk, &paths, &settings)?;
        let state = StateStore::open(&disk, &paths, &settings)?;
        let found = log.state()?;
        let applied = state.applied()?.log_id.map(|log_id| log_id.index);
        let last = found.last_log_id.map(|log_id| log_id.index);
        let purged = found.last_purged_log_id.map(|log_id| log_id.index);
        if let Some(purged) = purged
            && applied < Some(purged)
        {
            return Err(StateBehindLog { group: id, applied, purged }.into());
        }
        info!(group = id, last_log = last, purged, applied, "metadata group found on disk");
        let term = log.vote()?.map(|vote| vote.leader_id().term);
        Ok((log, state, Found { term, last: found.last_log_id }))
    })
    .await
}

fn raft_config(id: u16, settings: &MetadataSettings) -> Result<Config, OpenMetadataError> {
    let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let config = Config {
        cluster_name: format!("{}/{id}", settings.cluster_id),
        heartbeat_interval: millis(settings.heartbeat_interval),
        election_timeout_min: millis(settings.election_timeout_min),
        election_timeout_max: millis(settings.election_timeout_max),
        max_payload_entries: ENTRIES_PER_MESSAGE_MAX,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(settings.snapshot_interval),
        max_in_snapshot_log_to_keep: settings.entries_kept,
        purge_batch_size: PURGE_BATCH.min(settings.snapshot_interval),
        // A voter is sent the whole state only when the log does not reach back to it any more.
        replication_lag_threshold: settings.snapshot_interval.saturating_mul(2),
        ..Config::default()
    };
    config.validate().map_err(|error| OpenMetadataError::Settings(error.to_string()))
}

/// Founds the group on its very first start. Every founding voter does so with the same map.
async fn initialize(
    id: u16,
    raft: &Raft,
    settings: &MetadataSettings,
) -> Result<(), OpenMetadataError> {
    if raft.is_initialized().await.map_err(|error| not_started(id, error))? {
        return Ok(());
    }
    let voters: BTreeMap<_, _> =
        settings.voters.iter().map(|(id, address)| (*id, BasicNode::new(address))).collect();
    match raft.initialize(voters).await {
        // Another founding voter was quicker and its first entry is here already.
        Ok(()) | Err(RaftError::APIError(openraft::error::InitializeError::NotAllowed(_))) => {
            Ok(())
        }
        Err(error) => Err(not_started(id, error)),
    }
}
