//! The service as a client that is no node uses it: only gRPC, at any node.

use std::time::Duration;

use atoll_node::wire::{Security, channel::Channel};
use atoll_proto::{
    coordination::v1::{
        ChangeRequest, CloseSessionRequest, Create, Event, EventKind, KeepAliveRequest, Op,
        OpenSessionRequest, ReadRequest, Reason, SyncRequest, WatchKind, WatchRequest,
        coordination_client::CoordinationClient, keep_alive_reply::Answer, op,
    },
    wire::v1::Envelope,
};

use crate::nodes::{leader, stop_all, three};

fn envelope() -> Option<Envelope> {
    Some(Envelope { cluster_id: "test".to_owned(), ..Envelope::default() })
}

pub fn client(address: &str) -> CoordinationClient<Channel> {
    CoordinationClient::new(Channel::new(address, &Security::plaintext()).unwrap())
}

fn create(session: u64, path: &str) -> ChangeRequest {
    let path = path.to_owned();
    let create = Create { path, data: "x".into(), ephemeral: true, sequential: false };
    let ops = vec![Op { op: Some(op::Op::Create(create)) }];
    ChangeRequest { envelope: envelope(), session, ops }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_holds_a_session_over_grpc() {
    let nodes = three().await;
    let leads = leader(&nodes).await;
    let follower = &nodes[(leads + 1) % 3];
    let mut client = crate::client::client(&follower.address.to_string());
    let request = OpenSessionRequest { envelope: envelope(), timeout_ms: 3000 };
    let opened = client.open_session(request).await.unwrap().into_inner();
    assert_eq!(opened.timeout_ms, 3000);
    let session = opened.session;

    // A node that does not lead says who does.
    let beat = || KeepAliveRequest { envelope: envelope(), session };
    let answer = client.keep_alive(beat()).await.unwrap().into_inner().answer;
    let Some(Answer::Leader(leader)) = answer else { panic!("{answer:?}") };
    assert_eq!(leader.address, nodes[leads].address.to_string());
    let mut at_leader = crate::client::client(&leader.address);
    let answer = at_leader.keep_alive(beat()).await.unwrap().into_inner().answer;
    assert!(matches!(answer, Some(Answer::Lives(_))), "{answer:?}");

    let changed = client.change(create(session, "/e")).await.unwrap().into_inner();
    assert_eq!((changed.refusal, changed.outcomes[0].path.as_str()), (None, "/e"));
    let again = client.change(create(session, "/e")).await.unwrap().into_inner();
    assert_eq!(again.refusal.unwrap().reason(), Reason::NodeExists);

    // At another node: it waits until it has what this client has seen.
    let third = &nodes[(leads + 2) % 3];
    let mut elsewhere = crate::client::client(&third.address.to_string());
    let last_zxid = again.zxid;
    let path = "/e".to_owned();
    let read = |path: &str, children| ReadRequest {
        envelope: envelope(),
        session,
        last_zxid,
        path: path.to_owned(),
        children,
    };
    let found = elsewhere.read(read(&path, false)).await.unwrap().into_inner();
    assert_eq!((found.data.as_ref(), found.stat.unwrap().ephemeral_owner), (&b"x"[..], session));
    let root = elsewhere.read(read("/", true)).await.unwrap().into_inner();
    assert_eq!(root.children, ["e"]);
    let synced = elsewhere.sync(SyncRequest { envelope: envelope() }).await.unwrap();
    assert!(synced.into_inner().zxid >= last_zxid);

    // A watch of a second session sees the first one's znode go.
    let request = OpenSessionRequest { envelope: envelope(), timeout_ms: 10_000 };
    let watcher = elsewhere.open_session(request).await.unwrap().into_inner();
    let request = WatchRequest {
        envelope: envelope(),
        session: watcher.session,
        last_zxid: watcher.zxid,
        path,
        kind: WatchKind::Exists.into(),
    };
    let mut events = elsewhere.watch(request).await.unwrap().into_inner();
    assert_eq!(events.message().await.unwrap().unwrap().event, None, "the watch stands");
    client.close_session(CloseSessionRequest { envelope: envelope(), session }).await.unwrap();
    let told = tokio::time::timeout(Duration::from_secs(10), events.message()).await.unwrap();
    let Event { kind, path, .. } = told.unwrap().unwrap().event.unwrap();
    assert_eq!((kind, path.as_str()), (EventKind::Deleted.into(), "/e"));
    assert_eq!(events.message().await.unwrap(), None);

    let answer = at_leader.keep_alive(beat()).await.unwrap().into_inner().answer;
    assert!(matches!(answer, Some(Answer::Ended(_))), "{answer:?}");
    let late = client.change(create(session, "/late")).await.unwrap().into_inner();
    assert_eq!(late.refusal.unwrap().reason(), Reason::SessionExpired);
    let stranger = Some(Envelope { cluster_id: "elsewhere".to_owned(), ..Envelope::default() });
    let refused = client.keep_alive(KeepAliveRequest { envelope: stranger, session }).await;
    assert_eq!(refused.unwrap_err().code(), tonic::Code::FailedPrecondition);
    stop_all(nodes).await;
}
