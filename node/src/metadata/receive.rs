//! A state that arrives from the leader.

use futures_util::{Stream, StreamExt};
use openraft::raft::SnapshotResponse;

use super::{
    HandleError, Metadata, codec,
    group::Group,
    network::SnapshotHeader,
    raft::NodeId,
    transfer::{Frame, Receiver, SnapshotData, TransferError},
};

/// Why a state was not taken.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveSnapshotError {
    /// See [`HandleError`].
    #[error(transparent)]
    Handle(#[from] HandleError),
    /// The frames.
    #[error(transparent)]
    Transfer(#[from] TransferError),
}

impl Metadata {
    /// Takes a whole state from the leader. `header` and answer are opaque. Nothing changes unless
    /// every frame came, up to the last.
    pub async fn receive_snapshot<E: Send>(
        &self,
        group: u16,
        header: &[u8],
        frames: impl Stream<Item = Result<Frame, E>> + Send,
    ) -> Result<bytes::Bytes, ReceiveSnapshotError> {
        let group = self.group_by_id(group)?;
        let header: SnapshotHeader = codec::decode(header).map_err(HandleError::from)?;
        receive(group, header, frames).await
    }
}

async fn receive<E: Send>(
    group: &Group,
    header: SnapshotHeader,
    frames: impl Stream<Item = Result<Frame, E>> + Send,
) -> Result<bytes::Bytes, ReceiveSnapshotError> {
    let turn = group.receiving.clone().try_acquire_owned().map_err(|_| TransferError::Busy)?;
    let mut receiver = Receiver::begin(group.state.clone(), turn).await?;
    let mut frames = std::pin::pin!(frames);
    // A broken stream ends like one that was given up: `finish` sees that the end is missing.
    while let Some(Ok(frame)) = frames.next().await {
        receiver = receiver.write(frame).await?;
    }
    let received = receiver.finish(&header.meta).await?;
    let snapshot = openraft::Snapshot {
        meta: header.meta,
        snapshot: Box::new(SnapshotData::Received(received)),
    };
    let answer: SnapshotResponse<NodeId> = group
        .raft
        .install_full_snapshot(header.vote, snapshot)
        .await
        .map_err(|fatal| HandleError::Stopped(fatal.to_string()))?;
    Ok(codec::encode(&answer).map_err(HandleError::from)?.into())
}
