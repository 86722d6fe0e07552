//! An HTTP/1.1 client of the simulated network: one connection, kept while it lasts.

use std::{convert::Infallible, net::SocketAddr, time::Duration};

use atoll_node::io::net;
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{body::Frame, client::conn::http1::SendRequest};
use hyper_util::rt::TokioIo;

/// A request's body.
pub type Body = UnsyncBoxBody<Bytes, Infallible>;

/// A body of known length.
pub fn whole(bytes: Bytes) -> Body {
    Full::new(bytes).boxed_unsync()
}

/// A body of unknown length that comes piece by piece.
pub fn pieces(bytes: &Bytes, piece_len: usize, pause: Duration) -> Body {
    let rest = bytes.clone();
    let frames = stream::unfold(rest, move |mut rest| async move {
        if rest.is_empty() {
            return None;
        }
        tokio::time::sleep(pause).await;
        let piece = rest.split_to(piece_len.clamp(1, rest.len()));
        Some((Ok(Frame::data(piece)), rest))
    });
    StreamBody::new(frames).boxed_unsync()
}

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status.
    pub status: StatusCode,
    /// The header fields.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Reply {
    /// A header field as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// There was no whole answer: what became of the request is unknown.
#[derive(Clone, Debug)]
pub struct Unanswered(pub String);

impl<E: std::fmt::Display> From<E> for Unanswered {
    fn from(error: E) -> Self {
        Unanswered(error.to_string())
    }
}

/// A client of one node.
pub struct Client {
    target: SocketAddr,
    patience: Duration,
    connection: Option<SendRequest<Body>>,
}

impl Client {
    /// A client that waits so long for each answer.
    pub fn new(target: SocketAddr, patience: Duration) -> Client {
        Client { target, patience, connection: None }
    }

    /// Sends a request and waits for the whole answer.
    ///
    /// # Errors
    /// [`Unanswered`].
    pub async fn send(
        &mut self,
        method: Method,
        path: &str,
        fields: &[(header::HeaderName, String)],
        body: Body,
    ) -> Result<Reply, Unanswered> {
        let patience = self.patience;
        let answer =
            tokio::time::timeout(patience, self.converse(method, path, fields, body)).await;
        let answer = answer.unwrap_or_else(|_| Err(Unanswered("timed out".to_owned())));
        if answer.is_err() {
            self.connection = None;
        }
        answer
    }

    async fn converse(
        &mut self,
        method: Method,
        path: &str,
        fields: &[(header::HeaderName, String)],
        body: Body,
    ) -> Result<Reply, Unanswered> {
        let mut request =
            Request::builder().method(method).uri(path).header(header::HOST, "registry");
        for (name, value) in fields {
            request = request.header(name, value);
        }
        let request = request.body(body)?;
        let connection = self.connection().await?;
        let answer = connection.send_request(request).await?;
        let closes = answer
            .headers()
            .get(header::CONNECTION)
            .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"close"));
        let (parts, body) = answer.into_parts();
        let body = body.collect().await?.to_bytes();
        if closes {
            self.connection = None;
        }
        Ok(Reply { status: parts.status, headers: parts.headers, body })
    }

    async fn connection(&mut self) -> Result<&mut SendRequest<Body>, Unanswered> {
        if let Some(connection) = &mut self.connection
            && connection.ready().await.is_err()
        {
            self.connection = None;
        }
        if self.connection.is_none() {
            let stream = net::connect(self.target, self.patience).await?;
            let (sender, connection) =
                hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
            tokio::spawn(async move {
                // What ended it is told to whoever waits for the answer.
                let _ = connection.await;
            });
            self.connection = Some(sender);
        }
        self.connection.as_mut().ok_or_else(|| Unanswered("no connection".to_owned()))
    }
}
