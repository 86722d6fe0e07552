//! The OCI error table: what a client is told, and with which status. There is no other.
//!
//! Codes are those of the distribution-spec ("Error Codes") and the few that every registry and
//! client knows beside them; the status of each is what distribution answers, because clients act
//! on it. An error has two faces: `message` and `detail` go to the client and never name a path or
//! an internal cause; `cause` goes to the log.

use std::fmt;

use http::StatusCode;
use serde_json::{Value, json};

/// The `code` of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are the spec's own")]
pub enum ErrorCode {
    BlobUnknown,
    BlobUploadInvalid,
    BlobUploadUnknown,
    DigestInvalid,
    ManifestBlobUnknown,
    ManifestInvalid,
    ManifestUnknown,
    NameInvalid,
    NameUnknown,
    SizeInvalid,
    Denied,
    Unsupported,
    TooManyRequests,
    RangeInvalid,
    PaginationNumberInvalid,
    Unknown,
    Unavailable,
}

impl ErrorCode {
    /// The code's text and the status it is sent with unless the case asks for another.
    pub const fn row(self) -> (&'static str, StatusCode) {
        match self {
            ErrorCode::BlobUnknown => ("BLOB_UNKNOWN", StatusCode::NOT_FOUND),
            ErrorCode::BlobUploadInvalid => ("BLOB_UPLOAD_INVALID", StatusCode::BAD_REQUEST),
            ErrorCode::BlobUploadUnknown => ("BLOB_UPLOAD_UNKNOWN", StatusCode::NOT_FOUND),
            ErrorCode::DigestInvalid => ("DIGEST_INVALID", StatusCode::BAD_REQUEST),
            ErrorCode::ManifestBlobUnknown => ("MANIFEST_BLOB_UNKNOWN", StatusCode::BAD_REQUEST),
            ErrorCode::ManifestInvalid => ("MANIFEST_INVALID", StatusCode::BAD_REQUEST),
            ErrorCode::ManifestUnknown => ("MANIFEST_UNKNOWN", StatusCode::NOT_FOUND),
            ErrorCode::NameInvalid => ("NAME_INVALID", StatusCode::BAD_REQUEST),
            ErrorCode::NameUnknown => ("NAME_UNKNOWN", StatusCode::NOT_FOUND),
            ErrorCode::SizeInvalid => ("SIZE_INVALID", StatusCode::BAD_REQUEST),
            ErrorCode::Denied => ("DENIED", StatusCode::FORBIDDEN),
            ErrorCode::Unsupported => ("UNSUPPORTED", StatusCode::METHOD_NOT_ALLOWED),
            ErrorCode::TooManyRequests => ("TOOMANYREQUESTS", StatusCode::TOO_MANY_REQUESTS),
            ErrorCode::RangeInvalid => ("RANGE_INVALID", StatusCode::RANGE_NOT_SATISFIABLE),
            ErrorCode::PaginationNumberInvalid => {
                ("PAGINATION_NUMBER_INVALID", StatusCode::BAD_REQUEST)
            }
            ErrorCode::Unknown => ("UNKNOWN", StatusCode::INTERNAL_SERVER_ERROR),
            ErrorCode::Unavailable => ("UNAVAILABLE", StatusCode::SERVICE_UNAVAILABLE),
        }
    }

    /// Starts an error of this code.
    pub fn error(self, message: impl fmt::Display) -> RegistryError {
        RegistryError {
            code: self,
            status: self.row().1,
            message: message.to_string(),
            detail: Value::Null,
            retry_after_seconds: None,
            upload: None,
            closes_connection: false,
            cause: None,
        }
    }
}

/// One answer that is not a success.
#[derive(Debug, thiserror::Error)]
#[error("{}: {message}", code.row().0)]
pub struct RegistryError {
    /// The OCI code.
    pub code: ErrorCode,
    /// The HTTP status.
    pub status: StatusCode,
    /// What was received, what is allowed, what to do next. For the client.
    pub message: String,
    /// More for machines.
    pub detail: Value,
    /// When to come back.
    pub retry_after_seconds: Option<u32>,
    /// Where the upload session stands, for answers that tell the client how to go on.
    pub upload: Option<UploadPosition>,
    /// Must the connection end with this answer, because what follows on it cannot be trusted?
    pub closes_connection: bool,
    /// What happened inside. For the log only.
    #[source]
    pub cause: Option<anyhow::Error>,
}

/// Where an upload session stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadPosition {
    /// The session's URL, relative.
    pub location: String,
    /// Bytes received.
    pub offset: u64,
}

/// What a client is told to wait when the node is short of something.
const RETRY_AFTER_SECONDS: u32 = 2;

impl RegistryError {
    /// Sends another status than the table's.
    pub fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// Adds a machine-readable detail.
    pub fn with_detail(mut self, detail: Value) -> Self {
        self.detail = detail;
        self
    }

    /// Says when to come back.
    pub fn with_retry_after(mut self, seconds: u32) -> Self {
        self.retry_after_seconds = Some(seconds);
        self
    }

    /// Says where the upload session stands.
    pub fn with_upload(mut self, upload: UploadPosition) -> Self {
        self.upload = Some(upload);
        self
    }

    /// Ends the connection with this answer.
    pub fn and_close(mut self) -> Self {
        self.closes_connection = true;
        self
    }

    /// Keeps the inner cause for the log.
    pub fn with_cause(mut self, cause: impl Into<anyhow::Error>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// The node cannot answer now but may soon: always 503 with `Retry-After`, which docker retries
    /// (a 429 makes `docker push` give up at once).
    pub fn unavailable(
        message: impl fmt::Display,
        cause: impl Into<anyhow::Error>,
    ) -> RegistryError {
        ErrorCode::Unavailable
            .error(message)
            .with_retry_after(RETRY_AFTER_SECONDS)
            .with_cause(cause)
    }

    /// Something inside is broken.
    pub fn internal(cause: impl Into<anyhow::Error>) -> RegistryError {
        ErrorCode::Unknown
            .error("the node could not do this; its log says why under the request id")
            .with_cause(cause)
    }

    /// The body of the answer.
    pub fn body(&self, request_id: &str) -> Value {
        let mut detail = match &self.detail {
            Value::Object(fields) => fields.clone(),
            Value::Null => serde_json::Map::new(),
            other => serde_json::Map::from_iter([("info".to_owned(), other.clone())]),
        };
        detail.insert("requestId".to_owned(), request_id.into());
        json!({"errors": [{
            "code": self.code.row().0,
            "message": self.message,
            "detail": detail,
        }]})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_has_the_spec_shape_and_the_request_id() {
        let error = ErrorCode::BlobUnknown
            .error("no such blob")
            .with_detail(json!({"digest": "sha256:00"}));
        assert_eq!(
            error.body("r-1"),
            json!({"errors": [{
                "code": "BLOB_UNKNOWN",
                "message": "no such blob",
                "detail": {"digest": "sha256:00", "requestId": "r-1"},
            }]})
        );
    }

    #[test]
    fn the_cause_stays_inside() {
        let error = RegistryError::internal(anyhow::anyhow!("/data/blobs: input/output error"));
        assert!(!error.body("r-1").to_string().contains("/data"));
    }
}
