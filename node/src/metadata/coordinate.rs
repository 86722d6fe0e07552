//! The coordination group's own doors: [`crate::coordination`] stands on them.

use std::time::Duration;

use atoll_core::{
    coordination,
    metadata::{Command, Outcome, Request},
};
use tokio::sync::broadcast;

use super::{
    Metadata,
    changes::Applied,
    error::{GroupStopped, GroupUnavailable, ReadError, SubmitError},
    settings::COORDINATION,
    state::Snapshot,
};

impl Metadata {
    /// Changes the tree: returns what came of it once it is committed, on this node or another. Ask
    /// [`Self::coordination_applied`] before reading it here.
    ///
    /// # Errors
    /// Those of [`Metadata::submit`].
    pub async fn coordinate(
        &self,
        command: coordination::Command,
    ) -> Result<coordination::Outcome, SubmitError> {
        match self.submit(Command::Coordinate(command)).await? {
            Outcome::Coordinated(outcome) => Ok(outcome),
            // Only an answer that came too late to be kept.
            other => Err(self.no_answer(format!("{other:?}")).into()),
        }
    }

    /// As [`Self::coordinate`], only if this node leads the group, and tried once: for what nobody but
    /// the leader may say. `None` when it does not lead, or when nothing is known.
    pub async fn coordinate_as_leader(
        &self,
        command: coordination::Command,
    ) -> Option<coordination::Outcome> {
        let request = Request { id: self.next_request(), command: Command::Coordinate(command) };
        match self.inner.coordination.proposer.propose(request).await {
            Ok(Outcome::Coordinated(outcome)) => Some(outcome),
            Ok(_) | Err(_) => None,
        }
    }

    /// The tree as it is applied here.
    ///
    /// # Errors
    /// Those of [`Metadata::snapshot`].
    pub fn coordination_snapshot(&self) -> Result<Snapshot, ReadError> {
        self.inner.coordination.snapshot()
    }

    /// Waits until this node has applied everything acknowledged before the call, anywhere.
    ///
    /// # Errors
    /// Those of [`Metadata::linearizable`].
    pub async fn coordination_fresh(&self) -> Result<(), ReadError> {
        self.fresh(&self.inner.coordination).await.map(drop)
    }

    /// Waits until this node has applied the entry at `index`, for at most `within`.
    ///
    /// # Errors
    /// It does not come in time, or the group has stopped.
    pub async fn coordination_applied(
        &self,
        index: u64,
        within: Duration,
    ) -> Result<(), ReadError> {
        let wait = self.inner.coordination.raft.wait(Some(within));
        match wait.applied_index_at_least(Some(index), "a change is seen").await {
            Ok(_) => Ok(()),
            Err(openraft::metrics::WaitError::Timeout(waited, _)) => {
                let reason = format!("entry {index} is not applied here yet");
                Err(GroupUnavailable { group: COORDINATION, waited, reason }.into())
            }
            Err(error) => {
                Err(GroupStopped { group: COORDINATION, reason: error.to_string() }.into())
            }
        }
    }

    /// The term in which this node leads a group, confirmed by a quorum after the call began; `None`
    /// when another node leads.
    ///
    /// # Errors
    /// Those of [`Metadata::linearizable`], and no such group.
    pub async fn led_term(&self, group: u16) -> Result<Option<u64>, ReadError> {
        let Ok(found) = self.group_by_id(group) else {
            let reason = "there is no such group".to_owned();
            return Err(GroupStopped { group, reason }.into());
        };
        Ok(self.fresh(found).await?.led_term)
    }

    /// What the coordination group applies here from now on.
    pub fn coordination_changes(&self) -> broadcast::Receiver<Applied> {
        let changes = self.inner.coordination.state.changes().listen();
        changes.unwrap_or_else(|| broadcast::channel(1).1)
    }

    fn no_answer(&self, reason: String) -> GroupUnavailable {
        GroupUnavailable { group: COORDINATION, waited: self.inner.submit_deadline, reason }
    }
}
