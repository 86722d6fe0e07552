//! openraft's view of the [`StateStore`]: apply, snapshot, install.

use openraft::{
    AnyError, OptionalSend, RaftSnapshotBuilder, Snapshot as RaftSnapshot, StorageIOError,
    storage::RaftStateMachine,
};

use super::{
    error::StoreError,
    raft::{Entry, LogId, Membership, Outcomes, SnapshotMeta, StorageError, TypeConfig},
    state::{Applied, StateStore},
    transfer::{ReceivedState, SnapshotData},
};
use crate::io::{Sometimes, rt::blocking};

/// A group's state machine. Clones share the state.
#[derive(Clone, Debug)]
pub(super) struct StateMachine {
    pub store: StateStore,
}

fn cannot_read(error: StoreError) -> StorageError {
    StorageIOError::read_state_machine(AnyError::new(&error)).into()
}

fn cannot_write(error: StoreError) -> StorageError {
    StorageIOError::write_state_machine(AnyError::new(&error)).into()
}

fn meta_of(applied: Applied) -> SnapshotMeta {
    let snapshot_id = applied.log_id.map_or_else(String::new, |log_id| log_id.to_string());
    SnapshotMeta { last_log_id: applied.log_id, last_membership: applied.membership, snapshot_id }
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, Membership), StorageError> {
        let store = self.store.clone();
        let applied = blocking(move || store.applied()).await.map_err(cannot_read)?;
        Ok((applied.log_id, applied.membership))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<Outcomes>, StorageError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        let store = self.store.clone();
        blocking(move || store.apply(&entries)).await.map_err(cannot_write)
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<SnapshotData>, StorageError> {
        // States arrive through `transfer::Receiver`, never through openraft's own chunks.
        let error = AnyError::error("snapshots are received as a stream of frames");
        Err(StorageIOError::write_snapshot(None, error).into())
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: Box<SnapshotData>,
    ) -> Result<(), StorageError> {
        let cannot_install = |error: AnyError| -> StorageError {
            StorageIOError::write_snapshot(Some(meta.signature()), error).into()
        };
        let SnapshotData::Received(received) = *snapshot else {
            return Err(cannot_install(AnyError::error("not a received snapshot")));
        };
        let store = self.store.clone();
        let ReceivedState { database, turn } = received;
        let replaced = blocking(move || {
            let replaced = store.replace(database);
            // Only now may the next transfer write beside the state.
            drop(turn);
            Sometimes::SnapshotInstalled.reached();
            replaced
        });
        replaced.await.map_err(|error| cannot_install(AnyError::new(&error)))
    }

    async fn get_current_snapshot(
        &mut self,
    ) -> Result<Option<RaftSnapshot<TypeConfig>>, StorageError> {
        let store = self.store.clone();
        let snapshot = blocking(move || {
            let snapshot = store.snapshot()?;
            Ok((snapshot.applied()?, snapshot))
        });
        let (applied, snapshot) = snapshot.await.map_err(cannot_read)?;
        Ok(applied.log_id.is_some().then(|| RaftSnapshot {
            meta: meta_of(applied),
            snapshot: Box::new(SnapshotData::Local(Box::new(snapshot))),
        }))
    }
}

impl RaftSnapshotBuilder<TypeConfig> for StateMachine {
    async fn build_snapshot(&mut self) -> Result<RaftSnapshot<TypeConfig>, StorageError> {
        let store = self.store.clone();
        // The log is purged up to the position given here: it must be the one that is durable, and
        // not what was applied meanwhile.
        let applied = blocking(move || store.sync()).await.map_err(cannot_write)?;
        Ok(RaftSnapshot { meta: meta_of(applied), snapshot: Box::new(SnapshotData::Synced) })
    }
}
