//! A node that speaks as much of `/v2` as the agent needs, and fails on demand.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex},
};

use atoll_core::{
    Digest, Reference,
    range::{self, Resolution},
    ring::NodeId,
    route::{self, Route, UploadId},
};
use bytes::Bytes;
use futures_util::stream;
use http::{Method, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;

use super::{MANIFEST, digest, plain};
use crate::agent::{
    body::{self, Body},
    host,
};

/// What strangers are told.
pub const CHALLENGE: &str = "Bearer realm=\"https://registry.example/token\",service=\"x\"";

/// How the node fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    None,
    /// Takes no connections, and ends those it has.
    Gone,
    /// Says 503 so many times.
    Busy(usize),
    /// Ends every body after so many bytes.
    CutAfter(usize),
    /// Sends other bytes of the same length.
    WrongBytes,
}

type Held = Arc<Mutex<BTreeMap<String, Bytes>>>;

pub struct FakeNode {
    pub address: String,
    state: Arc<State>,
    listening: tokio::task::JoinHandle<()>,
}

struct State {
    address: String,
    held: Held,
    fault: Mutex<Fault>,
    tags: Mutex<BTreeMap<String, Digest>>,
    credential: Mutex<Option<String>>,
    requests: Mutex<Vec<String>>,
}

impl FakeNode {
    pub async fn start(held: Held) -> FakeNode {
        let listener = host::listen("127.0.0.1:0".parse().expect("an address")).await;
        let listener = listener.expect("listens");
        let address = listener.local_addr().expect("an address").to_string();
        let state = Arc::new(State {
            address: address.clone(),
            held,
            fault: Mutex::new(Fault::None),
            tags: Mutex::default(),
            credential: Mutex::default(),
            requests: Mutex::default(),
        });
        let of_node = state.clone();
        let listening = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.expect("accepted");
                let state = of_node.clone();
                let service = service_fn(move |request| {
                    let state = state.clone();
                    async move {
                        if *host::lock(&state.fault) == Fault::Gone {
                            return Err(io::Error::other("gone"));
                        }
                        Ok(state.answer(request).await)
                    }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        FakeNode { address, state, listening }
    }

    pub fn fail(&self, fault: Fault) {
        *host::lock(&self.state.fault) = fault;
        if fault == Fault::Gone {
            self.listening.abort();
        }
    }

    pub fn tag(&self, tag: &str, digest: &Digest) {
        host::lock(&self.state.tags).insert(tag.to_owned(), *digest);
    }

    pub fn require(&self, credential: &str) {
        *host::lock(&self.state.credential) = Some(credential.to_owned());
    }

    /// `METHOD path` of every request.
    pub fn requests(&self) -> Vec<String> {
        host::lock(&self.state.requests).clone()
    }

    pub fn count(&self, method: &str) -> usize {
        self.requests().iter().filter(|line| line.starts_with(method)).count()
    }
}

impl State {
    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        host::lock(&self.requests).push(format!("{} {}", request.method(), request.uri()));
        let fault = *host::lock(&self.fault);
        if let Fault::Busy(left @ 1..) = fault {
            *host::lock(&self.fault) = Fault::Busy(left - 1);
            return plain(503, &[], "");
        }
        let said = request.headers().get("authorization").and_then(|value| value.to_str().ok());
        let wanted = host::lock(&self.credential).clone();
        if wanted.is_some() && wanted.as_deref() != said {
            return plain(401, &[("www-authenticate", CHALLENGE)], "{\"errors\":[]}");
        }
        let (method, uri) = (request.method().clone(), request.uri().clone());
        let range =
            request.headers().get("range").map(|range| range.to_str().expect("text").to_owned());
        match route::parse(uri.path()) {
            Ok(Route::Blob { digest, repo }) if repo.as_str() == "team/app" => {
                self.content(&method, &digest, "application/octet-stream", range)
            }
            Ok(Route::Manifest { reference, .. }) => {
                let tags = host::lock(&self.tags).clone();
                let digest = match reference {
                    Reference::Digest(digest) => Some(digest),
                    Reference::Tag(tag) => tags.get(tag.as_str()).copied(),
                };
                match digest {
                    Some(digest) => self.content(&method, &digest, MANIFEST, range),
                    None => plain(404, &[], "{\"errors\":[]}"),
                }
            }
            Ok(Route::Uploads { .. }) => {
                let id = UploadId::of_node(NodeId(1), [7; 16]);
                let location = format!("http://{}{}{id}?_state=x", self.address, uri.path());
                plain(202, &[("location", &location)], "")
            }
            Ok(Route::Upload { .. }) => {
                let body = request.into_body().collect().await.expect("a body").to_bytes();
                let digest = digest(&body);
                host::lock(&self.held).insert(digest.to_string(), body);
                let location = format!("http://{}/v2/team/app/blobs/{digest}", self.address);
                plain(201, &[("location", &location)], "")
            }
            _ => plain(404, &[], "{\"errors\":[]}"),
        }
    }

    fn content(
        &self,
        method: &Method,
        digest: &Digest,
        kind: &str,
        range: Option<String>,
    ) -> Response<Body> {
        let held = host::lock(&self.held).get(&digest.to_string()).cloned();
        let Some(content) = held else { return plain(404, &[], "{\"errors\":[]}") };
        let size = content.len();
        let spec = range.map(|range| range::parse(&range).resolve(size as u64));
        let (status, piece, said) = match spec {
            Some(Resolution::Single(range)) => {
                let (start, end) = (range.start() as usize, range.end() as usize + 1);
                (206, content.slice(start..end), range.content_range(size as u64))
            }
            _ => (200, content, String::new()),
        };
        let mut answer = Response::builder()
            .status(status)
            .header("content-type", kind)
            .header("docker-content-digest", digest.to_string())
            .header("content-length", piece.len());
        if status == 206 {
            answer = answer.header("content-range", said);
        }
        let body = match *host::lock(&self.fault) {
            _ if method == Method::HEAD => body::empty(),
            Fault::CutAfter(after) if after < piece.len() => cut(piece.slice(..after)),
            Fault::WrongBytes => body::full(piece.iter().map(|byte| !byte).collect::<Bytes>()),
            _ => body::full(piece),
        };
        answer.body(body).expect("an answer")
    }
}

/// A body that ends with its connection.
fn cut(bytes: Bytes) -> Body {
    let frames = [Ok(Frame::data(bytes)), Err(io::Error::other("cut"))];
    body::flowing(StreamBody::new(stream::iter(frames)))
}
