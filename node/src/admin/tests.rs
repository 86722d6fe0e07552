//! The listener, asked over its router.

mod api;
mod fake;

use axum::body::Body;
use http_body_util::BodyExt;
use tower::ServiceExt;

use super::*;

async fn get_path(state: &AdminState, path: &str) -> (u16, String) {
    let request = http::Request::get(path).body(Body::empty()).expect("a request");
    let response = router(state.clone()).oneshot(request).await.expect("infallible");
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.expect("a whole body").to_bytes();
    (status, String::from_utf8(body.to_vec()).expect("text"))
}

#[tokio::test]
async fn a_node_is_ready_when_all_parts_are_up_and_it_does_not_drain() {
    let state = AdminState { metrics: Metrics::new(), ..AdminState::default() };
    assert_eq!(get_path(&state, "/livez").await, (200, "ok\n".into()));
    assert_eq!(get_path(&state, "/startupz").await.0, 503);

    state.health.set(Check::Storage, CheckState::Ready);
    state.health.set(Check::Listener, CheckState::Ready);
    let (status, body) = get_path(&state, "/readyz").await;
    assert_eq!(status, 503);
    assert_eq!(
        body,
        r#"{"ready":false,"draining":false,"checks":{"storage":"ready","metadata":"starting","listener":"ready","cluster":"starting"}}"#
    );

    state.health.set(Check::Metadata, CheckState::Ready);
    assert_eq!(get_path(&state, "/readyz").await.0, 503);
    state.health.set(Check::Cluster, CheckState::Ready);
    assert_eq!(get_path(&state, "/readyz").await.0, 200);
    assert_eq!(get_path(&state, "/startupz").await.0, 200);

    state.health.set(Check::Metadata, CheckState::Failed);
    assert_eq!(get_path(&state, "/readyz").await.0, 503);
    assert_eq!(get_path(&state, "/startupz").await.0, 200, "a start happens once");

    state.health.set(Check::Metadata, CheckState::Ready);
    state.health.drain();
    let (status, body) = get_path(&state, "/readyz").await;
    assert_eq!(status, 503);
    assert!(body.starts_with(r#"{"ready":false,"draining":true,"#), "{body}");
    assert_eq!(get_path(&state, "/livez").await.0, 200, "draining is no reason to restart");
}

#[tokio::test]
async fn metrics_are_open_metrics_text() {
    let state = AdminState { metrics: Metrics::new(), ..AdminState::default() };
    let (status, body) = get_path(&state, "/metrics").await;
    assert_eq!(status, 200);
    assert!(body.contains("# TYPE atoll_http_connections gauge\n"), "{body}");
    assert!(body.ends_with("# EOF\n"));
    assert_eq!(get_path(&state, "/nothing").await.0, 404);
}
