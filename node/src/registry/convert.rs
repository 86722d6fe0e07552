//! From what went wrong inside to what a client is told. One `From` per error type, each matched in
//! full: a new way to fail makes the compiler ask what clients are to see.

use std::sync::Arc;

use atoll_core::{
    manifest::ManifestError,
    metadata::{command::Refusal, query::QueryError},
    upload::BlobTooLarge,
};
use http::StatusCode;
use serde_json::json;

use super::{ErrorCode, RegistryError};
use crate::{
    auth::AccessDenied,
    metadata::{ReadError as MetadataReadError, SubmitError},
    replicate::{FetchError, WriteError},
    store::{CommitError, NoSpace, ReadError, UploadError},
};

/// When to come back after the node ran out of sessions or of upload bytes: others must end first.
const RETRY_WHEN_CROWDED_SECONDS: u32 = 10;

/// When to come back after the disk was full: an operator must act, or a collection must run.
const RETRY_WHEN_FULL_SECONDS: u32 = 60;

impl From<AccessDenied> for RegistryError {
    fn from(denied: AccessDenied) -> Self {
        match denied {
            AccessDenied::ReadOnly => ErrorCode::Denied.error(denied),
        }
    }
}

impl From<ManifestError> for RegistryError {
    fn from(error: ManifestError) -> Self {
        let too_large = matches!(error, ManifestError::TooLarge { .. });
        let answer = ErrorCode::ManifestInvalid.error(error);
        if too_large { answer.with_status(StatusCode::PAYLOAD_TOO_LARGE) } else { answer }
    }
}

impl From<Refusal> for RegistryError {
    fn from(refusal: Refusal) -> Self {
        let message = refusal.to_string();
        match refusal {
            Refusal::RepoUnknown { repo } => {
                ErrorCode::NameUnknown.error(message).with_detail(json!({"name": repo}))
            }
            Refusal::BlobUnknown { digest, .. } => {
                ErrorCode::BlobUnknown.error(message).with_detail(json!({"digest": digest}))
            }
            Refusal::ManifestBlobUnknown { missing, .. } => {
                let named: Vec<String> = missing.iter().map(ToString::to_string).collect();
                ErrorCode::ManifestBlobUnknown
                    .error(format_args!("{message}: {}; push them first", named.join(", ")))
                    .with_detail(json!({"missing": missing}))
            }
            Refusal::ManifestUnknown { digest, .. } => {
                ErrorCode::ManifestUnknown.error(message).with_detail(json!({"digest": digest}))
            }
            Refusal::TagUnknown { tag, .. } => {
                ErrorCode::ManifestUnknown.error(message).with_detail(json!({"tag": tag}))
            }
            Refusal::PreconditionFailed { tag, found } => ErrorCode::Denied
                .error(format_args!("the condition of the request does not hold: {message}"))
                .with_status(StatusCode::PRECONDITION_FAILED)
                .with_detail(json!({"tag": tag, "digest": found})),
            Refusal::TagProtected { tag } => {
                ErrorCode::Denied.error(message).with_detail(json!({"tag": tag}))
            }
            Refusal::Expired => RegistryError::unavailable(
                "the request is too old to be told from a retry",
                refusal,
            ),
            Refusal::Reverify => {
                RegistryError::unavailable("unused blobs are being collected; push again", refusal)
            }
            Refusal::GcEpochPassed { .. } => RegistryError::internal(refusal),
        }
    }
}

impl From<UploadError> for RegistryError {
    fn from(error: UploadError) -> Self {
        match error {
            UploadError::Unknown(_) | UploadError::Cancelled(_) => {
                ErrorCode::BlobUploadUnknown.error(error)
            }
            UploadError::Busy(_) => {
                RegistryError::unavailable("another request is writing this upload session", error)
            }
            UploadError::OutOfOrder(_) => ErrorCode::BlobUploadInvalid
                .error(error)
                .with_status(StatusCode::RANGE_NOT_SATISFIABLE),
            UploadError::TooManySessions(_) => {
                ErrorCode::TooManyRequests.error(error).with_retry_after(RETRY_WHEN_CROWDED_SECONDS)
            }
            UploadError::TooLarge(error) => error.into(),
            UploadError::BudgetExhausted(_) => {
                let message = "the unfinished uploads of this node use all the room they may";
                RegistryError::unavailable(message, error)
                    .with_retry_after(RETRY_WHEN_CROWDED_SECONDS)
            }
            UploadError::NoSpace(error) => error.into(),
            UploadError::Io(error) => {
                RegistryError::unavailable("the disk failed; push the blob again", error)
            }
        }
    }
}

impl From<CommitError> for RegistryError {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Unknown(_) => ErrorCode::BlobUploadUnknown.error(error),
            CommitError::DigestMismatch(mismatch) => ErrorCode::DigestInvalid
                .error(&mismatch)
                .with_detail(json!({"expected": mismatch.expected, "computed": mismatch.computed})),
            CommitError::TooLarge(error) => error.into(),
            CommitError::NoSpace(error) => error.into(),
            CommitError::Io(error) => {
                RegistryError::unavailable("the disk failed; push the blob again", error)
            }
        }
    }
}

impl From<BlobTooLarge> for RegistryError {
    fn from(error: BlobTooLarge) -> Self {
        ErrorCode::SizeInvalid.error(error).with_status(StatusCode::PAYLOAD_TOO_LARGE)
    }
}

impl From<NoSpace> for RegistryError {
    fn from(error: NoSpace) -> Self {
        let message = "this node has no room for uploads; pulls go on, pushes work again once \
                       space is freed";
        RegistryError::unavailable(message, error).with_retry_after(RETRY_WHEN_FULL_SECONDS)
    }
}

const UNREADABLE: &str = "the content is known but its copy here is damaged; push it again";

impl From<ReadError> for RegistryError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Corrupt(_) | ReadError::Damaged(_) => {
                RegistryError::unavailable(UNREADABLE, error)
            }
            ReadError::OverLimit(_) => RegistryError::internal(error),
            ReadError::Io(_) => {
                RegistryError::unavailable("the disk cannot read the content now", error)
            }
        }
    }
}

impl From<Arc<ReadError>> for RegistryError {
    fn from(error: Arc<ReadError>) -> Self {
        match Arc::try_unwrap(error) {
            Ok(error) => error.into(),
            // Others wait for the same read: each gets an error of its own with the cause's text.
            Err(shared) => {
                let cause = anyhow::anyhow!("{shared}");
                match &*shared {
                    ReadError::Corrupt(_) | ReadError::Damaged(_) => {
                        RegistryError::unavailable(UNREADABLE, cause)
                    }
                    ReadError::OverLimit(_) => RegistryError::internal(cause),
                    ReadError::Io(_) => {
                        RegistryError::unavailable("the disk cannot read the content now", cause)
                    }
                }
            }
        }
    }
}

impl From<FetchError> for RegistryError {
    fn from(error: FetchError) -> Self {
        match error {
            FetchError::Local(error) => error.into(),
            FetchError::OutOfReach(_) => {
                let message = "the content is known but no copy of it can be read now; push it \
                               again if this goes on";
                RegistryError::unavailable(message, error)
            }
            FetchError::WrongBytes(_) => {
                RegistryError::unavailable("a copy of the content is damaged; try again", error)
            }
        }
    }
}

impl From<WriteError> for RegistryError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Commit(error) => error.into(),
            WriteError::TooFewCopies(_) => RegistryError::unavailable(
                "too few nodes can store the content now; push it again",
                error,
            ),
            WriteError::Fenced(_) => RegistryError::unavailable(
                "this node has lost touch with its cluster; try again or ask another",
                error,
            ),
            WriteError::ViewLate(_) => {
                RegistryError::unavailable("the cluster is changing; push the content again", error)
            }
            WriteError::Debt(_) => {
                RegistryError::unavailable("the disk failed; push the blob again", error)
            }
        }
    }
}

impl From<SubmitError> for RegistryError {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::Unavailable(_) | SubmitError::Overloaded(_) => {
                RegistryError::unavailable("the metadata cannot be changed now; try again", error)
            }
            SubmitError::NoRoom(_) => {
                let message = "this node has no room for changes; pulls go on, changes work again \
                               once space is freed";
                RegistryError::unavailable(message, error).with_retry_after(RETRY_WHEN_FULL_SECONDS)
            }
            SubmitError::Fatal(_) => {
                let message = "the metadata of this node has stopped; its operator must act";
                RegistryError::unavailable(message, error)
            }
        }
    }
}

impl From<MetadataReadError> for RegistryError {
    fn from(error: MetadataReadError) -> Self {
        RegistryError::unavailable("the metadata cannot be read now; try again", error)
    }
}

impl From<QueryError<MetadataReadError>> for RegistryError {
    fn from(error: QueryError<MetadataReadError>) -> Self {
        match error {
            QueryError::Kv(error) => error.into(),
            QueryError::Corrupt(_) => RegistryError::internal(error),
        }
    }
}
