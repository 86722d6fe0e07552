//! The docker daemon of this machine, by its API: `POST /images/load` and `GET /images/get`.
//!
//! The API and not the program `docker`: it answers with errors that can be told apart, and a machine
//! may have the daemon without the program.

use std::{convert::Infallible, path::PathBuf};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited, StreamBody, combinators::BoxBody};
use hyper::{
    body::{Frame, Incoming},
    client::conn::http1,
};
use hyper_util::rt::TokioIo;
use tokio::{net::UnixStream, sync::mpsc, task::JoinHandle};

use super::{
    failure::{Class, Failure},
    scratch::Scratch,
};

/// Where the daemon listens unless DOCKER_HOST says something else.
const SOCKET: &str = "/var/run/docker.sock";
/// Pieces of an archive that wait for the daemon. Each is at most a piece of a blob.
const PIECES_MAX: usize = 4;
/// The longest answer that is read: some lines about each image.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// Characters of an answer that are repeated.
const ECHO_CHARS_MAX: usize = 300;

/// An archive on its way into the daemon.
pub struct Load {
    pieces: mpsc::Sender<Bytes>,
    answer: JoinHandle<Result<(), Failure>>,
}

impl Load {
    /// Begins to load an archive.
    pub async fn begin() -> Result<Load, Failure> {
        let mut daemon = connect().await?;
        let (pieces, queue) = mpsc::channel(PIECES_MAX);
        let frames = futures_util::stream::unfold(queue, |mut queue| async move {
            let piece = queue.recv().await?;
            Some((Ok::<_, Infallible>(Frame::data(piece)), queue))
        });
        let request = Request::builder()
            .method(Method::POST)
            .uri("/images/load?quiet=1")
            .header(header::HOST, "docker")
            .header(header::CONTENT_TYPE, "application/x-tar")
            .body(BoxBody::new(StreamBody::new(frames)));
        let request = request.map_err(|error| Failure::failed(error.to_string()))?;
        // Ends with the answer, which `end` waits for.
        let answer = tokio::spawn(async move {
            let answer = daemon.send_request(request).await.map_err(|error| lost(&error))?;
            judged(answer).await
        });
        Ok(Load { pieces, answer })
    }

    /// Sends the next bytes.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), Failure> {
        if bytes.is_empty() || self.pieces.send(bytes).await.is_ok() {
            return Ok(());
        }
        // The daemon stopped listening: its answer says why.
        match (&mut self.answer).await {
            Ok(Err(failure)) => Err(failure),
            _ => Err(Failure::failed("the docker daemon stopped reading the image")),
        }
    }

    /// Waits until the image is loaded.
    pub async fn end(self) -> Result<(), Failure> {
        drop(self.pieces);
        let answer = self.answer.await;
        answer.unwrap_or_else(|error| Err(Failure::failed(format!("a task broke off: {error}"))))
    }
}

/// Saves the image `name` into a file of its own.
pub async fn save(name: &str) -> Result<Scratch, Failure> {
    let mut daemon = connect().await?;
    let name = form(name);
    let request = Request::builder()
        .uri(format!("/images/get?names={name}"))
        .header(header::HOST, "docker")
        .body(BoxBody::new(Full::new(Bytes::new())));
    let request = request.map_err(|error| Failure::failed(error.to_string()))?;
    let answer = daemon.send_request(request).await.map_err(|error| lost(&error))?;
    if answer.status() != StatusCode::OK {
        return match judged(answer).await {
            Err(failure) => Err(failure),
            Ok(()) => Err(Failure::failed("the docker daemon sent no image")),
        };
    }
    let mut scratch = Scratch::create()?;
    let mut body = answer.into_body();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| lost(&error))?;
        if let Some(piece) = frame.data_ref() {
            scratch.write(piece)?;
        }
    }
    Ok(scratch)
}

type Daemon = http1::SendRequest<BoxBody<Bytes, Infallible>>;

async fn connect() -> Result<Daemon, Failure> {
    let path = socket()?;
    let reached = UnixStream::connect(&path).await;
    let stream = reached.map_err(|error| Failure {
        class: Class::Unreachable,
        text: format!(
            "cannot reach the docker daemon at {}: {error}; does it run, and may you use it? Other \
             places for an image are oci:DIR, docker-archive:FILE and containerd:",
            path.display()
        ),
    })?;
    let (sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| lost(&error))?;
    // It ends when `sender` is dropped; what it says then was said by the request already.
    tokio::spawn(connection);
    Ok(sender)
}

fn socket() -> Result<PathBuf, Failure> {
    let Some(host) = std::env::var("DOCKER_HOST").ok().filter(|host| !host.is_empty()) else {
        return Ok(SOCKET.into());
    };
    let path = host.strip_prefix("unix://").map(PathBuf::from);
    path.ok_or_else(|| {
        Failure::usage(format!(
            "DOCKER_HOST is `{host}`; only the daemon of this machine is spoken to: unix:///PATH"
        ))
    })
}

/// What the daemon answered. A failed load is a `200` with the error inside.
async fn judged(answer: Response<Incoming>) -> Result<(), Failure> {
    let status = answer.status();
    let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
    let body = body.map_err(|error| Failure::failed(format!("lost the docker daemon: {error}")))?;
    let body = body.to_bytes();
    let said = said(&body);
    match (status, said) {
        (status, None) if status.is_success() => Ok(()),
        (StatusCode::NOT_FOUND, said) => Err(Failure {
            class: Class::NotFound,
            text: format!("the docker daemon has no such image: {}", said.unwrap_or_default()),
        }),
        (status, said) => Err(Failure::failed(format!(
            "the docker daemon refused ({status}): {}",
            said.unwrap_or_default()
        ))),
    }
}

/// The error in an answer of JSON documents, one after the other.
fn said(body: &[u8]) -> Option<String> {
    let documents = serde_json::Deserializer::from_slice(body).into_iter::<serde_json::Value>();
    let text = |value: serde_json::Value| {
        let error = value.get("error").or(value.get("message"))?;
        Some(error.as_str()?.chars().take(ECHO_CHARS_MAX).collect())
    };
    documents.map_while(Result::ok).find_map(text)
}

fn form(text: &str) -> String {
    crate::admin::escaped(text)
}

fn lost(error: &dyn std::fmt::Display) -> Failure {
    Failure { class: Class::Unreachable, text: format!("lost the docker daemon: {error}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_inside_a_good_answer_is_found() {
        let fine = b"{\"stream\":\"Loaded image: a\\n\"}\r\n";
        assert_eq!(said(fine), None);
        let bad =
            b"{\"stream\":\"x\"}\r\n{\"errorDetail\":{\"message\":\"no\"},\"error\":\"no\"}\r\n";
        assert_eq!(said(bad), Some("no".into()));
        assert_eq!(said(b"{\"message\":\"No such image\"}"), Some("No such image".into()));
        assert_eq!(said(b"<html>"), None);
    }
}
