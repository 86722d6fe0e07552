//! The API of several nodes: any of them takes any request of an upload, and answers any pull.

#![allow(clippy::unwrap_used, reason = "a test panics when something is wrong")]

mod replicate_common;

use atoll_core::view::{MemberState, NodeId};
use axum::body::Body;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use replicate_common::*;

async fn ask(
    fleet: &Fleet,
    at: u16,
    method: Method,
    path: &str,
    headers: &[(header::HeaderName, &str)],
    body: impl Into<Body>,
) -> Response<Body> {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(name, *value);
    }
    fleet.api(NodeId(at)).answer(request.body(body.into()).unwrap()).await
}

async fn get(fleet: &Fleet, at: u16, path: &str) -> (StatusCode, Bytes) {
    let answer = ask(fleet, at, Method::GET, path, &[], Body::empty()).await;
    let status = answer.status();
    (status, answer.into_body().collect().await.unwrap().to_bytes())
}

fn location(answer: &Response<Body>) -> String {
    answer.headers()[header::LOCATION].to_str().unwrap().to_owned()
}

/// Opens a session at node `at`.
async fn begin(fleet: &Fleet, at: u16) -> String {
    let answer =
        ask(fleet, at, Method::POST, "/v2/team/app/blobs/uploads/", &[], Body::empty()).await;
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    location(&answer)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_upload_goes_through_every_node_and_the_image_is_pulled_at_every_node() {
    let fleet = Fleet::start(4, 3).await;
    let content = content(2_500_000, 1);
    let digest = sha256(&content);
    let session = begin(&fleet, 1).await;
    assert!(session.ends_with("0001"), "{session}");
    for (at, start, end) in [(2_u16, 0, 1_000_000), (3, 1_000_000, 1_000_001)] {
        let range = format!("{start}-{}", end - 1);
        let body = content.slice(start..end);
        let headers = [(header::CONTENT_RANGE, range.as_str())];
        let answer = ask(&fleet, at, Method::PATCH, &session, &headers, body).await;
        assert_eq!(answer.status(), StatusCode::ACCEPTED);
        assert_eq!(answer.headers()[header::RANGE], format!("0-{}", end - 1).as_str());
        assert_eq!(location(&answer), session);
    }
    let status = ask(&fleet, 4, Method::GET, &session, &[], Body::empty()).await;
    assert_eq!(status.status(), StatusCode::NO_CONTENT);
    assert_eq!(status.headers()[header::RANGE], "0-1000000");
    let rest = content.slice(1_000_001..);
    let end = format!("{session}?digest={digest}");
    let answer = ask(&fleet, 3, Method::PUT, &end, &[], rest).await;
    assert_eq!(answer.status(), StatusCode::CREATED);
    let mut owners = fleet.owners(&digest);
    owners.sort();
    assert_eq!(fleet.holders(&digest).await, owners);
    for at in 1..=4 {
        let (status, body) = get(&fleet, at, &format!("/v2/team/app/blobs/{digest}")).await;
        assert_eq!(status, StatusCode::OK);
        assert!(body == content);
    }
    push_and_pull_manifest(&fleet, &digest, content.len()).await;
}

async fn push_and_pull_manifest(fleet: &Fleet, layer: &atoll_core::Digest, size: usize) {
    const OCI: &str = "application/vnd.oci.image.manifest.v1+json";
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": OCI,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json",
                   "digest": layer, "size": size},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
                    "digest": layer, "size": size}],
    })
    .to_string();
    let headers = [(header::CONTENT_TYPE, OCI)];
    let path = "/v2/team/app/manifests/v1";
    let answer = ask(fleet, 2, Method::PUT, path, &headers, manifest.clone()).await;
    assert_eq!(answer.status(), StatusCode::CREATED);
    for at in 1..=4 {
        let (status, body) = get(fleet, at, path).await;
        assert_eq!((status, &body[..]), (StatusCode::OK, manifest.as_bytes()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whole_blob_in_one_request_is_sent_on_while_it_comes_in() {
    let fleet = Fleet::start(4, 3).await;
    for (at, size) in [(1_u16, 1_000), (2, 4 << 20)] {
        let content = content(size, 7);
        let digest = sha256(&content);
        let path = format!("/v2/team/app/blobs/uploads/?digest={digest}");
        let answer = ask(&fleet, at, Method::POST, &path, &[], content.clone()).await;
        assert_eq!(answer.status(), StatusCode::CREATED);
        let mut owners = fleet.owners(&digest);
        owners.sort();
        assert_eq!(fleet.holders(&digest).await, owners);
        // Bytes that are not the blob leave nothing, neither here nor along the chain.
        let other = sha256(b"something else");
        let path = format!("/v2/team/app/blobs/uploads/?digest={other}");
        let answer = ask(&fleet, at, Method::POST, &path, &[], content).await;
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
        assert_eq!(fleet.holders(&other).await, []);
    }
    for node in &fleet.nodes {
        node.until_no_uploads().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_whose_node_is_gone_ends_in_words_that_clients_understand() {
    let mut fleet = Fleet::start(3, 3).await;
    let session = begin(&fleet, 2).await;
    fleet.kill(NodeId(2)).await;
    let answer = ask(&fleet, 1, Method::PATCH, &session, &[], "x").await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.headers().contains_key(header::RETRY_AFTER));
    fleet.set_state(NodeId(2), MemberState::Down);
    let answer = ask(&fleet, 1, Method::PATCH, &session, &[], "x").await;
    assert_eq!(answer.status(), StatusCode::NOT_FOUND);
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    let text = String::from_utf8(body.to_vec()).unwrap();
    assert!(text.contains("BLOB_UPLOAD_UNKNOWN") && text.contains("node 2"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_has_is_404_and_what_is_out_of_reach_is_503() {
    let mut fleet = Fleet::start(4, 3).await;
    let (content, digest) = content_owned_without(&fleet, 2 << 20, &[NodeId(1)]);
    let path = format!("/v2/team/app/blobs/uploads/?digest={digest}");
    let answer = ask(&fleet, 1, Method::POST, &path, &[], content.clone()).await;
    assert_eq!(answer.status(), StatusCode::CREATED);
    let unknown = format!("/v2/team/app/blobs/{}", sha256(b"unknown"));
    assert_eq!(get(&fleet, 1, &unknown).await.0, StatusCode::NOT_FOUND);
    let known = format!("/v2/team/app/blobs/{digest}");
    for owner in fleet.owners(&digest) {
        assert_eq!(get(&fleet, 1, &known).await.0, StatusCode::OK);
        fleet.kill(owner).await;
    }
    let answer = ask(&fleet, 1, Method::GET, &known, &[], Body::empty()).await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.headers().contains_key(header::RETRY_AFTER));
    let answer = ask(&fleet, 1, Method::HEAD, &known, &[], Body::empty()).await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
}
