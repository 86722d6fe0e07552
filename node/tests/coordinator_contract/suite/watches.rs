//! Watches: who hears what, how often, in which order.

use super::*;
use atoll_node::coordination::{Op, WatchMode};

pub async fn a_one_shot_watch_fires_once(bench: &Bench, root: &str) {
    let (watcher, writer) = (bench.session_at(0).await, bench.session_at(1).await);
    let path = format!("{root}/a");
    writer.create(&path, b"0", CreateMode::PERSISTENT).await.unwrap();
    watcher.sync(&path).await.unwrap();
    let (data, _, mut queue) = watcher.get_watch(&path).await.unwrap();
    assert_eq!(data, b"0");
    writer.set(&path, b"1", None).await.unwrap();
    let stat = writer.set(&path, b"2", None).await.unwrap();
    let event = next(&mut queue).await;
    assert_eq!((event.kind, event.path.as_str()), (EventKind::DataChanged, path.as_str()));
    // What it is like now must be read: the second change has melted into the first.
    watcher.sync(&path).await.unwrap();
    assert_eq!(watcher.get(&path).await.unwrap(), (b"2".to_vec(), stat));
    expect_end(&mut queue).await;
}

pub async fn each_kind_hears_what_concerns_it(bench: &Bench, root: &str) {
    let (watcher, writer) = (bench.session_at(2).await, bench.session_at(0).await);
    let (a, child) = (format!("{root}/a"), format!("{root}/a/c"));
    // An exists watch on what is not there yet hears of its birth.
    let (absent, mut born) = watcher.exists_watch(&a).await.unwrap();
    assert_eq!(absent, None);
    writer.create(&a, b"", CreateMode::PERSISTENT).await.unwrap();
    expect(&mut born, EventKind::Created, &a).await;

    watcher.sync(&a).await.unwrap();
    let (_, _, mut data) = watcher.get_watch(&a).await.unwrap();
    let (_, _, mut children) = watcher.children_watch(&a).await.unwrap();
    writer.create(&child, b"", CreateMode::PERSISTENT).await.unwrap();
    expect(&mut children, EventKind::ChildrenChanged, &a).await;
    expect_silence(&mut data).await;

    watcher.sync(&a).await.unwrap();
    let (_, _, mut children) = watcher.children_watch(&a).await.unwrap();
    let (_, mut exists) = watcher.exists_watch(&a).await.unwrap();
    writer.set(&a, b"x", None).await.unwrap();
    expect(&mut data, EventKind::DataChanged, &a).await;
    expect(&mut exists, EventKind::DataChanged, &a).await;
    // Data of the znode or of a child is no matter of its children.
    writer.set(&child, b"x", None).await.unwrap();
    expect_silence(&mut children).await;
    writer.delete(&child, None).await.unwrap();
    expect(&mut children, EventKind::ChildrenChanged, &a).await;

    watcher.sync(&a).await.unwrap();
    let (_, _, mut data) = watcher.get_watch(&a).await.unwrap();
    let (_, _, mut children) = watcher.children_watch(&a).await.unwrap();
    let (_, mut exists) = watcher.exists_watch(&a).await.unwrap();
    writer.delete(&a, None).await.unwrap();
    for queue in [&mut data, &mut children, &mut exists] {
        expect(queue, EventKind::Deleted, &a).await;
        expect_end(queue).await;
    }
}

pub async fn a_persistent_watch_hears_everything_in_order(bench: &Bench, root: &str) {
    let (watcher, writer) = (bench.session_at(1).await, bench.session_at(2).await);
    let (a, child) = (format!("{root}/a"), format!("{root}/a/c"));
    let mut queue = watcher.watch(&a, WatchMode::Persistent).await.unwrap();
    for _ in 0..3 {
        writer.create(&a, b"", CreateMode::PERSISTENT).await.unwrap();
        writer.set(&a, b"1", None).await.unwrap();
        writer.create(&child, b"", CreateMode::PERSISTENT).await.unwrap();
        writer.set(&child, b"1", None).await.unwrap();
        writer.delete(&child, None).await.unwrap();
        writer.delete(&a, None).await.unwrap();
    }
    use EventKind::{ChildrenChanged, Created, DataChanged, Deleted};
    let mut zxids = Vec::new();
    for _ in 0..3 {
        for kind in [Created, DataChanged, ChildrenChanged, ChildrenChanged, Deleted] {
            let event = next(&mut queue).await;
            assert_eq!((event.kind, event.path.as_str()), (kind, a.as_str()));
            zxids.push(event.zxid);
        }
    }
    assert!(zxids.is_sorted(), "{zxids:?}");
    expect_silence(&mut queue).await;
}

pub async fn a_recursive_watch_hears_everything_below(bench: &Bench, root: &str) {
    let (watcher, writer) = (bench.session_at(0).await, bench.session_at(0).await);
    let mut queue = watcher.watch(root, WatchMode::PersistentRecursive).await.unwrap();
    let (a, b) = (format!("{root}/a"), format!("{root}/a/b"));
    let create = |path: &str| Op::Create {
        path: path.to_owned(),
        data: vec![],
        mode: CreateMode::EPHEMERAL,
    };
    writer.create(&a, b"", CreateMode::PERSISTENT).await.unwrap();
    // Events of a multi come in the order of its operations.
    let ops = vec![create(&b), Op::Set { path: a.clone(), data: vec![1], version: None }];
    writer.multi(ops).await.unwrap();
    writer.set(root, b"1", None).await.unwrap();
    writer.close().await.unwrap();
    expect(&mut queue, EventKind::Created, &a).await;
    expect(&mut queue, EventKind::Created, &b).await;
    expect(&mut queue, EventKind::DataChanged, &a).await;
    expect(&mut queue, EventKind::DataChanged, root).await;
    expect(&mut queue, EventKind::Deleted, &b).await;
    expect_silence(&mut queue).await;
}

pub async fn an_event_comes_before_what_it_announces(bench: &Bench, root: &str) {
    let (watcher, writer) = (bench.session_at(0).await, bench.session_at(1).await);
    let path = format!("{root}/a");
    writer.create(&path, b"", CreateMode::PERSISTENT).await.unwrap();
    watcher.sync(&path).await.unwrap();
    for round in 0..30 {
        let (_, stat, mut queue) = watcher.get_watch(&path).await.unwrap();
        assert_eq!(stat.version, round);
        let set = writer.set(&path, b"x", None);
        let seen = async {
            while watcher.get(&path).await.unwrap().1.version == round {
                tokio::task::yield_now().await;
            }
            // The new data is seen: the event is there.
            queue.try_next()
        };
        let (set, event) = futures_util::future::join(set, seen).await;
        set.unwrap();
        assert!(matches!(event, Some(WatchEvent::Changed(_))), "round {round}: {event:?}");
    }
}
