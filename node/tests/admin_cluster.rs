//! An operator asks whole nodes: any of them tells the same, and what one is told all do.
#![allow(clippy::unwrap_used, reason = "a test panics when something is wrong")]
#![allow(clippy::disallowed_methods, reason = "a test, on the real machine")]

mod cluster_common;

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::{Duration, Instant},
};

use atoll_core::{
    Algorithm, Digest,
    admin::{CopyState, NodeState, ObjectKind, Status, Whereabouts},
};
use atoll_node::config::Secret;
use cluster_common::{DEADLINE, TestNode, open_token, settings, settled};
use serde_json::{Value, json};

/// One request on a connection of its own: status and body.
fn ask(address: &str, method: &str, path: &str, kind: &str, body: &[u8]) -> (u16, Vec<u8>) {
    let mut stream = TcpStream::connect(address).unwrap();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\
         content-type: {kind}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    let status = std::str::from_utf8(&answer[9..12]).unwrap().parse().unwrap();
    (status, answer.split_off(end))
}

fn get<T: serde::de::DeserializeOwned>(node: &TestNode, path: &str) -> T {
    let (status, body) = ask(&node.admin, "GET", path, "application/json", b"");
    assert_eq!(status, 200, "{path}: {}", String::from_utf8_lossy(&body));
    serde_json::from_slice(&body).unwrap()
}

fn post(node: &TestNode, path: &str, body: &Value) -> (u16, Value) {
    let sent = body.to_string();
    let (status, body) = ask(&node.admin, "POST", path, "application/json", sent.as_bytes());
    (status, serde_json::from_slice(&body).unwrap())
}

/// Asks `node` for its status until it is as wanted.
#[track_caller]
fn wait_status(node: &TestNode, what: &str, wanted: impl Fn(&Status) -> bool) -> Status {
    let begun = Instant::now();
    loop {
        let status = get::<Status>(node, "/v1/status");
        if wanted(&status) {
            return status;
        }
        assert!(begun.elapsed() < 2 * DEADLINE, "{what}: {status:#?}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Pushes an image of one layer; answers the digests of manifest, config and layer.
fn push(node: &TestNode) -> [Digest; 3] {
    let blob = |content: &[u8]| {
        let digest = Digest::of(Algorithm::Sha256, content);
        let path = format!("/v2/team/app/blobs/uploads/?digest={digest}");
        let (status, body) = ask(&node.http, "POST", &path, "application/octet-stream", content);
        assert_eq!(status, 201, "{}", String::from_utf8_lossy(&body));
        digest
    };
    let (config, layer) = (blob(b"{}"), blob(b"a layer"));
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": kind,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": 2},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": layer, "size": 7}],
    });
    let manifest = manifest.to_string();
    let (status, body) =
        ask(&node.http, "PUT", "/v2/team/app/manifests/1.0", kind, manifest.as_bytes());
    assert_eq!(status, 201, "{}", String::from_utf8_lossy(&body));
    [Digest::of(Algorithm::Sha256, manifest.as_bytes()), config, layer]
}

#[test]
fn any_node_tells_and_does_what_an_operator_asks() {
    let folder = tempfile::tempdir().unwrap();
    let token = open_token();
    let first = TestNode::start(&folder.path().join("1"), settings("n1", &token, &[])).unwrap();
    let join = first.grpc.clone();
    let mut nodes = vec![first];
    for number in 2..=3 {
        let settings = settings(&format!("n{number}"), &token, &[&join]);
        nodes.push(TestNode::start(&folder.path().join(number.to_string()), settings).unwrap());
    }

    // A token from any node lets one more in.
    let (status, made) = post(&nodes[2], "/v1/tokens", &json!({"ttl_seconds": 600}));
    assert_eq!(status, 200, "{made}");
    let token = Secret::parse(made["token"].as_str().unwrap()).unwrap();
    let settings = settings("n4", &token, &[made["join"].as_str().unwrap()]);
    nodes.push(TestNode::start(&folder.path().join("4"), settings).unwrap());
    for node in &nodes {
        node.wait_view("all four are in the ring", |view| settled(view, &[1, 2, 3, 4]));
    }

    // Every node tells of every node, and where an image is.
    let parts = push(&nodes[0]);
    for node in &nodes {
        let told = |status: &Status| {
            let all_told = status.nodes.iter().all(|node| node.report.is_some());
            status.nodes.len() == 4 && all_told && status.coordination.leader.is_some()
        };
        wait_status(node, "every node has told of itself", told);
        let found: Whereabouts = get(node, "/v1/where?ref=team/app:1.0");
        let kinds: Vec<_> = found.objects.iter().map(|object| object.kind).collect();
        assert_eq!(kinds[0], ObjectKind::Manifest);
        assert!(kinds.contains(&ObjectKind::Config) && kinds.contains(&ObjectKind::Layer));
        for object in &found.objects {
            assert!(parts.iter().any(|digest| digest.to_string() == object.digest));
            let present = object.copies.iter().filter(|copy| copy.state == CopyState::Present);
            assert_eq!((object.present(), present.count()), (3, 3), "{found:#?}");
        }
    }

    // A node that is told of a drain by another hands over, and is then safe to stop.
    let (status, shown) = post(&nodes[1], "/v1/nodes/n4/drain?dry_run=1", &json!({}));
    assert_eq!((status, &shown["committed"]), (200, &json!(false)), "{shown}");
    let (status, refused) = post(&nodes[1], "/v1/nodes/4/remove", &json!({}));
    assert_eq!((status, &refused["code"]), (409, &json!("not_drained")), "{refused}");
    let (status, done) = post(&nodes[1], "/v1/nodes/4/drain", &json!({}));
    assert_eq!((status, &done["committed"]), (200, &json!(true)), "{done}");
    let is_drained = |status: &Status| {
        let node = status.nodes.iter().find(|node| node.id == 4);
        node.is_some_and(|node| node.state == NodeState::Drained && node.safe_to_stop)
    };
    wait_status(&nodes[0], "the fourth has drained", is_drained);
    let found: Whereabouts = get(&nodes[0], "/v1/where?ref=team/app:1.0");
    for object in &found.objects {
        assert_eq!(object.present(), 3, "each part has its copies elsewhere: {found:#?}");
    }

    let (status, done) = post(&nodes[2], "/v1/nodes/4/remove", &json!({}));
    assert_eq!((status, &done["committed"]), (200, &json!(true)), "{done}");
    nodes.pop().unwrap().stop();
    let gone = |status: &Status| status.nodes.iter().all(|node| node.id != 4);
    wait_status(&nodes[0], "the fourth is forgotten", gone);

    // What only one node can do is handed on to it.
    for node in &nodes {
        let (status, answer) = post(node, "/v1/gc?dry_run=1", &json!({}));
        assert_eq!((status, &answer["started"]), (200, &json!(false)), "{answer}");
        let (_, answer) = post(node, "/v1/repair", &json!({}));
        assert_eq!(answer, json!({"started": [1, 2, 3], "silent": []}));
    }
    let (_, metrics) = ask(&nodes[0].admin, "GET", "/metrics", "text/plain", b"");
    let metrics = String::from_utf8(metrics).unwrap();
    for line in [
        r#"atoll_cluster_members{state="up"} 3"#,
        "atoll_cluster_lease_valid 1",
        "atoll_gc_passes_total ",
        "atoll_under_replicated_blobs ",
        "atoll_hedges_total ",
    ] {
        assert!(metrics.lines().any(|found| found.starts_with(line)), "{line}:\n{metrics}");
    }
}
