//! Watches against the definition: every watch that is concerned, in the order of registration.

use proptest::{collection::vec, prelude::*, sample::select};

use super::*;

fn event(zxid: u64, kind: EventKind, path: &str) -> Event {
    Event { zxid: Zxid(zxid), kind, path: path.to_owned() }
}

#[test]
fn a_one_shot_watch_is_told_once_and_only_what_is_new() {
    let mut watches = Watches::default();
    let path = Path::parse("/a").unwrap();
    let data = watches.register(path, WatchKind::Data, Zxid(5));
    let stays = watches.register(path, WatchKind::Persistent, Zxid(0));
    assert_eq!(watches.handle(&event(5, EventKind::DataChanged, "/a")), [stays]);
    assert_eq!(watches.handle(&event(6, EventKind::ChildrenChanged, "/a")), [stays]);
    assert_eq!(watches.handle(&event(7, EventKind::Deleted, "/a")), [data, stays]);
    assert_eq!(watches.handle(&event(8, EventKind::DataChanged, "/a")), [stays]);
    let once = watches.register(path, WatchKind::Exists, Zxid(8));
    assert_eq!(watches.handle_gap(), [stays, once]);
    assert_eq!(watches.handle(&event(9, EventKind::Created, "/a")), [stays]);
    watches.remove(stays);
    assert!(watches.is_empty() && watches.at.is_empty());
}

const PATHS: &[&str] = &["/", "/a", "/a/b", "/ab", "/a/b/c"];

fn any_kind() -> impl Strategy<Value = WatchKind> {
    use WatchKind::{Children, Data, Exists, Persistent, PersistentRecursive};
    select(vec![Data, Exists, Children, Persistent, PersistentRecursive])
}

fn any_event_kind() -> impl Strategy<Value = EventKind> {
    use EventKind::{ChildrenChanged, Created, DataChanged, Deleted};
    select(vec![Created, Deleted, DataChanged, ChildrenChanged])
}

/// ZooKeeper's table: which kind of watch, at which path, hears of which event.
fn concerned(kind: WatchKind, at: &str, event: &Event) -> bool {
    let below = at == "/" || event.path.starts_with(&format!("{at}/"));
    let here = at == event.path;
    match (kind, event.kind) {
        (WatchKind::PersistentRecursive, EventKind::ChildrenChanged) => false,
        (WatchKind::PersistentRecursive, _) => here || below,
        (WatchKind::Data, EventKind::Created | EventKind::ChildrenChanged)
        | (WatchKind::Exists, EventKind::ChildrenChanged)
        | (WatchKind::Children, EventKind::Created | EventKind::DataChanged) => false,
        _ => here,
    }
}

proptest! {
    #[test]
    fn everyone_concerned_is_told_in_order(
        steps in vec((any::<bool>(), any_kind(), any_event_kind(), select(PATHS), 0..20_u64), 0..60),
    ) {
        let mut watches = Watches::default();
        let mut expected: Vec<(WatchId, WatchKind, &str, u64)> = Vec::new();
        for (zxid, (register, kind, event_kind, path, since)) in (1..).zip(steps) {
            if register {
                let id = watches.register(Path::parse(path).unwrap(), kind, Zxid(since));
                expected.push((id, kind, path, since));
                continue;
            }
            let event = event(zxid, event_kind, path);
            let hears = |(_, kind, at, since): &&(WatchId, WatchKind, &str, u64)| {
                *since < zxid && concerned(*kind, at, &event)
            };
            let told: Vec<WatchId> = expected.iter().filter(hears).map(|watch| watch.0).collect();
            prop_assert_eq!(watches.handle(&event), told.clone());
            expected.retain(|(id, kind, ..)| !kind.is_one_shot() || !told.contains(id));
            prop_assert_eq!(watches.len(), expected.len());
        }
    }
}
