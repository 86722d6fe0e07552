//! Content on its way out: allowed by a node, taken from the cache or fetched into it.
//!
//! A tag is never answered from the cache: a node is asked what it means now, and only the bytes of
//! that digest may come from here.

use std::{future::Future, io, ops::Range, pin::Pin, time::Duration};

use atoll_core::{
    Digest, Reference,
    range::{self, RangeHeader, Resolution},
    route::Route,
};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use http_body_util::{BodyStream, StreamBody};

use super::{Api, Call};
use crate::agent::{
    authority::Grant,
    body::{self, Body},
    cache::Content,
    fetch::{Missed, Order},
    host,
    refusal::Refusal,
    upstream::Ask,
};

/// When content is not here by then, the head of the answer goes out before it: containerd gives a
/// registry 30 s for the head, and no bound for the body.
const HEAD_DELAY_MAX: Duration = Duration::from_secs(5);

type Landing = Pin<Box<dyn Future<Output = (bool, Result<Content, Missed>)> + Send>>;

impl Api {
    /// Answers a `GET` of a blob or a manifest. `digest` is what the path names, `None` for a tag.
    pub(super) async fn pull(
        &self,
        call: &Call,
        digest: Option<Digest>,
    ) -> Result<Response<Body>, Refusal> {
        let Some(grant) = self.grant(call, digest).await? else {
            return self.relay(call, None).await;
        };
        let ranges = ranges(&call.headers);
        if let Some(content) = self.cache.get(&grant.digest).await {
            self.counters.hits.add(1);
            return Ok(self.serve(&grant, &ranges, content));
        }
        // A piece of something large: the caller may want no more of it, so no more is fetched.
        if ranges != RangeHeader::Ignore {
            return self.relay(call, Some(&grant)).await;
        }
        let mut landing = self.fetch(call, &grant);
        match tokio::time::timeout(HEAD_DELAY_MAX, &mut landing).await {
            Ok((begun, Ok(content))) => {
                if begun { &self.counters.misses } else { &self.counters.joined }.add(1);
                Ok(self.serve(&grant, &ranges, content))
            }
            Ok((_, Err(Missed::NoPlace))) => self.relay(call, Some(&grant)).await,
            Ok((_, Err(Missed::Refused(refusal)))) => Err(refusal),
            Err(_) => {
                self.counters.misses.add(1);
                self.counters.content_bytes.add(grant.size);
                Ok(head(&grant, StatusCode::OK, grant.size, later(landing)))
            }
        }
    }

    /// What a node allows this caller; `None` when it did not say yes: its own answer to the request
    /// tells the caller why.
    async fn grant(&self, call: &Call, digest: Option<Digest>) -> Result<Option<Grant>, Refusal> {
        let known =
            digest.and_then(|_| self.authority.remembered(&call.headers, &call.path, host::now()));
        if known.is_some() {
            return Ok(known);
        }
        let mut headers = call.headers.clone();
        for piece in [header::RANGE, header::IF_RANGE, header::IF_NONE_MATCH] {
            headers.remove(piece);
        }
        let ask = Ask::new(Method::HEAD, call.path.clone(), headers);
        let answered = self.upstream.read(&self.order(call), &ask).await?;
        let grant = Grant::of(&answered.answer);
        let grant = grant.filter(|grant| digest.is_none_or(|digest| digest == grant.digest));
        if let Some(grant) = grant.as_ref().filter(|_| digest.is_some()) {
            self.authority.remember(&call.headers, &call.path, grant.clone(), host::now());
        }
        Ok(grant)
    }

    /// The node's own answer, kept by nobody. The whole of the content is compared with its digest
    /// on the way; a piece of it cannot be.
    async fn relay(&self, call: &Call, grant: Option<&Grant>) -> Result<Response<Body>, Refusal> {
        self.counters.relayed.add(1);
        let path = grant.map(|grant| by_digest(call, &grant.digest));
        let path = path.unwrap_or_else(|| call.path.clone());
        let ask = Ask::new(call.method.clone(), path, call.headers.clone());
        let answered = self.upstream.read(&self.order(call), &ask).await?;
        let answer = self.relayed(answered);
        match grant.filter(|_| answer.status() == StatusCode::OK) {
            Some(grant) => Ok(answer.map(|body| body::verified(body, grant.digest, grant.size))),
            None => Ok(answer),
        }
    }

    /// Joins the fetch of this content, or begins it.
    fn fetch(&self, call: &Call, grant: &Grant) -> Landing {
        let (digest, size) = (grant.digest, grant.size);
        let order = Order {
            path: by_digest(call, &digest),
            digest,
            size,
            headers: credential(&call.headers),
            nodes: self.placement.owners(&digest),
        };
        let (flights, cache, upstream) =
            (self.flights.clone(), self.cache.clone(), self.upstream.clone());
        Box::pin(async move { flights.join(digest, || order.run(cache, upstream)).await })
    }

    fn serve(&self, grant: &Grant, ranges: &RangeHeader, content: Content) -> Response<Body> {
        let size = content.size();
        let piece = |range: Range<u64>, status| {
            let length = range.end - range.start;
            self.counters.content_bytes.add(length);
            head(grant, status, length, content.clone().body(range))
        };
        match ranges.resolve(size) {
            // Several pieces at once are an offer of the RFC, not a duty: the whole is an answer.
            Resolution::Full | Resolution::Multi(_) => piece(0..size, StatusCode::OK),
            Resolution::Single(range) => {
                let mut answer = piece(range.start()..range.end() + 1, StatusCode::PARTIAL_CONTENT);
                set(&mut answer, header::CONTENT_RANGE, &range.content_range(size));
                answer
            }
            Resolution::Unsatisfiable => {
                let mut answer = head(grant, StatusCode::RANGE_NOT_SATISFIABLE, 0, body::empty());
                set(&mut answer, header::CONTENT_RANGE, &range::unsatisfiable(size));
                answer
            }
        }
    }
}

/// The path of this content, whatever it was asked for by: a tag may move between two requests.
fn by_digest(call: &Call, digest: &Digest) -> String {
    match call.route.clone() {
        Some(Route::Manifest { repo, .. }) => {
            Route::Manifest { repo, reference: Reference::Digest(*digest) }.to_string()
        }
        Some(route) => route.to_string(),
        None => call.path.clone(),
    }
}

/// What a node must see of the caller for a fetch.
fn credential(headers: &HeaderMap) -> HeaderMap {
    let credentials = headers.get_all(header::AUTHORIZATION).iter().cloned();
    credentials.map(|value| (header::AUTHORIZATION, value)).collect()
}

fn ranges(headers: &HeaderMap) -> RangeHeader {
    let mut lines = headers.get_all(header::RANGE).iter();
    match (lines.next().and_then(|line| line.to_str().ok()), lines.next()) {
        // With a condition the node decides.
        (Some(line), None) => range::parse(line),
        _ => RangeHeader::Ignore,
    }
}

fn head(grant: &Grant, status: StatusCode, length: u64, body: Body) -> Response<Body> {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    set(&mut answer, header::CONTENT_LENGTH, &length.to_string());
    set(&mut answer, header::ETAG, &format!("\"{}\"", grant.digest));
    set(&mut answer, header::ACCEPT_RANGES, "bytes");
    set(
        &mut answer,
        http::HeaderName::from_static("docker-content-digest"),
        &grant.digest.to_string(),
    );
    if let Some(kind) = &grant.media_type {
        answer.headers_mut().insert(header::CONTENT_TYPE, kind.clone());
    }
    answer
}

fn set(answer: &mut Response<Body>, name: http::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        answer.headers_mut().insert(name, value);
    }
}

/// A body that begins when its content is here.
fn later(landing: Landing) -> Body {
    let frames = stream::once(async move {
        match landing.await.1 {
            Ok(content) => {
                let size = content.size();
                Ok(BodyStream::new(content.body(0..size)))
            }
            Err(missed) => Err(io::Error::other(format!("{missed:?}"))),
        }
    });
    body::flowing(StreamBody::new(frames.try_flatten().boxed()))
}
