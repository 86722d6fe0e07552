//! One request to an admin listener.
//!
//! A connection for each request: the tool asks once a second at most, and a node that was restarted
//! meanwhile needs no care.

use std::{fmt, str::FromStr, time::Duration};

use atoll_core::admin::Failure;
use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;

use crate::problem::Problem;

/// The port of an admin listener, where none is written.
const DEFAULT_PORT: u16 = 5002;

/// The longest answer that is read: a status of a thousand nodes is about one megabyte.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Characters of a strange answer that are shown.
const ECHO_CHARS_MAX: usize = 200;

/// Where an admin listener is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminAddress {
    /// Host name or IP address; IPv6 in brackets.
    host: String,
    port: u16,
}

impl FromStr for AdminAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not an address like 127.0.0.1:5002 or reef-1:5002");
        if text.starts_with("https://") {
            return Err("admin listeners speak no https: write HOST:PORT".to_owned());
        }
        let text = text.strip_prefix("http://").unwrap_or(text);
        let text = text.strip_suffix('/').unwrap_or(text);
        let after_bracket = text.find(']').map_or(0, |at| at + 1);
        let (host, port) = match text[after_bracket..].split_once(':') {
            None => (text, DEFAULT_PORT),
            Some((host, port)) => {
                (&text[..after_bracket + host.len()], port.parse().map_err(|_| wrong())?)
            }
        };
        let odd = |found: char| found.is_whitespace() || "/@:?#".contains(found);
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let is_host = match bare {
            Some(bare) => bare.parse::<std::net::Ipv6Addr>().is_ok(),
            None => !host.is_empty() && !host.contains(odd) && !host.contains(['[', ']']),
        };
        if is_host && port > 0 { Ok(Self { host: host.to_owned(), port }) } else { Err(wrong()) }
    }
}

impl fmt::Display for AdminAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// A way to ask.
#[derive(Clone, Debug)]
pub struct Admin {
    address: AdminAddress,
    timeout: Duration,
}

/// An answer: as it came, and as it is understood.
#[derive(Clone, Debug)]
pub struct Answer<T> {
    /// The JSON as the node wrote it.
    pub json: serde_json::Value,
    /// What it says.
    pub value: T,
}

impl Admin {
    /// Asks the listener at `address`; each answer may take `timeout`.
    pub fn new(address: AdminAddress, timeout: Duration) -> Admin {
        Admin { address, timeout }
    }

    /// Reads something.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<Answer<T>, Problem> {
        self.ask(Method::GET, path, Bytes::new()).await
    }

    /// Asks for something to be done.
    pub async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl serde::Serialize,
    ) -> Result<Answer<T>, Problem> {
        let body = serde_json::to_vec(body).map_err(|error| Problem::Failed(error.to_string()))?;
        self.ask(Method::POST, path, body.into()).await
    }

    /// Asks for something to be taken away.
    pub async fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<Answer<T>, Problem> {
        self.ask(Method::DELETE, path, Bytes::new()).await
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Answer<T>, Problem> {
        let exchange = self.exchange(method, path, body);
        let Ok(answered) = tokio::time::timeout(self.timeout, exchange).await else {
            return Err(Problem::Unreachable(format!(
                "{} did not answer {path} within {:?}; allow more with --timeout",
                self.address, self.timeout
            )));
        };
        let (status, body) = answered?;
        let json: serde_json::Value =
            serde_json::from_slice(&body).map_err(|_| self.strange(status, &body))?;
        if status.is_success() {
            let value = serde_json::from_value(json.clone());
            return value
                .map(|value| Answer { json, value })
                .map_err(|_| self.strange(status, &body));
        }
        match serde_json::from_value::<Failure>(json) {
            Ok(failure) if !failure.code.is_empty() => Err(Problem::Refused(failure)),
            _ => Err(self.strange(status, &body)),
        }
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<(StatusCode, Bytes), Problem> {
        let lost = |error: &dyn fmt::Display| {
            Problem::Unreachable(format!("lost the connection to {}: {error}", self.address))
        };
        let stream = self.connect().await?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| lost(&error))?;
        // It ends when `sender` is dropped; what it says then was said by the request already.
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, self.address.to_string())
            .header(header::ACCEPT, "application/json")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(|error| Problem::Call(error.to_string()))?;
        let response = sender.send_request(request).await.map_err(|error| lost(&error))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        Ok((status, body.map_err(|error| lost(&error))?.to_bytes()))
    }

    #[allow(clippy::disallowed_methods, reason = "the command line is never simulated")]
    async fn connect(&self) -> Result<TcpStream, Problem> {
        let host = self.address.host.trim_matches(['[', ']']);
        TcpStream::connect((host, self.address.port)).await.map_err(|error| {
            Problem::Unreachable(format!(
                "cannot reach the admin listener at {}: {error}; is atolld running there? Another \
                 address is given with --admin HOST:PORT or in ATOLL_ADMIN",
                self.address
            ))
        })
    }

    fn strange(&self, status: StatusCode, body: &[u8]) -> Problem {
        let body = String::from_utf8_lossy(body);
        let body: String = body.trim().chars().take(ECHO_CHARS_MAX).collect();
        Problem::Unreachable(format!(
            "{} answered {status}, but not as an admin listener of this version does; is it the \
             port of the registry? It said: {body}",
            self.address
        ))
    }
}

/// Writes a text into a path or query: everything that could mean something else is escaped.
pub fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                escaped.push(char::from(byte));
            }
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_a_host_and_perhaps_a_port() {
        let read = |text: &str| text.parse::<AdminAddress>().map(|address| address.to_string());
        assert_eq!(read("127.0.0.1:5012"), Ok("127.0.0.1:5012".into()));
        assert_eq!(read("reef-1"), Ok("reef-1:5002".into()));
        assert_eq!(read("http://reef-1:7/"), Ok("reef-1:7".into()));
        assert_eq!(read("[::1]:5002"), Ok("[::1]:5002".into()));
        for wrong in
            ["", ":1", "a:", "a:b", "a:0", "a:99999", "a/b", "[::1", "::1", "a b:1", "https://a"]
        {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn nothing_in_a_path_means_more_than_itself() {
        assert_eq!(escaped("team/app:1.0"), "team%2Fapp%3A1.0");
        assert_eq!(escaped("ä?&"), "%C3%A4%3F%26");
    }
}
