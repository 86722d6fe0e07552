//! Who takes part in a group: voters, learners, their addresses, and who leads.
//!
//! Every node is at least a learner of every group, so that it has the group's state; a few are
//! voters. Only a group's leader can change that: a change asked of another node is handed on to it.
//! Changes are idempotent and come one at a time: one that meets another waits for it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use openraft::{
    BasicNode, ChangeMembers, RaftMetrics,
    error::{ChangeMembershipError, ClientWriteError, RaftError},
};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::{
    HandleError, Metadata, codec,
    error::{GroupStopped, GroupUnavailable},
    group::Group,
    peers::{Call, Peer},
    raft::{NodeId, Raft},
    settings::COORDINATION,
};

/// Pause before a change that met another one is asked for again.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// Who takes part in a group, as this node knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupMembership {
    /// Who votes; of two sets of voters during a change, the one to come.
    pub voters: BTreeSet<NodeId>,
    /// Who only learns.
    pub learners: BTreeSet<NodeId>,
    /// Where they all listen.
    pub addresses: BTreeMap<NodeId, String>,
    /// Is a change of voters under way?
    pub changing: bool,
    /// Up to which entry each has the log; empty unless this node leads.
    pub matched: BTreeMap<NodeId, Option<u64>>,
    /// The last entry in this node's log.
    pub last_log: Option<u64>,
}

/// Who leads a group, as this node knows it: perhaps no longer true.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leader {
    /// In which term.
    pub term: u64,
    /// Who; `None` while nobody is known to.
    pub leader: Option<Peer>,
    /// Is it this node?
    pub here: bool,
}

/// A change to a group's members.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MemberChange {
    /// Add a learner; one that is there stays as it is.
    AddLearner {
        /// Who.
        id: NodeId,
        /// Where it listens.
        address: String,
    },
    /// Make exactly these the voters. They must be members; who was a voter becomes a learner.
    Voters(BTreeSet<NodeId>),
    /// Remove a member, a voter too.
    Remove(NodeId),
    /// A member listens elsewhere now.
    SetAddress {
        /// Who.
        id: NodeId,
        /// Where.
        address: String,
    },
}

/// Why members were not changed, or not known to be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MembershipError {
    /// There is no such group.
    #[error("there is no metadata group {0} here")]
    UnknownGroup(u16),
    /// No leader, another change under way, or no answer.
    #[error(transparent)]
    Unavailable(#[from] GroupUnavailable),
    /// It can never be done: voters that are no members, or none at all.
    #[error("metadata group {group} refuses: {reason}")]
    Refused {
        /// Which.
        group: u16,
        /// Why.
        reason: String,
    },
    /// The group has stopped.
    #[error(transparent)]
    Fatal(#[from] GroupStopped),
}

/// The leader's answer on the wire.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    Done,
    NotLeader,
    Busy(String),
    Refused(String),
}

impl Metadata {
    /// The ids of all groups, the coordination group's first.
    pub fn group_ids(&self) -> Vec<u16> {
        self.all_groups().map(|group| group.id).collect()
    }

    /// Who takes part in a group.
    ///
    /// # Errors
    /// There is no such group.
    pub fn membership(&self, group: u16) -> Result<GroupMembership, HandleError> {
        Ok(membership(&self.group_by_id(group)?.raft))
    }

    /// Who leads a group.
    ///
    /// # Errors
    /// There is no such group.
    pub fn leader(&self, group: u16) -> Result<Leader, HandleError> {
        let group = self.group_by_id(group)?;
        Ok(leader(&group.raft.metrics().borrow()))
    }

    /// Does this node lead the group, as far as it knows? [`Self::led_term`] asks the quorum.
    pub fn is_leader(&self, group: u16) -> bool {
        self.leader(group).is_ok_and(|leader| leader.here)
    }

    /// Who leads a group, as that changes.
    ///
    /// # Errors
    /// There is no such group.
    pub fn leadership(&self, group: u16) -> Result<Leadership, HandleError> {
        let metrics = self.group_by_id(group)?.raft.metrics();
        let seen = leader(&metrics.borrow());
        Ok(Leadership { metrics, seen })
    }

    /// Adds a learner to a group.
    ///
    /// # Errors
    /// See [`MembershipError`].
    pub async fn add_learner(
        &self,
        group: u16,
        id: NodeId,
        address: &str,
    ) -> Result<(), MembershipError> {
        let address = address.to_owned();
        self.change_members(group, MemberChange::AddLearner { id, address }).await
    }

    /// Makes exactly `voters` the voters of a group; who was one becomes a learner.
    ///
    /// # Errors
    /// See [`MembershipError`].
    pub async fn change_voters(
        &self,
        group: u16,
        voters: BTreeSet<NodeId>,
    ) -> Result<(), MembershipError> {
        self.change_members(group, MemberChange::Voters(voters)).await
    }

    /// Removes a member of a group, a voter too.
    ///
    /// # Errors
    /// See [`MembershipError`].
    pub async fn remove_member(&self, group: u16, id: NodeId) -> Result<(), MembershipError> {
        self.change_members(group, MemberChange::Remove(id)).await
    }

    /// Notes where a member listens now.
    ///
    /// # Errors
    /// See [`MembershipError`].
    pub async fn set_address(
        &self,
        group: u16,
        id: NodeId,
        address: &str,
    ) -> Result<(), MembershipError> {
        let address = address.to_owned();
        self.change_members(group, MemberChange::SetAddress { id, address }).await
    }

    /// Changes the members of a group, here or at its leader.
    ///
    /// # Errors
    /// See [`MembershipError`].
    pub async fn change_members(
        &self,
        group: u16,
        change: MemberChange,
    ) -> Result<(), MembershipError> {
        let found = self.group_by_id(group).map_err(|_| MembershipError::UnknownGroup(group))?;
        let (began, within) = (self.inner.clock.monotonic(), self.inner.submit_deadline);
        let answer = tokio::time::timeout(within, ask_until_heard(found, &change, within)).await;
        let unavailable = |reason: String| {
            let waited = self.inner.clock.monotonic().saturating_sub(began);
            Err(GroupUnavailable { group, waited, reason }.into())
        };
        match answer {
            Ok(Ok(Answer::Done)) => Ok(()),
            Ok(Ok(Answer::NotLeader | Answer::Busy(_))) => unavailable("not now".to_owned()),
            Ok(Ok(Answer::Refused(reason))) => Err(MembershipError::Refused { group, reason }),
            Ok(Err(HandleError::Stopped(reason))) => Err(GroupStopped { group, reason }.into()),
            Ok(Err(error)) => unavailable(error.to_string()),
            Err(_) => unavailable("no leader, or another change that does not end".to_owned()),
        }
    }

    fn all_groups(&self) -> impl Iterator<Item = &Group> {
        std::iter::once(&self.inner.coordination).chain(&self.inner.groups)
    }

    pub(super) fn group_by_id(&self, id: u16) -> Result<&Group, HandleError> {
        if id == COORDINATION {
            return Ok(&self.inner.coordination);
        }
        self.inner.groups.get(usize::from(id)).ok_or(HandleError::UnknownGroup(id))
    }
}

/// Who leads, as that changes.
#[derive(Clone, Debug)]
pub struct Leadership {
    metrics: watch::Receiver<RaftMetrics<NodeId, BasicNode>>,
    seen: Leader,
}

impl Leadership {
    /// Who leads now.
    pub fn now(&mut self) -> Leader {
        self.seen = leader(&self.metrics.borrow_and_update());
        self.seen.clone()
    }

    /// Waits until it differs from what was seen last, and answers it; `None` once the group has
    /// stopped. May be dropped at any time.
    pub async fn changed(&mut self) -> Option<Leader> {
        loop {
            let now = leader(&self.metrics.borrow_and_update());
            if now != self.seen {
                self.seen = now;
                return Some(self.seen.clone());
            }
            self.metrics.changed().await.ok()?;
        }
    }
}

fn leader(metrics: &RaftMetrics<NodeId, BasicNode>) -> Leader {
    let known = metrics.current_leader.filter(|_| metrics.running_state.is_ok());
    let peer = known.map(|id| {
        let node = metrics.membership_config.membership().get_node(&id);
        Peer { id, address: node.map(|node| node.addr.clone()).unwrap_or_default() }
    });
    Leader { term: metrics.current_term, leader: peer, here: known == Some(metrics.id) }
}

fn membership(raft: &Raft) -> GroupMembership {
    let metrics = raft.metrics();
    let metrics = metrics.borrow();
    let membership = metrics.membership_config.membership();
    let sets = membership.get_joint_config();
    let voters = sets.last().cloned().unwrap_or_default();
    let addresses: BTreeMap<_, _> =
        membership.nodes().map(|(id, node)| (*id, node.addr.clone())).collect();
    let learners = addresses.keys().filter(|id| !voters.contains(id)).copied().collect();
    let matched = metrics.replication.iter().flatten();
    GroupMembership {
        learners,
        voters,
        addresses,
        changing: sets.len() > 1,
        matched: matched.map(|(id, log_id)| (*id, log_id.map(|log_id| log_id.index))).collect(),
        last_log: metrics.last_log_index,
    }
}

/// Asks again while another change is under way or nobody leads, which is over in a moment.
async fn ask_until_heard(
    group: &Group,
    change: &MemberChange,
    within: Duration,
) -> Result<Answer, HandleError> {
    loop {
        match ask(group, change, within).await {
            Ok(Answer::Busy(_) | Answer::NotLeader) | Err(HandleError::NotNow(_)) => {
                tokio::time::sleep(RETRY_PAUSE).await;
            }
            other => return other,
        }
    }
}

/// Changes members here, or at the leader if that is another node.
async fn ask(
    group: &Group,
    change: &MemberChange,
    within: Duration,
) -> Result<Answer, HandleError> {
    let here = change_here(&group.raft, change.clone()).await?;
    let leader = leader(&group.raft.metrics().borrow());
    let (Answer::NotLeader, Some(leader), false) = (&here, leader.leader, leader.here) else {
        return Ok(here);
    };
    let question = codec::encode(change)?;
    let asked = group.peers.call(leader, group.id, Call::ChangeMembers, question.into(), within);
    let answer = asked.await.map_err(|error| HandleError::NotNow(error.to_string()))?;
    Ok(codec::decode(&answer)?)
}

/// Changes members if this node leads.
pub(super) async fn change_here(raft: &Raft, change: MemberChange) -> Result<Answer, HandleError> {
    let node = |id, address: &str| BTreeMap::from([(id, BasicNode::new(address))]);
    let steps = match change {
        MemberChange::AddLearner { id, address } => {
            vec![ChangeMembers::AddNodes(node(id, &address))]
        }
        MemberChange::Voters(voters) => vec![ChangeMembers::ReplaceAllVoters(voters)],
        MemberChange::SetAddress { id, address } => {
            if !membership(raft).addresses.contains_key(&id) {
                return Ok(Answer::Refused(format!("node {id} is no member")));
            }
            vec![ChangeMembers::SetNodes(node(id, &address))]
        }
        MemberChange::Remove(id) => {
            let demote = ChangeMembers::RemoveVoters(BTreeSet::from([id]));
            let was_voter = membership(raft).voters.contains(&id);
            let remove = ChangeMembers::RemoveNodes(BTreeSet::from([id]));
            was_voter.then_some(demote).into_iter().chain([remove]).collect()
        }
    };
    for step in steps {
        match raft.change_membership(step, true).await {
            Ok(_) => {}
            Err(RaftError::APIError(error)) => return Ok(refused(error)),
            Err(RaftError::Fatal(fatal)) => return Err(HandleError::Stopped(fatal.to_string())),
        }
    }
    Ok(Answer::Done)
}

fn refused(error: ClientWriteError<NodeId, BasicNode>) -> Answer {
    match error {
        ClientWriteError::ForwardToLeader(_) => Answer::NotLeader,
        ClientWriteError::ChangeMembershipError(error) => match error {
            ChangeMembershipError::InProgress(error) => Answer::Busy(error.to_string()),
            ChangeMembershipError::EmptyMembership(error) => Answer::Refused(error.to_string()),
            ChangeMembershipError::LearnerNotFound(error) => Answer::Refused(error.to_string()),
        },
    }
}
