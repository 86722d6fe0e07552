use std::{net::SocketAddr, sync::Arc};

use atoll_core::{
    ring::allocator::{self, Share},
    view::{Epoch, Member, MemberState, NodeId, RingMode, View},
};
use serde_json::{Value, json};

use super::{
    super::{pieces::Pieces, *},
    fake::{FakeLedger, FakePieces, digest},
    *,
};
use crate::{
    cluster::Cluster,
    io::{Io, net::Peer},
};

/// Node 1 of three; the others are down, so that nobody is asked over a network that is not there.
struct Fixture {
    state: AdminState,
    pieces: Arc<FakePieces>,
    ledger: Arc<FakeLedger>,
    cluster: Cluster,
}

fn view() -> View {
    let member = |node: u16, state| Member {
        name: format!("n{node}"),
        incarnation: 1,
        http: format!("10.0.0.{node}:5000"),
        grpc: format!("10.0.0.{node}:5001"),
        zone: String::new(),
        weight: 1,
        state,
    };
    let mode = RingMode::Assigned { points: 256 };
    let mut view = View::first("reef".into(), 2, mode, NodeId(1), member(1, MemberState::Up));
    let share = || Share { weight: 1, zone: String::new() };
    let shares = (1..=3).map(|node| (NodeId(node), share())).collect();
    view.ring = Arc::new(allocator::allocate(None, &shares, 256, 2));
    for node in [2, 3] {
        view.members.insert(NodeId(node), member(node, MemberState::Down));
    }
    view.next_node = NodeId(4);
    view
}

fn fixture() -> Fixture {
    let folder = tempfile::tempdir().expect("a folder");
    let clock = Io::real(folder.path()).expect("io").clock;
    let view = view();
    let (pieces, ledger) = (Arc::<FakePieces>::default(), Arc::new(FakeLedger::of(&view)));
    let cluster = Cluster::new(NodeId(1), 1, clock, view);
    let state = AdminState { metrics: Metrics::new(), ..AdminState::default() };
    let operator = Operator::new(cluster.clone(), pieces.clone(), ledger.clone());
    state.operator.set(operator).expect("set once");
    Fixture { state, pieces, ledger, cluster }
}

impl Fixture {
    async fn ask(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        self.ask_from("127.0.0.1:9", method, path, body).await
    }

    async fn ask_from(&self, peer: &str, method: &str, path: &str, body: Value) -> (u16, Value) {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let mut request = http::Request::builder()
            .method(method)
            .uri(path)
            .body(Body::from(body))
            .expect("valid");
        let peer: SocketAddr = peer.parse().expect("an address");
        request.extensions_mut().insert(Peer(peer));
        let response = router(self.state.clone()).oneshot(request).await.expect("infallible");
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.expect("a whole body").to_bytes();
        (status, serde_json::from_slice(&body).expect("JSON, always"))
    }

    async fn get(&self, path: &str) -> Value {
        let (status, body) = self.ask("GET", path, Value::Null).await;
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        let (status, answer) = self.ask("POST", path, body).await;
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    }

    /// The code and status of a refusal.
    async fn refused(&self, method: &str, path: &str, body: Value) -> (u16, String) {
        let (status, answer) = self.ask(method, path, body).await;
        for field in ["code", "message", "detail"] {
            assert!(answer[field].as_str().is_some_and(|text| !text.is_empty()), "{answer}");
        }
        (status, answer["code"].as_str().expect("a code").to_owned())
    }

    fn intent(&self, node: u16) -> atoll_core::view::Intent {
        self.ledger.page().members[&NodeId(node)].0.intent
    }
}

#[tokio::test]
async fn a_status_tells_members_and_what_is_wrong() {
    let fixture = fixture();
    let status = fixture.get("/v1/status").await;
    assert_eq!(status["cluster_id"], "reef");
    assert_eq!(status["nodes"][0]["state"], "up");
    assert_eq!(status["nodes"][0]["leader"], true);
    assert_eq!(status["nodes"][0]["report"]["lease_valid"], true);
    assert_eq!(status["nodes"][1]["state"], "down");
    assert_eq!(status["nodes"][1]["report"], Value::Null);
    assert_eq!(status["health"], "critical", "two of three down, each blob has two copies");
    assert_eq!(status["problems"][0]["code"], "no_quorum");

    *fixture.ledger.lost.lock().unwrap() = true;
    let status = fixture.get("/v1/status").await;
    assert_eq!(status["nodes"][2]["name"], "n3", "what this node knows is told without the ledger");
    let codes: Vec<_> = status["problems"].as_array().unwrap().iter().map(|p| &p["code"]).collect();
    assert!(codes.contains(&&json!("no_ledger")), "{codes:?}");
}

#[tokio::test]
async fn the_ring_tells_shares() {
    let ring = fixture().get("/v1/ring").await;
    assert_eq!((&ring["mode"], &ring["points"]), (&json!("assigned"), &json!(256)));
    let points: u64 =
        ring["nodes"].as_array().unwrap().iter().map(|n| n["points"].as_u64().unwrap()).sum();
    assert_eq!(points, 256);
    let target = ring["nodes"][2]["target_percent"].as_f64().unwrap();
    assert!((target - 33.333).abs() < 0.01, "{target}");
}

#[tokio::test]
async fn where_names_owners_in_order_and_what_they_said() {
    let fixture = fixture();
    let found = fixture.get("/v1/where?ref=app:1.0").await;
    assert_eq!(found["target"], "app:1.0");
    let owners = fixture.cluster.view().placement(&digest("here"));
    let manifest = &found["objects"][0];
    assert_eq!(manifest["kind"], "manifest");
    for (at, owner) in owners.iter().enumerate() {
        let copy = &manifest["copies"][at];
        assert_eq!((&copy["node"], &copy["owner"]), (&json!(owner.0), &json!(true)));
        let said = if owner.0 == 3 { "unknown" } else { "present" };
        assert_eq!(copy["state"], said);
    }
    let layer = found["objects"][1]["copies"].as_array().unwrap();
    assert!(layer.iter().all(|copy| copy["state"] != "present"), "{layer:?}");

    assert_eq!(
        fixture.refused("GET", "/v1/where?ref=other:1.0", Value::Null).await,
        (404, "unknown_image".into())
    );
    for path in ["/v1/where?ref=app", "/v1/where?ref=sha256:12"] {
        assert_eq!(fixture.refused("GET", path, Value::Null).await, (400, "bad_target".into()));
    }
    assert_eq!(fixture.refused("GET", "/v1/where", Value::Null).await, (400, "bad_query".into()));
    let blob = fixture.get(&format!("/v1/where?ref={}", digest("here"))).await;
    assert_eq!(blob["objects"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_drain_is_shown_then_done_once() {
    use atoll_core::view::Intent;
    let fixture = fixture();
    let shown = fixture.post("/v1/nodes/2/drain?dry_run=1", Value::Null).await;
    assert_eq!((&shown["committed"], fixture.intent(2)), (&json!(false), Intent::In));
    assert!(shown["movement"]["arcs_moved"].as_u64().unwrap() > 0, "{shown}");

    let done = fixture.post("/v1/nodes/n2/drain", json!({})).await;
    assert_eq!((&done["committed"], fixture.intent(2)), (&json!(true), Intent::Draining));
    let again = fixture.post("/v1/nodes/2/drain", json!({})).await;
    assert!(again["notes"].to_string().contains("so already"), "{again}");
    fixture.post("/v1/nodes/2/undrain", json!({})).await;
    assert_eq!(fixture.intent(2), Intent::In);

    assert_eq!(
        fixture.refused("POST", "/v1/nodes/9/drain", Value::Null).await,
        (404, "unknown_node".into())
    );
    assert_eq!(
        fixture.refused("POST", "/v1/nodes/2/drain?dry_run=maybe", Value::Null).await,
        (400, "bad_query".into())
    );
}

#[tokio::test]
async fn a_dead_node_is_replaced_by_one_that_is_up() {
    use atoll_core::view::Intent;
    let fixture = fixture();
    let path = "/v1/nodes/2/replace";
    assert_eq!(fixture.refused("POST", path, json!({})).await, (400, "bad_body".into()));
    assert_eq!(fixture.refused("POST", path, json!({"by": 3})).await, (400, "bad_plan".into()));
    assert_eq!(fixture.refused("POST", path, json!({"by": "2"})).await, (400, "bad_plan".into()));
    let done = fixture.post(path, json!({"by": 1})).await;
    assert_eq!(fixture.intent(2), Intent::Removed);
    assert!(done["notes"].to_string().contains("spread over all nodes"), "{done}");
}

#[tokio::test]
async fn there_is_one_plan_at_a_time() {
    use atoll_core::view::Intent;
    let fixture = fixture();
    let changes = json!({"changes": [{"node": 2, "change": "remove"}]});
    assert_eq!(fixture.get("/v1/plan").await, Value::Null);
    let shown = fixture.post("/v1/plan?dry_run=1", changes.clone()).await;
    assert_eq!(shown["staged"], false);
    assert_eq!(fixture.get("/v1/plan").await, Value::Null);

    assert_eq!(fixture.post("/v1/plan", changes.clone()).await["staged"], true);
    assert_eq!(fixture.get("/v1/plan").await["changes"], changes["changes"]);
    assert_eq!(fixture.get("/v1/ring").await["plan"]["base_epoch"], 1);
    for (path, body) in [("/v1/plan", changes.clone()), ("/v1/nodes/3/drain", Value::Null)] {
        assert_eq!(fixture.refused("POST", path, body).await, (409, "plan_staged".into()));
    }

    let newer = View { epoch: Epoch(2), ..view() };
    fixture.cluster.adopt(newer);
    assert_eq!(
        fixture.refused("POST", "/v1/plan/commit", Value::Null).await,
        (409, "plan_outdated".into())
    );
    assert_eq!(fixture.ask("DELETE", "/v1/plan", Value::Null).await.0, 200);
    fixture.post("/v1/plan", changes).await;
    assert_eq!(fixture.post("/v1/plan/commit", Value::Null).await["committed"], true);
    assert_eq!(fixture.intent(2), Intent::Removed);
    for (method, path) in [("POST", "/v1/plan/commit"), ("DELETE", "/v1/plan")] {
        assert_eq!(fixture.refused(method, path, Value::Null).await, (404, "no_plan".into()));
    }
}

#[tokio::test]
async fn changes_come_from_this_machine_unless_others_may() {
    let mut fixture = fixture();
    let elsewhere = "10.1.2.3:9";
    let changes = [
        "/v1/nodes/2/drain",
        "/v1/nodes/2/undrain",
        "/v1/nodes/2/remove",
        "/v1/nodes/2/replace",
        "/v1/plan",
        "/v1/plan/commit",
        "/v1/repair",
        "/v1/gc",
        "/v1/tokens",
    ];
    for path in changes {
        let (status, answer) = fixture.ask_from(elsewhere, "POST", path, Value::Null).await;
        assert_eq!((status, &answer["code"]), (403, &json!("not_local")), "{path}");
    }
    let (status, _) = fixture.ask_from(elsewhere, "DELETE", "/v1/plan", Value::Null).await;
    assert_eq!(status, 403);
    assert_eq!(fixture.ask_from(elsewhere, "GET", "/v1/status", Value::Null).await.0, 200);
    fixture.state.allow_remote = true;
    assert_eq!(fixture.ask_from(elsewhere, "POST", "/v1/repair", Value::Null).await.0, 200);
}

#[tokio::test]
async fn the_rest_is_handed_on() {
    let fixture = fixture();
    let repair = fixture.post("/v1/repair", json!({})).await;
    assert_eq!(*fixture.pieces.repairs.lock().unwrap(), 1);
    assert_eq!(repair, json!({"started": [1], "silent": []}), "the others are down, not silent");
    assert_eq!(fixture.post("/v1/gc?dry_run=1", json!({})).await["started"], false);
    let token = fixture.post("/v1/tokens", json!({"ttl_seconds": 60})).await;
    assert_eq!((&token["token"], &token["ttl_seconds"]), (&json!("secret"), &json!(60)));
    assert_eq!(fixture.post("/v1/tokens", Value::Null).await["ttl_seconds"], 3600);
    for ttl in [json!(0), json!(-1), json!(99_999_999), json!("1h")] {
        let refused = fixture.refused("POST", "/v1/tokens", json!({"ttl_seconds": ttl})).await;
        assert_eq!(refused, (400, "bad_body".into()));
    }
    let told = serde_json::from_value(fixture.get("/v1/report").await).unwrap();
    assert_eq!(fixture.pieces.report().await, told);
}

#[tokio::test]
async fn what_is_not_there_says_so_in_json() {
    let fixture = fixture();
    assert_eq!(
        fixture.refused("GET", "/v1/nothing", Value::Null).await,
        (404, "unknown_path".into())
    );
    assert_eq!(
        fixture.refused("GET", "/v1/nodes/2/drain", Value::Null).await,
        (405, "wrong_method".into())
    );
    *fixture.ledger.lost.lock().unwrap() = true;
    assert_eq!(
        fixture.refused("POST", "/v1/nodes/2/drain", Value::Null).await,
        (503, "no_coordination".into())
    );
    let starting = Fixture { state: AdminState::default(), ..fixture };
    assert_eq!(starting.refused("GET", "/v1/status", Value::Null).await, (503, "starting".into()));
}
