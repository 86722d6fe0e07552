//! The stories of ZooKeeper's documentation; random histories are in `coordination/tests.rs`.

use super::*;
use crate::{
    coordination::command::{DATA_BYTES_MAX, OPS_MAX},
    metadata::MemoryKv,
};

const NOW: u64 = 1_000;

fn at(index: u64) -> Position {
    Position { index, term: 1 }
}

fn run(kv: &mut MemoryKv, index: u64, change: Change) -> (Verdict, Effects) {
    let mut effects = Effects::default();
    let command = Command { now_ms: NOW + index, change };
    let outcome = apply(kv, at(index), &command, &mut effects).unwrap();
    assert_eq!(outcome.zxid, Zxid(index));
    (outcome.verdict, effects)
}

fn open_session(kv: &mut MemoryKv, index: u64) -> SessionId {
    let (verdict, effects) = run(kv, index, Change::CreateSession { timeout_ms: 3000, owner: 7 });
    assert_eq!(verdict, Verdict::Opened(SessionId(index)));
    assert_eq!(effects.opened, [(SessionId(index), 3000)]);
    SessionId(index)
}

fn create(path: &str, mode: CreateMode) -> Op {
    Op::Create { path: path.to_owned(), data: b"x".to_vec(), mode }
}

fn events(effects: &Effects) -> Vec<(EventKind, &str)> {
    effects.events.iter().map(|event| (event.kind, event.path.as_str())).collect()
}

#[test]
fn an_ephemeral_znode_ends_with_its_session() {
    let mut kv = MemoryKv::default();
    let (mine, other) = (open_session(&mut kv, 1), open_session(&mut kv, 2));
    let ops = vec![
        create("/nodes", CreateMode::PERSISTENT),
        create("/nodes/1", CreateMode::EPHEMERAL),
        create("/nodes/2", CreateMode::EPHEMERAL),
    ];
    run(&mut kv, 3, Change::Multi { session: mine, ops });
    let ops = vec![create("/nodes/3", CreateMode::EPHEMERAL)];
    run(&mut kv, 4, Change::Multi { session: other, ops });

    let expire = |term| Change::ExpireSessions { sessions: vec![mine, SessionId(99)], term };
    // Timed in another term: somebody else may have heard from it since.
    assert_eq!(run(&mut kv, 5, expire(0)), (Verdict::Ended(vec![]), Effects::default()));
    let (verdict, effects) = run(&mut kv, 6, expire(1));
    assert_eq!(verdict, Verdict::Ended(vec![mine]));
    assert_eq!(effects.ended, [mine]);
    let parent = (EventKind::ChildrenChanged, "/nodes");
    let gone = |path| (EventKind::Deleted, path);
    assert_eq!(events(&effects), [gone("/nodes/1"), parent, gone("/nodes/2"), parent]);

    let path = Path::parse("/nodes").unwrap();
    let (names, stat) = query::children(&kv, path).unwrap().unwrap();
    assert_eq!(names, ["3"]);
    assert_eq!((stat.num_children, stat.cversion, stat.pzxid), (1, 5, Zxid(6)));
    // A session that has ended changes nothing any more.
    let ops = vec![create("/late", CreateMode::PERSISTENT)];
    let (verdict, _) = run(&mut kv, 7, Change::Multi { session: mine, ops });
    assert_eq!(verdict, Verdict::Refused { at: 0, refusal: Refusal::SessionExpired(mine) });
}

#[test]
fn numbers_count_every_child_there_ever_was() {
    let mut kv = MemoryKv::default();
    let session = open_session(&mut kv, 1);
    let one = |kv: &mut MemoryKv, index, op| {
        let (verdict, _) = run(kv, index, Change::Multi { session, ops: vec![op] });
        match verdict {
            Verdict::Done(mut done) => done.remove(0),
            other => panic!("{other:?}"),
        }
    };
    let mut created = Vec::new();
    one(&mut kv, 2, create("/q", CreateMode::PERSISTENT));
    for (index, path) in (3..).zip(["/q/a-", "/q/a-", "/q/", "/q/plain"]) {
        let sequential = path != "/q/plain";
        let mode = CreateMode { ephemeral: false, sequential };
        if let OpOutcome::Created { path, .. } = one(&mut kv, index, create(path, mode)) {
            created.push(path);
        }
    }
    one(&mut kv, 7, Op::Delete { path: "/q/plain".to_owned(), version: Some(0) });
    let next = one(&mut kv, 8, create("/q/b", CreateMode::EPHEMERAL_SEQUENTIAL));
    let OpOutcome::Created { path, .. } = next else { panic!("{next:?}") };
    created.push(path);
    let expected =
        ["/q/a-0000000000", "/q/a-0000000001", "/q/0000000002", "/q/plain", "/q/b0000000004"];
    assert_eq!(created, expected);
}

#[test]
fn too_much_at_once_is_refused() {
    let mut kv = MemoryKv::default();
    let session = open_session(&mut kv, 1);
    let before = kv.clone();
    let sized = |size| Op::Create {
        path: "/a".to_owned(),
        data: vec![0; size],
        mode: CreateMode::PERSISTENT,
    };
    let refused = |verdict| match verdict {
        Verdict::Refused { refusal: Refusal::TooLarge { .. }, .. } => true,
        other => panic!("{other:?}"),
    };
    let ops = vec![sized(DATA_BYTES_MAX + 1)];
    assert!(refused(run(&mut kv, 2, Change::Multi { session, ops }).0));
    let check = Op::Check { path: "/".to_owned(), version: None };
    let ops = vec![check; OPS_MAX + 1];
    assert!(refused(run(&mut kv, 3, Change::Multi { session, ops }).0));
    assert_eq!(kv, before);
    let ops = vec![sized(DATA_BYTES_MAX)];
    let (verdict, _) = run(&mut kv, 4, Change::Multi { session, ops });
    assert!(matches!(verdict, Verdict::Done(_)));
}
