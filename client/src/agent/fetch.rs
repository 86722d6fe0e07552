//! Brings content from the nodes into the cache.
//!
//! Large content comes in pieces, several at a time, each from another replica first. A piece whose
//! connection breaks goes on where it stopped, at the next node. Nothing is believed before all of
//! it was compared with its digest; where it was wrong, the nodes are asked once more in another
//! order, for one of them has a bad copy.

use std::io;

use atoll_core::Digest;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use http_body_util::BodyExt as _;
use tracing::{info, warn};

use super::{
    body::Body,
    cache::{Cache, Content, Draft, PublishError},
    refusal::Refusal,
    upstream::{Answered, Ask, Upstream},
};

/// Content longer than this is fetched in pieces of this many bytes: large enough that a round trip
/// does not count.
const PIECE_BYTES: u64 = 8 << 20;
/// Pieces of one content on their way at a time: as many as there are replicas, and one.
const PIECES_MAX: usize = 4;
/// How often one piece is taken up again after its connection broke.
const RESUMES_MAX: usize = 8;
/// How often all of it is fetched when it was not what it should be.
const ATTEMPTS_MAX: usize = 3;
/// How long a body may stand still before it is taken up elsewhere.
const STALL_MAX: std::time::Duration = std::time::Duration::from_secs(5);

/// Why content is not in the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Missed {
    /// The cache cannot take it: too large, or its disk failed. A node can still be asked.
    NoPlace,
    /// The nodes did not give it.
    Refused(Refusal),
}

/// What to fetch.
#[derive(Clone, Debug)]
pub struct Order {
    /// The path that names it by its digest.
    pub path: String,
    /// The content.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// The caller's headers that a node must see: its credential.
    pub headers: HeaderMap,
    /// Who is asked, the preferred one first.
    pub nodes: Vec<String>,
}

impl Order {
    /// Fetches it.
    ///
    /// # Errors
    /// See [`Missed`].
    pub async fn run(mut self, cache: Cache, upstream: Upstream) -> Result<Content, Missed> {
        for _ in 0..ATTEMPTS_MAX {
            let draft = cache.draft(self.digest, self.size).await.map_err(no_place)?;
            let Some(draft) = draft else { return Err(Missed::NoPlace) };
            self.fill(&draft, &upstream).await?;
            match draft.publish().await {
                Ok(content) => return Ok(content),
                Err(PublishError::Disk(error)) => return Err(no_place(error)),
                Err(PublishError::Wrong { digest }) => {
                    warn!(%digest, nodes = ?self.nodes, "a node sent other content; asking others");
                    let asked = self.nodes.len().min(1);
                    self.nodes.rotate_left(asked);
                }
            }
        }
        Err(Missed::Refused(Refusal::bad_answer(format!(
            "every copy of `{}` that was fetched has other bytes",
            self.digest
        ))))
    }

    async fn fill(&self, draft: &Draft, upstream: &Upstream) -> Result<(), Missed> {
        let count = self.size.div_ceil(PIECE_BYTES).max(1);
        let pieces = (0..count).map(|number| {
            let start = number * PIECE_BYTES;
            let end = (start + PIECE_BYTES).min(self.size);
            async move {
                let mut piece = Piece { order: self, draft, upstream, at: start, end };
                // The replicas in turn: content of one piece comes from the preferred one.
                piece.fetch(usize::try_from(number).unwrap_or(0)).await
            }
        });
        stream::iter(pieces).buffer_unordered(PIECES_MAX).try_collect::<Vec<()>>().await?;
        if count > 1 {
            info!(digest = %self.digest, bytes = self.size, pieces = count, "fetched in pieces");
        }
        Ok(())
    }
}

/// Replicas that pieces are spread over: what the registry keeps of each content by default.
const REPLICAS: usize = 3;

/// A piece and how far it has come.
struct Piece<'a> {
    order: &'a Order,
    draft: &'a Draft,
    upstream: &'a Upstream,
    at: u64,
    end: u64,
}

impl Piece<'_> {
    async fn fetch(&mut self, number: usize) -> Result<(), Missed> {
        let mut nodes = self.order.nodes.clone();
        let replicas = nodes.len().min(REPLICAS);
        if replicas > 0 {
            nodes[..replicas].rotate_left(number % replicas);
        }
        for _ in 0..RESUMES_MAX {
            let answered =
                self.upstream.read(&nodes, &self.ask()).await.map_err(Missed::Refused)?;
            let node = answered.node.clone();
            let body = self.checked(answered)?;
            let before = self.at;
            match self.take(body).await? {
                Ok(()) => return Ok(()),
                Err(error) => {
                    let digest = self.order.digest;
                    warn!(%digest, node, %error, from = before, to = self.at, "taken up elsewhere");
                    self.upstream.fail(&node);
                }
            }
        }
        Err(Missed::Refused(Refusal::unavailable("the connections to the nodes break too often")))
    }

    fn is_whole(&self) -> bool {
        self.at == 0 && self.end == self.order.size
    }

    fn ask(&self) -> Ask {
        let mut headers = self.order.headers.clone();
        if !self.is_whole() {
            let range = format!("bytes={}-{}", self.at, self.end - 1);
            if let Ok(range) = HeaderValue::try_from(range) {
                headers.insert(header::RANGE, range);
            }
        }
        Ask::new(Method::GET, self.order.path.clone(), headers)
    }

    /// The body, when the answer is the piece that was asked for.
    fn checked(&self, answered: Answered) -> Result<Body, Missed> {
        let Answered { node, answer } = answered;
        let wanted = if self.is_whole() { StatusCode::OK } else { StatusCode::PARTIAL_CONTENT };
        let range = format!("bytes {}-{}/{}", self.at, self.end.saturating_sub(1), self.order.size);
        let said = answer.headers().get(header::CONTENT_RANGE);
        let is_range =
            self.is_whole() || said.is_some_and(|said| said.as_bytes() == range.as_bytes());
        if answer.status() == wanted && is_range {
            return Ok(answer.into_body());
        }
        let status = answer.status();
        warn!(node, %status, digest = %self.order.digest, "no content where a node had named it");
        let text = format!("node {node} answered {status} to a request for content it had named");
        Err(Missed::Refused(Refusal::unavailable(text)))
    }

    /// Writes the body; the inner error is the connection's.
    async fn take(&mut self, mut body: Body) -> Result<io::Result<()>, Missed> {
        while self.at < self.end {
            let Ok(frame) = tokio::time::timeout(STALL_MAX, body.frame()).await else {
                return Ok(Err(io::Error::new(io::ErrorKind::TimedOut, "the body stood still")));
            };
            let data = match frame {
                None => return Ok(Err(io::ErrorKind::UnexpectedEof.into())),
                Some(Err(error)) => return Ok(Err(error)),
                Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
            };
            let length = data.len() as u64;
            if length > self.end - self.at {
                return Ok(Err(io::Error::new(io::ErrorKind::InvalidData, "more than asked for")));
            }
            self.draft.write(self.at, data).await.map_err(no_place)?;
            self.at += length;
        }
        // The end of the answer, so that its connection can be used again.
        let _ = tokio::time::timeout(STALL_MAX, body.frame()).await;
        Ok(Ok(()))
    }
}

fn no_place(error: io::Error) -> Missed {
    warn!(%error, "the cache cannot be written");
    Missed::NoPlace
}
