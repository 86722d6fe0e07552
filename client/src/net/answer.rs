//! An answer whose body is still on the way.

use std::{io, time::Duration};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, StatusCode, header};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use tokio::time::timeout;

use super::pool::Lease;
use crate::endpoint::Endpoint;

/// Bytes of an error's body that are read.
const ERROR_BYTES_MAX: usize = 64 << 10;

/// An answer: its head is here, its body comes when it is asked for.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// Who answered.
    pub(crate) endpoint: Endpoint,
    body: Incoming,
    lease: Option<Lease>,
    stall: Duration,
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Answer({} from {})", self.status, self.endpoint)
    }
}

impl Answer {
    pub(crate) fn new(
        response: http::Response<Incoming>,
        endpoint: Endpoint,
        lease: Lease,
        stall: Duration,
    ) -> Answer {
        let (parts, body) = response.into_parts();
        let mut answer = Answer {
            status: parts.status,
            headers: parts.headers,
            endpoint,
            body,
            lease: Some(lease),
            stall,
        };
        if answer.body.is_end_stream() {
            answer.give_back();
        }
        answer
    }

    /// A header as text.
    pub(crate) fn header(&self, name: &HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The declared length.
    pub(crate) fn content_length(&self) -> Option<u64> {
        self.header(&header::CONTENT_LENGTH)?.parse().ok()
    }

    /// The next bytes; `None` at the end.
    ///
    /// # Errors
    /// The connection broke, or nothing came for too long.
    pub(crate) async fn next(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            let Ok(frame) = timeout(self.stall, self.body.frame()).await else {
                let message = format!("the body stood still for {:?}", self.stall);
                return Err(io::Error::new(io::ErrorKind::TimedOut, message));
            };
            match frame {
                None => {
                    self.give_back();
                    return Ok(None);
                }
                Some(Err(error)) => return Err(io::Error::other(with_cause(&error))),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data()
                        && !data.is_empty()
                    {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }

    /// The whole body.
    ///
    /// # Errors
    /// As [`Self::next`], or it has more than `max` bytes.
    pub(crate) async fn whole(&mut self, max: usize) -> io::Result<Bytes> {
        let mut first = Bytes::new();
        let mut all: Option<BytesMut> = None;
        let mut len = 0;
        while let Some(data) = self.next().await? {
            len += data.len();
            if len > max {
                let message = format!("the answer has more than {max} bytes");
                return Err(io::Error::new(io::ErrorKind::InvalidData, message));
            }
            match &mut all {
                Some(all) => all.extend_from_slice(&data),
                None if first.is_empty() => first = data,
                None => {
                    let mut both = BytesMut::from(first.as_ref());
                    both.extend_from_slice(&data);
                    all = Some(both);
                }
            }
        }
        Ok(all.map_or(first, BytesMut::freeze))
    }

    /// The body of an error as text for people: `CODE: message`, as far as it can be had.
    pub(crate) async fn detail(&mut self) -> String {
        let body = self.whole(ERROR_BYTES_MAX).await.unwrap_or_default();
        crate::oci_error::describe(&body)
    }

    fn give_back(&mut self) {
        let closes = self.header(&header::CONNECTION).is_some_and(|value| value.contains("close"));
        if let Some(lease) = self.lease.take().filter(|_| !closes) {
            lease.give_back();
        }
    }
}

/// An error with what caused it: hyper says "error reading a body" and keeps the reason inside.
pub(crate) fn with_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
