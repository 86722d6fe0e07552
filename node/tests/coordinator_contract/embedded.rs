//! The suite against Atoll's own nodes, and what only they are asked for: nodes that die, nodes that
//! join.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use atoll_node::{
    coordination::{
        Coordinator, CreateMode, EventKind, Session, SessionState, WatchEvent, embedded::TICK,
    },
    metadata::COORDINATION,
};

use crate::{
    nodes::{joiner, leader, stop_all, three},
    suite::{Bench, run},
};

const TIMEOUT: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_embedded_coordinator_keeps_the_contract() {
    let nodes = three().await;
    let servers = nodes.iter().map(|node| Arc::new(node.coordinator().clone()) as _).collect();
    run(&Bench { servers, tick: TICK, heartbeat: TICK }).await;
    stop_all(nodes).await;
}

/// The leader dies with a session on it. The other sessions go on under the next leader, which grants
/// everybody a full time-out: nobody but the dead one ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_outlive_a_leader() {
    let mut nodes = three().await;
    let first = leader(&nodes).await;
    let others = [(first + 1) % 3, (first + 2) % 3];
    let mut sessions: Vec<Arc<dyn Session>> = Vec::new();
    for at in [first, others[0], others[1]] {
        sessions.push(nodes[at].coordinator().open_session(TIMEOUT).await.unwrap());
    }
    let survivor = sessions[1].clone();
    survivor.create("/nodes", b"", CreateMode::PERSISTENT).await.unwrap();
    for (name, session) in ["dead", "one", "two"].iter().zip(&sessions) {
        session.create(&format!("/nodes/{name}"), b"", CreateMode::EPHEMERAL).await.unwrap();
    }
    survivor.sync("/nodes").await.unwrap();
    let (names, _, mut queue) = survivor.children_watch("/nodes").await.unwrap();
    assert_eq!(names, ["dead", "one", "two"]);

    let died = Instant::now();
    nodes[first].stop().await;
    // Changes go on as soon as somebody leads.
    survivor.set("/nodes", b"after", None).await.unwrap();
    eprintln!("changed again {:?} after the leader died", died.elapsed());
    assert!(matches!(queue.next().await, Some(WatchEvent::Changed(event))
        if event.kind == EventKind::ChildrenChanged));
    let took = died.elapsed();
    eprintln!("the dead leader's znode went {took:?} after it died");
    assert!(took >= TIMEOUT - TICK, "{took:?}");
    // An election, and the full time-out that the next leader grants.
    assert!(took <= TIMEOUT + TICK + Duration::from_secs(4), "{took:?}");
    tokio::time::sleep(TIMEOUT).await;
    assert_eq!(survivor.children("/nodes").await.unwrap().0, ["one", "two"]);
    for session in &sessions[1..] {
        assert_eq!(session.liveness().borrow().state, SessionState::Connected);
    }
    drop(sessions.remove(0));
    // Back again, the node serves and its old session is known to be gone.
    nodes[first].start().await;
    let back = nodes[first].coordinator().open_session(TIMEOUT).await.unwrap();
    assert_eq!(back.children("/nodes").await.unwrap().0, ["one", "two"]);
    stop_all(nodes).await;
}

/// Without a quorum no heartbeat is acknowledged, so leases run out; and no session ends, so none has
/// to be opened again when the quorum is back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_quorum_leases_run_out_and_sessions_stay() {
    let mut nodes = three().await;
    let first = leader(&nodes).await;
    let others = [(first + 1) % 3, (first + 2) % 3];
    let session = nodes[first].coordinator().open_session(TIMEOUT).await.unwrap();
    session.create("/e", b"", CreateMode::EPHEMERAL).await.unwrap();
    for other in others {
        nodes[other].stop().await;
    }
    // An answer may have been under way.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let mut liveness = session.liveness();
    let acknowledged = liveness.borrow_and_update().acknowledged;
    let lost = liveness.wait_for(|now| now.state == SessionState::Lost);
    let lost = *tokio::time::timeout(TIMEOUT * 2, lost).await.unwrap().unwrap();
    assert_eq!(lost.acknowledged, acknowledged, "acknowledged by no quorum");
    assert!(session.sync("/").await.is_err());
    for other in others {
        nodes[other].start().await;
    }
    let back = liveness.wait_for(|now| now.state == SessionState::Connected);
    tokio::time::timeout(TIMEOUT * 3, back).await.unwrap().unwrap();
    assert!(session.exists("/e").await.unwrap().is_some());
    stop_all(nodes).await;
}

/// A node joins as a learner and has the tree; it becomes a voter in the place of a dead one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_joins_and_takes_the_place_of_another() {
    let mut nodes = three().await;
    let session = nodes[0].coordinator().open_session(TIMEOUT).await.unwrap();
    // Entries enough that the log does not reach back to the beginning.
    session.create("/a", b"", CreateMode::PERSISTENT).await.unwrap();
    for _ in 0..200 {
        session.set("/a", b"x", None).await.unwrap();
    }
    let fourth = joiner(4).await;
    let address = fourth.address.to_string();
    // Asked of any node, whoever leads the group.
    for group in nodes[1].metadata().group_ids() {
        nodes[1].metadata().add_learner(group, 4, &address).await.unwrap();
    }
    nodes.push(fourth);
    let joined = nodes[3].coordinator();
    let opened = tokio::time::timeout(Duration::from_secs(20), joined.open_session(TIMEOUT));
    let session_there = opened.await.unwrap().unwrap();
    assert_eq!(session_there.get("/a").await.unwrap().1.version, 200);
    session_there.create("/from-a-learner", b"", CreateMode::EPHEMERAL).await.unwrap();

    let first = leader(&nodes).await;
    let dead = (0..3).find(|at| *at != first && *at != 0).unwrap();
    let dead_id = nodes[dead].id;
    nodes[dead].stop().await;
    let voters: BTreeSet<u64> = [1, 2, 3, 4].into_iter().filter(|id| *id != dead_id).collect();
    let change = nodes[3].metadata().change_voters(COORDINATION, voters.clone());
    change.await.unwrap();
    nodes[3].metadata().remove_member(COORDINATION, dead_id).await.unwrap();
    let membership = nodes[first].metadata().membership(COORDINATION).unwrap();
    assert_eq!((membership.voters, membership.learners), (voters, BTreeSet::new()));
    assert!(!membership.changing && !membership.addresses.contains_key(&dead_id));
    assert_eq!(membership.addresses[&4], address);

    // The new voters carry on without the old leader.
    let keep = (0..4).find(|at| *at != first && *at != dead).unwrap();
    let session = nodes[keep].coordinator().open_session(TIMEOUT).await.unwrap();
    nodes[first].stop().await;
    session.set("/a", b"y", Some(200)).await.unwrap();
    stop_all(nodes).await;
}
