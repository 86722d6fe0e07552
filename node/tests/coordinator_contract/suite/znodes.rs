//! Znodes: versions, refusals, kinds, `multi`, freshness.

use super::*;
use atoll_node::coordination::{Op, OpOutcome, Stat};

pub async fn versions_guard_what_they_are_asked_to(bench: &Bench, root: &str) {
    let session = bench.session_at(0).await;
    let path = format!("{root}/a");
    let (created, stat) = session.create(&path, b"one", CreateMode::PERSISTENT).await.unwrap();
    assert_eq!(created, path);
    assert_eq!((stat.version, stat.cversion, stat.aversion), (0, 0, 0));
    assert_eq!((stat.czxid, stat.mzxid), (stat.pzxid, stat.pzxid));
    assert_eq!((stat.data_length, stat.num_children, stat.ephemeral_owner), (3, 0, None));
    assert_eq!(session.get(&path).await.unwrap(), (b"one".to_vec(), stat.clone()));

    let set = session.set(&path, b"three", Some(0)).await.unwrap();
    assert_eq!((set.version, set.data_length), (1, 5));
    assert!(set.mzxid > stat.mzxid && set.czxid == stat.czxid && set.pzxid == stat.pzxid);
    assert!(set.mtime_ms >= stat.mtime_ms && set.ctime_ms == stat.ctime_ms);
    let stale = session.set(&path, b"lost", Some(0)).await;
    assert!(matches!(refusal(stale), Refusal::BadVersion { expected: 0, .. }));
    assert_eq!(session.set(&path, b"", None).await.unwrap().version, 2);
    assert_eq!(session.get(&path).await.unwrap().0, b"");

    let child = format!("{path}/child");
    session.create(&child, b"", CreateMode::PERSISTENT).await.unwrap();
    let stat = session.exists(&path).await.unwrap().unwrap();
    assert_eq!((stat.version, stat.cversion, stat.num_children), (2, 1, 1));
    assert!(stat.pzxid > set.mzxid);
    assert!(matches!(refusal(session.delete(&child, Some(7)).await), Refusal::BadVersion { .. }));
    session.delete(&child, Some(0)).await.unwrap();
    let (names, stat) = session.children(&path).await.unwrap();
    assert_eq!((names, stat.cversion, stat.num_children), (vec![], 2, 0));
    session.delete(&path, None).await.unwrap();
    assert_eq!(session.exists(&path).await.unwrap(), None);
    session.close().await.unwrap();
}

pub async fn what_is_refused_is_refused_by_name(bench: &Bench, root: &str) {
    let session = bench.session_at(1).await;
    let path = format!("{root}/a");
    let absent = format!("{root}/absent");
    let below = format!("{absent}/below");
    session.create(&path, b"", CreateMode::PERSISTENT).await.unwrap();
    session.create(&format!("{path}/b"), b"", CreateMode::PERSISTENT).await.unwrap();

    let again = session.create(&path, b"", CreateMode::EPHEMERAL).await;
    assert!(matches!(refusal(again), Refusal::NodeExists(_)));
    let orphan = session.create(&below, b"", CreateMode::PERSISTENT).await;
    assert!(matches!(refusal(orphan), Refusal::NoNode(_)));
    assert!(matches!(refusal(session.get(&absent).await), Refusal::NoNode(_)));
    assert!(matches!(refusal(session.get_watch(&absent).await), Refusal::NoNode(_)));
    assert!(matches!(refusal(session.children(&absent).await), Refusal::NoNode(_)));
    assert!(matches!(refusal(session.children_watch(&absent).await), Refusal::NoNode(_)));
    assert!(matches!(refusal(session.set(&absent, b"", None).await), Refusal::NoNode(_)));
    assert!(matches!(refusal(session.delete(&absent, None).await), Refusal::NoNode(_)));
    assert!(matches!(refusal(session.delete(&path, None).await), Refusal::NotEmpty(_)));

    for wrong in ["", "a", "//", "/a/", "/a//b", "/a/./b", "/..", "/a\u{1}", "/\u{fff0}"] {
        let created = session.create(wrong, b"", CreateMode::PERSISTENT).await;
        assert!(matches!(refusal(created), Refusal::InvalidPath(_)), "{wrong:?}");
        assert!(matches!(refusal(session.get(wrong).await), Refusal::InvalidPath(_)));
    }
    assert!(session.delete("/", None).await.is_err());
    let large = vec![0; 1 << 20];
    assert!(session.set(&path, &large, None).await.is_err());
    let session = bench.session_at(0).await;
    assert_eq!(session.get(&path).await.unwrap().0, b"");
}

pub async fn ephemeral_znodes_belong_to_their_session(bench: &Bench, root: &str) {
    let (owner, other) = (bench.session_at(0).await, bench.session_at(1).await);
    let path = format!("{root}/e");
    let (_, stat) = owner.create(&path, b"x", CreateMode::EPHEMERAL).await.unwrap();
    assert_eq!(stat.ephemeral_owner, Some(owner.id()));
    let child = owner.create(&format!("{path}/c"), b"", CreateMode::PERSISTENT).await;
    assert!(matches!(refusal(child), Refusal::NoChildrenForEphemerals(_)));
    // Others may change it, and it still ends with its owner.
    other.sync(&path).await.unwrap();
    other.set(&path, b"y", Some(0)).await.unwrap();
    owner.close().await.unwrap();
    other.sync(&path).await.unwrap();
    assert_eq!(other.exists(&path).await.unwrap(), None);
    assert_eq!(other.children(root).await.unwrap().0, Vec::<String>::new());
    other.close().await.unwrap();
}

pub async fn numbers_count_every_child_there_ever_was(bench: &Bench, root: &str) {
    let session = bench.session_at(2).await;
    let mut created = Vec::new();
    let sequential = CreateMode::PERSISTENT_SEQUENTIAL;
    for prefix in ["n-", "n-", ""] {
        let path = format!("{root}/{prefix}");
        created.push(session.create(&path, b"", sequential).await.unwrap().0);
    }
    let plain = format!("{root}/plain");
    session.create(&plain, b"", CreateMode::PERSISTENT).await.unwrap();
    session.delete(&plain, None).await.unwrap();
    let path = format!("{root}/e");
    let (last, stat) = session.create(&path, b"", CreateMode::EPHEMERAL_SEQUENTIAL).await.unwrap();
    assert_eq!(stat.ephemeral_owner, Some(session.id()));
    created.push(last);
    let names = ["n-0000000000", "n-0000000001", "0000000002", "e0000000004"];
    assert_eq!(created, names.map(|name| format!("{root}/{name}")));
    let (children, stat) = session.children(root).await.unwrap();
    assert_eq!(children, ["0000000002", "e0000000004", "n-0000000000", "n-0000000001"]);
    assert_eq!((stat.cversion, stat.num_children), (6, 4));
    session.close().await.unwrap();
}

fn create(path: &str, mode: CreateMode) -> Op {
    Op::Create { path: path.to_owned(), data: b"m".to_vec(), mode }
}

pub async fn a_multi_is_all_or_nothing(bench: &Bench, root: &str) {
    let session = bench.session_at(0).await;
    let (a, b) = (format!("{root}/a"), format!("{root}/a/b"));
    let check = |path: &str, version| Op::Check { path: path.to_owned(), version };
    let set = |path: &str, version| Op::Set { path: path.to_owned(), data: vec![7], version };
    // Each operation sees what those before it did.
    let ops = vec![
        check(root, Some(0)),
        create(&a, CreateMode::PERSISTENT),
        create(&b, CreateMode::PERSISTENT),
        set(&b, Some(0)),
    ];
    let outcomes = session.multi(ops).await.unwrap();
    let zxid = |stat: &Stat| stat.mzxid;
    let [
        OpOutcome::Checked,
        OpOutcome::Created { path, stat },
        _,
        OpOutcome::Set { stat: set_stat },
    ] = &outcomes[..]
    else {
        panic!("{outcomes:?}");
    };
    assert_eq!((path, set_stat.version, zxid(stat)), (&a, 1, zxid(set_stat)));

    let ops = vec![
        create(&format!("{root}/c"), CreateMode::PERSISTENT),
        set(&a, None),
        check(&b, Some(0)),
        Op::Delete { path: b.clone(), version: None },
    ];
    match session.multi(ops).await {
        Err(CoordinationError::Refused { at: 2, refusal: Refusal::BadVersion { .. } }) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(session.children(root).await.unwrap().0, ["a"]);
    assert_eq!(session.get(&a).await.unwrap().0, b"m");
    let ops = [&b, &a].map(|path| Op::Delete { path: path.clone(), version: None });
    let outcomes = session.multi(ops.to_vec()).await.unwrap();
    assert_eq!(outcomes, [OpOutcome::Deleted, OpOutcome::Deleted]);
    assert_eq!(session.children(root).await.unwrap().0, Vec::<String>::new());
    session.close().await.unwrap();
}

pub async fn a_session_sees_what_it_wrote_and_sync_what_others_did(bench: &Bench, root: &str) {
    let path = format!("{root}/a");
    let writer = bench.session_at(0).await;
    let readers = [bench.session_at(1).await, bench.session_at(2).await];
    writer.create(&path, b"0", CreateMode::PERSISTENT).await.unwrap();
    let mut last = vec![0; readers.len()];
    for round in 1..=20_i32 {
        let written = writer.set(&path, round.to_string().as_bytes(), None).await.unwrap();
        assert_eq!(writer.get(&path).await.unwrap().1, written);
        for (reader, last) in readers.iter().zip(&mut last) {
            // Perhaps behind, never back.
            reader.sync(&path).await.unwrap();
            let version = reader.get(&path).await.unwrap().1.version;
            assert_eq!(version, round);
            assert!(version >= *last);
            *last = version;
        }
    }
}

pub async fn one_of_many_writers_of_a_version_wins(bench: &Bench, root: &str) {
    let path = format!("{root}/a");
    let mut sessions = Vec::new();
    for server in 0..6 {
        sessions.push(bench.session_at(server).await);
    }
    sessions[0].create(&path, b"", CreateMode::PERSISTENT).await.unwrap();
    for round in 0..5 {
        let sets = sessions.iter().map(|session| session.set(&path, b"w", Some(round)));
        let done = futures_util::future::join_all(sets).await;
        let won = done.iter().filter(|set| set.is_ok()).count();
        let lost = done.into_iter().filter_map(Result::err);
        let lost = lost.filter(|error| matches!(error.refusal(), Some(Refusal::BadVersion { .. })));
        assert_eq!((won, lost.count()), (1, sessions.len() - 1), "round {round}");
    }
}
