//! The agent between a caller and nodes that are made for the test.

pub(super) mod node;

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use atoll_core::{Algorithm, Digest};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::BodyExt as _;

use self::node::{FakeNode, Fault};
use super::{
    api::Nodes,
    body::{self, Body},
    cache::Cache,
    connections::{Connections, Failed},
    host,
    namespace::Names,
    placement::Fixed,
    server::Server,
    upstream::Upstream,
};
use crate::TlsSettings;

const REGISTRY: &str = "registry.example:5000";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

struct Agent {
    address: String,
    connections: Connections,
    _cache: tempfile::TempDir,
    _stop: tokio::sync::oneshot::Sender<()>,
}

struct Got {
    status: StatusCode,
    headers: HeaderMap,
    body: Result<Bytes, io::Error>,
}

impl Got {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("text"))
    }

    fn bytes(&self) -> &Bytes {
        self.body.as_ref().expect("a whole body")
    }
}

impl Agent {
    async fn start(nodes: &[&FakeNode], cache_bytes: u64) -> Agent {
        let addresses = nodes.iter().map(|node| node.address.clone());
        let folder = tempfile::tempdir().expect("a folder");
        let cache = Cache::open(folder.path(), cache_bytes).await.expect("a cache");
        let names = Names::new([REGISTRY.to_owned()]);
        let placement = Arc::new(Fixed::new(addresses));
        let listen = "127.0.0.1:0".parse().expect("an address");
        let nodes = Nodes { placement, upstream: Upstream::new(connections()) };
        let server = Server::bind(listen, names, nodes, cache).await.expect("listens");
        let address = server.address().expect("an address").to_string();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        tokio::spawn(server.run(async {
            let _ = stopped.await;
        }));
        Agent { address, connections: connections(), _cache: folder, _stop: stop }
    }

    async fn ask(&self, method: Method, path: &str, headers: &[(&str, &str)], body: Body) -> Got {
        let host = ("host", self.address.as_str());
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in std::iter::once(&host).chain(headers) {
            request = request.header(*name, *value);
        }
        let request = request.body(body).expect("a request");
        let answer = match self.connections.send(&self.address, request, None, false).await {
            Ok(answer) => answer,
            Err(Failed::Lost(error) | Failed::Unreachable(error, _)) => panic!("{error}"),
        };
        let (parts, body) = answer.into_parts();
        let body = body.collect().await.map(|body| body.to_bytes());
        Got { status: parts.status, headers: parts.headers, body }
    }

    async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Got {
        self.ask(Method::GET, path, headers, body::empty()).await
    }

    async fn status(&self) -> serde_json::Value {
        let got = self.get("/agent/status", &[]).await;
        serde_json::from_slice(got.bytes()).expect("JSON")
    }
}

fn connections() -> Connections {
    Connections::new(&TlsSettings::default()).expect("no files")
}

fn content(length: usize, seed: u8) -> Bytes {
    (0..length).map(|at| (at.wrapping_mul(31) ^ (at >> 8)) as u8 ^ seed).collect()
}

fn digest(content: &[u8]) -> Digest {
    Digest::of(Algorithm::Sha256, content)
}

fn blob_path(content: &[u8]) -> String {
    format!("/v2/team/app/blobs/{}", digest(content))
}

/// Nodes that hold the same.
async fn cluster(count: usize, contents: &[Bytes]) -> Vec<FakeNode> {
    let held = Arc::new(Mutex::new(BTreeMap::new()));
    for content in contents {
        host::lock(&held).insert(digest(content).to_string(), content.clone());
    }
    let mut nodes = Vec::new();
    for _ in 0..count {
        nodes.push(FakeNode::start(held.clone()).await);
    }
    nodes
}

#[tokio::test]
async fn a_layer_is_fetched_once_and_served_from_the_cache() {
    let layer = content(100_000, 1);
    let nodes = cluster(2, std::slice::from_ref(&layer)).await;
    let agent = Agent::start(&[&nodes[0], &nodes[1]], 1 << 20).await;
    for _ in 0..3 {
        let got = agent.get(&blob_path(&layer), &[]).await;
        assert_eq!((got.status, got.bytes()), (StatusCode::OK, &layer));
        assert_eq!(got.header("content-length"), "100000");
        assert_eq!(got.header("docker-content-digest"), digest(&layer).to_string());
    }
    let gets: usize = nodes.iter().map(|node| node.count("GET")).sum();
    assert_eq!(gets, 1, "one fetch");
    let piece = agent.get(&blob_path(&layer), &[("range", "bytes=10-19")]).await;
    assert_eq!((piece.status, &piece.bytes()[..]), (StatusCode::PARTIAL_CONTENT, &layer[10..20]));
    assert_eq!(piece.header("content-range"), "bytes 10-19/100000");
    let behind = agent.get(&blob_path(&layer), &[("range", "bytes=100000-")]).await;
    assert_eq!(behind.status, StatusCode::RANGE_NOT_SATISFIABLE);
    let status = agent.status().await;
    assert_eq!((&status["misses"], &status["hits"]), (&1.into(), &4.into()));
}

#[tokio::test]
async fn a_large_layer_comes_in_pieces_from_several_nodes() {
    let layer = content(40 << 20, 2);
    let nodes = cluster(3, std::slice::from_ref(&layer)).await;
    let agent = Agent::start(&[&nodes[0], &nodes[1], &nodes[2]], 1 << 30).await;
    // One node breaks every answer off after a while.
    nodes[1].fail(Fault::CutAfter(3 << 20));
    let got = agent.get(&blob_path(&layer), &[]).await;
    assert!(got.bytes() == &layer, "{} bytes", got.bytes().len());
    for node in &nodes {
        assert!(node.count("GET") > 0, "every replica has its share");
    }
}

#[tokio::test]
async fn wrong_bytes_never_reach_the_caller() {
    let layer = content(50_000, 3);
    let nodes = cluster(2, std::slice::from_ref(&layer)).await;
    let agent = Agent::start(&[&nodes[0], &nodes[1]], 1 << 20).await;
    nodes.iter().for_each(|node| node.fail(Fault::WrongBytes));
    let got = agent.get(&blob_path(&layer), &[]).await;
    assert_eq!(got.status, StatusCode::BAD_GATEWAY);
    // One good copy is enough.
    nodes[1].fail(Fault::None);
    let got = agent.get(&blob_path(&layer), &[]).await;
    assert_eq!((got.status, got.bytes()), (StatusCode::OK, &layer));
}

#[tokio::test]
async fn a_tag_is_always_asked_of_a_node() {
    let (old, new) = (content(500, 4), content(600, 5));
    let nodes = cluster(1, &[old.clone(), new.clone()]).await;
    let agent = Agent::start(&[&nodes[0]], 1 << 20).await;
    for manifest in [&old, &new, &old] {
        nodes[0].tag("v1", &digest(manifest));
        for _ in 0..2 {
            let got = agent.get("/v2/team/app/manifests/v1", &[("accept", MANIFEST)]).await;
            assert_eq!(got.bytes(), manifest);
            assert_eq!(got.header("content-type"), MANIFEST);
        }
    }
    assert_eq!(nodes[0].count("GET"), 2, "the bytes were fetched once each");
    assert_eq!(nodes[0].count("HEAD"), 6, "the tag was asked each time");
    nodes[0].fail(Fault::Gone);
    let got = agent.get("/v2/team/app/manifests/v1", &[]).await;
    assert_eq!(got.status, StatusCode::SERVICE_UNAVAILABLE, "never a stale answer");
}

#[tokio::test]
async fn a_private_layer_leaves_the_cache_only_for_whom_a_node_allows_it() {
    let layer = content(1000, 6);
    let nodes = cluster(1, std::slice::from_ref(&layer)).await;
    nodes[0].require("Bearer ann");
    let agent = Agent::start(&[&nodes[0]], 1 << 20).await;
    let ann = [("authorization", "Bearer ann")];
    assert_eq!(agent.get(&blob_path(&layer), &ann).await.bytes(), &layer);
    for stranger in [&[][..], &[("authorization", "Bearer eve")]] {
        let got = agent.get(&blob_path(&layer), stranger).await;
        assert_eq!(got.status, StatusCode::UNAUTHORIZED);
        assert_eq!(got.header("www-authenticate"), node::CHALLENGE, "as the node said it");
        assert!(got.bytes().starts_with(b"{\"errors\""), "{:?}", got.bytes());
    }
    // Another repository, where the content is not linked.
    let other = format!("/v2/other/app/blobs/{}", digest(&layer));
    assert_eq!(agent.get(&other, &ann).await.status, StatusCode::NOT_FOUND);
    // Not even a node's silence opens the cache.
    nodes[0].fail(Fault::Gone);
    let eve = agent.get(&blob_path(&layer), &[("authorization", "Bearer eve")]).await;
    assert_eq!(eve.status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn another_registry_is_refused_at_once_and_hears_nothing() {
    let layer = content(1000, 7);
    let nodes = cluster(1, std::slice::from_ref(&layer)).await;
    let agent = Agent::start(&[&nodes[0]], 1 << 20).await;
    let secret = [("authorization", "Basic c2VjcmV0")];
    let foreign = format!("{}?ns=docker.io", blob_path(&layer));
    let got = agent.get(&foreign, &secret).await;
    assert_eq!(got.status, StatusCode::NOT_FOUND);
    assert_eq!(nodes[0].requests(), Vec::<String>::new(), "no node was asked");
    let own = format!("{}?ns={REGISTRY}", blob_path(&layer));
    let got = agent.get(&own, &secret).await;
    assert_eq!((got.bytes(), got.header("oci-namespace")), (&layer, REGISTRY));
    assert!(nodes[0].requests().iter().all(|line| !line.contains("ns=")), "it is ours to know");
}

/// What is written to it.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        host::lock(&self.0).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn no_log_ever_holds_a_credential() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let _logging = tracing::subscriber::set_default(subscriber);
    // While there is but one subscriber, tracing asks the thread that comes by an event first whether
    // anybody wants it, for good; that of another test has none. With two, it asks them all.
    let _beside = tracing::Dispatch::new(tracing::subscriber::NoSubscriber::new());
    let layer = content(1000, 11);
    let nodes = cluster(2, std::slice::from_ref(&layer)).await;
    let agent = Agent::start(&[&nodes[0], &nodes[1]], 1 << 20).await;
    let secret = [("authorization", "Basic c2VjcmV0"), ("proxy-authorization", "Basic c2VjcmV0")];
    for fault in [Fault::None, Fault::WrongBytes, Fault::Busy(2), Fault::Gone] {
        nodes.iter().for_each(|node| node.fail(fault));
        agent.get(&format!("{}?ns=docker.io", blob_path(&layer)), &secret).await;
        agent.get(&blob_path(&content(900, 12)), &secret).await;
        agent.get(&blob_path(&layer), &secret).await;
        agent.get("/v2/team/app/manifests/v1", &secret).await;
    }
    let text = String::from_utf8(host::lock(&log.0).clone()).expect("text");
    assert!(text.contains("/v2/team/app/manifests/v1"), "something is logged: {text}");
    assert!(!text.contains("c2VjcmV0"), "{text}");
}

#[tokio::test]
async fn web_pages_are_refused_before_anything_is_asked() {
    let nodes = cluster(1, &[]).await;
    let agent = Agent::start(&[&nodes[0]], 1 << 20).await;
    for page in [("origin", "https://evil.example"), ("sec-fetch-site", "cross-site")] {
        for path in ["/v2/", "/agent/status"] {
            let got = agent.get(path, &[page]).await;
            assert_eq!(got.status, StatusCode::FORBIDDEN);
            assert!(got.bytes().starts_with(b"{\"errors\""));
        }
    }
    assert_eq!(nodes[0].requests(), Vec::<String>::new());
}

#[tokio::test]
async fn a_push_stays_with_the_agent_and_with_one_node() {
    let layer = content(300_000, 8);
    let nodes = cluster(3, &[]).await;
    let agent = Agent::start(&[&nodes[0], &nodes[1], &nodes[2]], 1 << 20).await;
    let opened = agent
        .ask(Method::POST, "/v2/team/app/blobs/uploads/", &[("content-length", "0")], body::empty())
        .await;
    assert_eq!(opened.status, StatusCode::ACCEPTED);
    let location = opened.header("location").to_owned();
    assert!(location.starts_with("/v2/team/app/blobs/uploads/"), "{location}");
    let path = format!("{location}&digest={}", digest(&layer));
    let sent = agent.ask(Method::PUT, &path, &[], body::full(layer.clone())).await;
    assert_eq!(sent.status, StatusCode::CREATED);
    assert_eq!(sent.header("location"), blob_path(&layer));
    assert_eq!(agent.get(&blob_path(&layer), &[]).await.bytes(), &layer);
}

#[tokio::test]
async fn a_node_that_dies_is_noticed_by_nobody() {
    let layers: Vec<_> = (0..40).map(|seed| content(2000, seed)).collect();
    let nodes = cluster(3, &layers).await;
    let agent = Arc::new(Agent::start(&[&nodes[0], &nodes[1], &nodes[2]], 1 << 20).await);
    nodes[0].fail(Fault::Gone);
    nodes[1].fail(Fault::Busy(20));
    let pulls = layers.into_iter().map(|layer| {
        let agent = agent.clone();
        tokio::spawn(async move {
            let got = agent.get(&blob_path(&layer), &[]).await;
            (got.status, got.bytes() == &layer)
        })
    });
    for pull in pulls.collect::<Vec<_>>() {
        assert_eq!(pull.await.expect("no panic"), (StatusCode::OK, true));
    }
}

#[tokio::test]
async fn when_no_node_is_there_it_is_said_within_a_second() {
    let nodes = cluster(3, &[]).await;
    let agent = Agent::start(&[&nodes[0], &nodes[1], &nodes[2]], 1 << 20).await;
    nodes.iter().for_each(|node| node.fail(Fault::Gone));
    let began = host::now();
    let got = agent.get("/v2/team/app/manifests/v1", &[]).await;
    assert_eq!(got.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(got.header("retry-after"), "1");
    assert!(got.bytes().starts_with(b"{\"errors\""));
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}

#[tokio::test]
async fn what_does_not_fit_the_cache_is_relayed() {
    let layer = content(2 << 20, 9);
    let nodes = cluster(1, std::slice::from_ref(&layer)).await;
    let agent = Agent::start(&[&nodes[0]], 1 << 20).await;
    for _ in 0..2 {
        assert!(agent.get(&blob_path(&layer), &[]).await.bytes() == &layer);
    }
    assert_eq!(agent.status().await["relayed"], 2);
    nodes[0].fail(Fault::WrongBytes);
    assert!(agent.get(&blob_path(&layer), &[]).await.body.is_err(), "never the whole of it");
}

#[tokio::test]
async fn a_tls_hello_is_answered_so_that_docker_goes_on_without() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let nodes = cluster(1, &[]).await;
    let agent = Agent::start(&[&nodes[0]], 1 << 20).await;
    let mut stream = host::dial(&agent.address, Duration::from_secs(1)).await.expect("connected");
    stream.write_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03").await.expect("sent");
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    tokio::time::timeout(Duration::from_secs(2), read).await.expect("at once").expect("read");
    assert!(answer.starts_with(b"HTTP/1.1 400"), "{:?}", String::from_utf8_lossy(&answer));
}

/// An answer of a test node.
fn plain(status: u16, headers: &[(&str, &str)], bytes: impl Into<Bytes>) -> Response<Body> {
    let mut answer = Response::builder().status(status);
    for (name, value) in headers {
        answer = answer.header(*name, *value);
    }
    answer.body(body::full(bytes)).expect("an answer")
}
