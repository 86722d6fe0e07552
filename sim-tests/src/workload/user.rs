//! A user of the registry, who writes down what was asked and what was answered.

use std::{fmt::Display, net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{Method, StatusCode, header::HeaderName};

use crate::{
    client::{Body, Client, Reply, Unanswered, whole},
    draw::Draw,
    history::Book,
    trace,
};

/// How long a user waits for an answer: longer than the node's own deadlines.
const PATIENCE: Duration = Duration::from_secs(15);

/// How likely a roaming user turns to any node with the next request.
const ROAMING: f64 = 0.4;

/// How an operation ended for the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Acknowledged.
    Done,
    /// Refused, without effect.
    Refused(StatusCode),
    /// No answer, or one that says neither (5xx).
    Unknown,
}

/// A user.
pub struct User {
    pub(super) name: String,
    clients: Vec<Client>,
    /// The client in use.
    at: usize,
    /// Draws the node of the next request, if the user goes from one to another.
    roaming: Option<Draw>,
    /// What everybody did.
    pub book: Book,
}

impl User {
    /// A user of the node at `target`.
    pub fn new(name: impl Into<String>, target: SocketAddr, book: Book) -> User {
        let clients = vec![Client::new(target, PATIENCE)];
        User { name: name.into(), clients, at: 0, roaming: None, book }
    }

    /// A user of a cluster, who goes from node to node, even within one upload.
    pub fn roaming(
        name: impl Into<String>,
        targets: &[SocketAddr],
        book: Book,
        draw: Draw,
    ) -> User {
        let clients = targets.iter().map(|target| Client::new(*target, PATIENCE)).collect();
        User { name: name.into(), clients, at: 0, roaming: Some(draw), book }
    }

    /// The node of the next request.
    fn roam(&mut self) {
        let nodes = self.clients.len() as u64;
        if let Some(draw) = &mut self.roaming
            && draw.chance(ROAMING)
        {
            self.at = draw.within(0..nodes) as usize;
        }
    }

    pub(super) async fn ask(
        &mut self,
        method: Method,
        path: &str,
        fields: &[(HeaderName, String)],
        body: Body,
    ) -> Result<Reply, Unanswered> {
        self.roam();
        self.clients[self.at].send(method, path, fields, body).await
    }

    pub(super) async fn get(&mut self, path: &str) -> Result<Reply, Unanswered> {
        self.ask(Method::GET, path, &[], whole(Bytes::new())).await
    }

    /// Sorts the answer to a change; what is none of `refusals` breaks the API's promise.
    pub(super) fn sort(
        &mut self,
        what: impl Display,
        reply: &Result<Reply, Unanswered>,
        refusals: &[u16],
    ) -> Answer {
        let answer = match reply {
            Ok(reply) if reply.status.is_success() => Answer::Done,
            Ok(reply) if reply.status.is_server_error() => Answer::Unknown,
            Ok(reply) => Answer::Refused(reply.status),
            Err(_) => Answer::Unknown,
        };
        if let (Answer::Refused(status), Ok(reply)) = (answer, reply)
            && !refusals.contains(&status.as_u16())
        {
            let body = String::from_utf8_lossy(&reply.body).into_owned();
            self.book.lock().violation(format!("{what}: unexpected {status}: {body}"));
        }
        self.tell(what, reply);
        answer
    }

    /// Adds a line to the trace and to the counts.
    pub(super) fn tell(&self, what: impl Display, reply: &Result<Reply, Unanswered>) {
        let (outcome, text) = match reply {
            Ok(reply) if reply.status.is_server_error() => ("unknown", reply.status.to_string()),
            Ok(reply) if reply.status.is_client_error() => ("refused", reply.status.to_string()),
            Ok(reply) => ("done", reply.status.to_string()),
            Err(Unanswered(why)) => ("unknown", format!("no answer: {why}")),
        };
        self.book.lock().count(outcome);
        let at =
            if self.roaming.is_some() { format!(" at n{}", self.at + 1) } else { String::new() };
        trace::note(&self.name, format_args!("{what}{at} -> {text}"));
    }
}
