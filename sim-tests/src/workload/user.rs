//! A user of the registry, who writes down what was asked and what was answered.

use std::{
    collections::BTreeMap,
    fmt::Display,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use bytes::Bytes;
use http::{Method, StatusCode, header::HeaderName};

use crate::{
    client::{Body, Client, Reply, Unanswered, whole},
    cluster::fleet::Fleet,
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
    /// Served by a node that says that it has lost touch: it was so once.
    Stale,
    /// No answer, or one that says neither (5xx).
    Unknown,
}

/// A user.
pub struct User {
    pub(super) name: String,
    /// By the node they ask.
    clients: BTreeMap<SocketAddr, Client>,
    /// The node that is asked.
    at: SocketAddr,
    /// Where else the user may go, and who draws it.
    roaming: Option<(Fleet, Draw)>,
    /// What everybody did.
    pub book: Book,
}

impl User {
    /// A user of the node at `target`.
    pub fn new(name: impl Into<String>, target: SocketAddr, book: Book) -> User {
        let (name, clients) = (name.into(), BTreeMap::new());
        User { name, clients, at: target, roaming: None, book }
    }

    /// A user of a cluster, who goes from node to node, even within one upload.
    pub fn roaming(name: impl Into<String>, fleet: Fleet, book: Book, draw: Draw) -> User {
        let first = fleet.targets().first().copied();
        let at = first.expect("a cluster has a node");
        let (name, clients) = (name.into(), BTreeMap::new());
        User { name, clients, at, roaming: Some((fleet, draw)), book }
    }

    /// The node of the next request: any, and another when this one has left.
    fn roam(&mut self) {
        let Some((fleet, draw)) = &mut self.roaming else { return };
        let targets = fleet.targets();
        if (draw.chance(ROAMING) || !targets.contains(&self.at)) && !targets.is_empty() {
            self.at = *draw.pick(&targets);
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
        let at = self.at;
        let client = self.clients.entry(at).or_insert_with(|| Client::new(at, PATIENCE));
        client.send(method, path, fields, body).await
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
        let at = match (&self.roaming, self.at.ip()) {
            (Some(_), IpAddr::V4(ip)) => format!(" at n{}", ip.octets()[3]),
            _ => String::new(),
        };
        trace::note(&self.name, format_args!("{what}{at} -> {text}"));
    }
}
