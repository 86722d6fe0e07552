//! What the agent itself refuses, in the form every registry client reads.
//!
//! Most errors a caller sees were said by a node and pass through unchanged. These are the few that
//! the agent says: a request it must not serve, a registry that is not its own, nodes out of reach.
//! The codes are those of the distribution-spec; `detail` names the agent, so that nobody looks for
//! the cause in the registry.

use http::{HeaderValue, Response, StatusCode, header};
use serde_json::json;

use super::body::{self, Body};

/// Seconds after which a caller may try again when no node answered.
const RETRY_AFTER_SECONDS: u32 = 1;

/// One answer that the agent gives instead of a node's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Refusal {
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl Refusal {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Refusal {
        Refusal { status, code, message: message.into() }
    }

    /// 403: the request may not be served, whoever sends it.
    pub fn denied(message: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::FORBIDDEN, "DENIED", message)
    }

    /// 404: another registry is meant; the caller shall ask there.
    pub fn foreign(message: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::NOT_FOUND, "NAME_UNKNOWN", message)
    }

    /// 404: no such path.
    pub fn no_path(message: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::NOT_FOUND, "UNSUPPORTED", message)
    }

    /// 503: no node answered.
    pub fn unavailable(message: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE", message)
    }

    /// 502: a node answered with something that is not what was asked for.
    pub fn bad_answer(message: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::BAD_GATEWAY, "UNAVAILABLE", message)
    }

    /// The status it is sent with.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The answer; to a `HEAD` (`bodyless`) without its text.
    pub fn answer(&self, bodyless: bool) -> Response<Body> {
        let error =
            json!({"code": self.code, "message": self.message, "detail": {"by": "atoll agent"}});
        let text = json!({ "errors": [error] }).to_string();
        let mut answer = Response::new(if bodyless { body::empty() } else { body::full(text) });
        *answer.status_mut() = self.status;
        let headers = answer.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, RETRY_AFTER_SECONDS.into());
        }
        answer
    }
}
