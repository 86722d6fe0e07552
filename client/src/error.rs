//! What can go wrong: each fact once, each operation with exactly the facts it can meet.
//!
//! Every text says what was asked, of whom, what came, and what to do next.

use std::{fmt, io, time::Duration};

use http::StatusCode;

use crate::{Digest, endpoint::InvalidEndpoint, view_json::InvalidViewDocument};

/// The kinds of failure that a caller treats differently, whatever the operation was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// It does not exist (or the caller may not know that it does).
    NotFound,
    /// A credential is missing, or does not suffice.
    Denied,
    /// The registry understood and said no.
    Refused,
    /// Nobody could answer: try again later.
    Unavailable,
    /// What came is not what was asked for.
    Content,
    /// This machine's own trouble: a file, a disk.
    Local,
}

/// There is no such thing.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{what} does not exist: {node} answered {status}{}", quoted(.detail))]
pub struct NotFound {
    /// What was asked for.
    pub what: String,
    /// Who said so.
    pub node: String,
    /// The status: 404 or 410.
    pub status: StatusCode,
    /// The error that the registry wrote, if any.
    pub detail: String,
}

/// The caller may not do this.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{what} was denied: {node} answered {status}{}; {advice}", quoted(.detail))]
pub struct Denied {
    /// What was asked for.
    pub what: String,
    /// Who said so.
    pub node: String,
    /// The status: 401 or 403.
    pub status: StatusCode,
    /// The error that the registry wrote, if any.
    pub detail: String,
    /// What to do next.
    pub advice: String,
}

/// The registry understood the request and does not do it.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{what} was refused: {node} answered {status}{}", quoted(.detail))]
pub struct Refused {
    /// What was asked for.
    pub what: String,
    /// Who said so.
    pub node: String,
    /// The status.
    pub status: StatusCode,
    /// The error that the registry wrote, if any.
    pub detail: String,
}

/// Nobody could answer.
#[derive(Clone, Debug, thiserror::Error)]
#[error(
    "{what} failed: no answer of use within {waited:?} and {attempts} attempts; {}; check that the nodes run and are reachable, or try again",
    listed(.last)
)]
pub struct Unavailable {
    /// What was asked for.
    pub what: String,
    /// How long it was tried.
    pub waited: Duration,
    /// How many requests were made.
    pub attempts: u32,
    /// The last failure of each node.
    pub last: Vec<Attempt>,
}

/// One failed request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Who was asked.
    pub node: String,
    /// What happened.
    pub why: String,
}

/// No replica has content that matches the digest.
#[derive(Clone, Debug, thiserror::Error)]
#[error(
    "`{digest}` cannot be had: {}; an operator should look at these nodes (`atoll ctl repair`)",
    listed(.wrong)
)]
pub struct NoTrueCopy {
    /// What was asked for.
    pub digest: Digest,
    /// Who sent what instead.
    pub wrong: Vec<Attempt>,
}

/// A file on this machine failed.
#[derive(Debug, thiserror::Error)]
#[error("{doing}: {cause}")]
pub struct LocalFailure {
    /// What was being done, with the path.
    pub doing: String,
    /// What the operating system said.
    #[source]
    pub cause: io::Error,
}

/// An answer that a registry should not give.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{what}: {node} sent {received}, expected {expected}")]
pub struct StrangeAnswer {
    /// What was asked for.
    pub what: String,
    /// Who answered.
    pub node: String,
    /// What came.
    pub received: String,
    /// What should have come.
    pub expected: String,
}

/// Why a request had no answer of use.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RequestError {
    /// It does not exist.
    #[error(transparent)]
    NotFound(#[from] Box<NotFound>),
    /// It is not allowed.
    #[error(transparent)]
    Denied(#[from] Box<Denied>),
    /// It is refused.
    #[error(transparent)]
    Refused(#[from] Box<Refused>),
    /// Nobody answered.
    #[error(transparent)]
    Unavailable(#[from] Box<Unavailable>),
    /// The answer makes no sense.
    #[error(transparent)]
    Strange(#[from] Box<StrangeAnswer>),
}

/// Why a manifest or blob could not be pulled.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// The request failed.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// Whoever answered sent something else.
    #[error(transparent)]
    Content(#[from] Box<NoTrueCopy>),
    /// It could not be stored here.
    #[error(transparent)]
    Local(#[from] Box<LocalFailure>),
}

/// Why something could not be pushed.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// The request failed.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// What is to be pushed could not be read.
    #[error(transparent)]
    Source(#[from] Box<LocalFailure>),
}

/// Why an image could not be copied.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// It could not be pulled.
    #[error("reading the image: {0}")]
    Pull(#[from] PullError),
    /// It could not be pushed.
    #[error("writing the image: {0}")]
    Push(#[from] PushError),
    /// The manifest cannot be understood.
    #[error("reading the image: {0}")]
    Manifest(#[from] atoll_core::manifest::ManifestError),
    /// The index has no such platform.
    #[error(transparent)]
    Platform(#[from] NoSuchPlatform),
}

/// An index without the platform that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the image has no `{wanted}`; it has {}", .present.join(", "))]
pub struct NoSuchPlatform {
    /// What was asked for.
    pub wanted: String,
    /// What there is.
    pub present: Vec<String>,
}

/// Why the view could not be had.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ViewError {
    /// No node answered.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The answer is no view.
    #[error("{node} sent a view that cannot be used: {cause}")]
    Invalid {
        /// Who answered.
        node: String,
        /// What is wrong with it.
        cause: InvalidViewDocument,
    },
}

/// Why a client could not be made.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// There is nowhere to begin.
    #[error("a client needs at least one seed: HOST:PORT of a node, or dns:NAME:PORT")]
    NoSeeds,
    /// A seed cannot be read.
    #[error(transparent)]
    Seed(#[from] InvalidEndpoint),
    /// A certificate file cannot be used.
    #[error(transparent)]
    Certificates(#[from] LocalFailure),
    /// The user agent or name is no header value.
    #[error("the user agent `{0}` cannot stand in a header")]
    UserAgent(String),
}

impl RequestError {
    /// Which kind of failure it is.
    pub fn kind(&self) -> Kind {
        match self {
            RequestError::NotFound(_) => Kind::NotFound,
            RequestError::Denied(_) => Kind::Denied,
            RequestError::Refused(_) | RequestError::Strange(_) => Kind::Refused,
            RequestError::Unavailable(_) => Kind::Unavailable,
        }
    }
}

impl PullError {
    /// Which kind of failure it is.
    pub fn kind(&self) -> Kind {
        match self {
            PullError::Request(error) => error.kind(),
            PullError::Content(_) => Kind::Content,
            PullError::Local(_) => Kind::Local,
        }
    }
}

impl PushError {
    /// Which kind of failure it is.
    pub fn kind(&self) -> Kind {
        match self {
            PushError::Request(error) => error.kind(),
            PushError::Source(_) => Kind::Local,
        }
    }
}

impl CopyError {
    /// Which kind of failure it is.
    pub fn kind(&self) -> Kind {
        match self {
            CopyError::Pull(error) => error.kind(),
            CopyError::Push(error) => error.kind(),
            CopyError::Manifest(_) => Kind::Content,
            CopyError::Platform(_) => Kind::NotFound,
        }
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.node, self.why)
    }
}

fn quoted(detail: &str) -> String {
    if detail.is_empty() { String::new() } else { format!(" ({detail})") }
}

fn listed(attempts: &[Attempt]) -> String {
    if attempts.is_empty() {
        return "nobody could be asked".to_owned();
    }
    let each: Vec<String> = attempts.iter().map(ToString::to_string).collect();
    each.join("; ")
}
