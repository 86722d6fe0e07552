//! Retries, and how long they are known.

use super::*;
use crate::metadata::record::ClientRecord;

fn request(client: u128, sequence: u64, command: Command) -> Request {
    Request { id: RequestId { client, sequence }, command }
}

fn tag_push(client: u128, sequence: u64, content: &str) -> Request {
    request(client, sequence, Command::PutManifest(push("a", content, &[], &["t"])))
}

fn rows(kv: &MemoryKv, prefix: Vec<u8>) -> usize {
    kv.0.keys().filter(|key| key.starts_with(&prefix)).count()
}

fn points_to(kv: &MemoryKv) -> Digest {
    query::tag(kv, &name("a"), &tag_of("t")).unwrap().unwrap().digest
}

#[test]
fn a_retry_gets_the_first_answer_and_changes_nothing() {
    let mut kv = MemoryKv::default();
    let first = tag_push(1, 1, "one");
    assert_eq!(apply(&mut kv, 10, &first).unwrap(), Outcome::Done);
    assert_eq!(apply(&mut kv, 11, &tag_push(2, 1, "two")).unwrap(), Outcome::Done);
    let before = kv.clone();
    assert_eq!(apply(&mut kv, 12, &first).unwrap(), Outcome::Done);
    assert_eq!(kv, before);
    assert_eq!(points_to(&kv), digest("two"));

    // A refusal is an answer too: what it lacked may be there by now.
    let lacking = request(1, 2, Command::PutManifest(push("a", "m", &["blob"], &[])));
    let refusal = apply(&mut kv, 13, &lacking).unwrap();
    assert!(matches!(refusal, Outcome::Refused(_)));
    apply(&mut kv, 14, &request(1, 3, link("a", "blob"))).unwrap();
    assert_eq!(apply(&mut kv, 15, &lacking).unwrap(), refusal);
}

#[test]
fn requests_of_one_client_may_come_in_any_order() {
    let mut kv = MemoryKv::default();
    for (index, sequence) in [(1, 5), (2, 3), (3, 4), (4, 1)] {
        let request = request(1, sequence, link("a", &sequence.to_string()));
        assert_eq!(apply(&mut kv, index, &request).unwrap(), Outcome::Done);
    }
    assert_eq!(rows(&kv, keys::links_of(&name("a"))), 4);
}

/// The duplicate of a tag push is stuck in the network until its answer is forgotten. It must not
/// move the tag back.
#[test]
fn a_duplicate_from_long_ago_is_refused() {
    let mut kv = MemoryKv::default();
    let stuck = tag_push(1, 1, "one");
    apply(&mut kv, 1, &stuck).unwrap();
    apply(&mut kv, 2, &tag_push(2, 1, "two")).unwrap();
    apply(&mut kv, ANSWERS_KEPT_MAX, &tag_push(2, 2, "three")).unwrap();
    assert_eq!(apply(&mut kv, ANSWERS_KEPT_MAX + 1, &stuck).unwrap(), Outcome::Done, "still known");
    apply(&mut kv, ANSWERS_KEPT_MAX + 2, &tag_push(2, 3, "four")).unwrap();
    let late = apply(&mut kv, ANSWERS_KEPT_MAX + 3, &stuck).unwrap();
    assert_eq!(late, Outcome::Refused(Refusal::Expired));
    assert_eq!(points_to(&kv), digest("four"));
    // The client itself goes on.
    let next = apply(&mut kv, ANSWERS_KEPT_MAX + 4, &tag_push(1, 2, "five")).unwrap();
    assert_eq!(next, Outcome::Done);
}

#[test]
fn answers_are_kept_for_their_window_and_no_longer() {
    let mut kv = MemoryKv::default();
    let mut index = 0;
    for sequence in 1..=200 {
        index += ANSWERS_KEPT_MAX / 50;
        apply(&mut kv, index, &request(1, sequence, link("a", "blob"))).unwrap();
        let kept = rows(&kv, keys::ages());
        assert!(kept <= 51, "{kept}");
        assert_eq!(rows(&kv, vec![b'D']), kept);
    }
    // A gap as wide as the window leaves a backlog, which shrinks with every command.
    index += 2 * ANSWERS_KEPT_MAX;
    for sequence in 201..=240 {
        index += 1;
        apply(&mut kv, index, &request(1, sequence, link("a", "blob"))).unwrap();
    }
    assert_eq!(rows(&kv, keys::ages()), 40);
}

/// An entry of the log is a batch. Its requests have one index and yet each an age and a version.
#[test]
fn requests_of_one_batch_keep_apart() {
    let mut kv = MemoryKv::default();
    let version =
        |kv: &MemoryKv| query::tag(kv, &name("a"), &tag_of("t")).unwrap().unwrap().version;
    let mut versions = Vec::new();
    for (sequence, content) in (1..).zip(["one", "two", "three"]) {
        apply(&mut kv, 10, &tag_push(1, sequence, content)).unwrap();
        versions.push(version(&kv));
    }
    assert!(versions.is_sorted_by(|one, next| one < next), "{versions:?}");
    assert_eq!(rows(&kv, keys::ages()), 3);
    // None of them is kept for ever, and the client's floor rises over all of them.
    for step in 0..3 {
        apply(&mut kv, 100 + ANSWERS_KEPT_MAX + step, &tag_push(2, 1 + step, "later")).unwrap();
    }
    assert_eq!(rows(&kv, vec![b'D']), 3);
    for sequence in 1..=3 {
        let late = apply(&mut kv, 200 + ANSWERS_KEPT_MAX, &tag_push(1, sequence, "one")).unwrap();
        assert_eq!(late, Outcome::Refused(Refusal::Expired));
    }
}

#[test]
fn silent_clients_are_forgotten_in_time() {
    let mut kv = MemoryKv::default();
    for client in 0..50_u128 {
        let request = request(client * 1_000, 9, link("a", "blob"));
        apply(&mut kv, 1 + client as u64, &request).unwrap();
    }
    // One client goes on and pushes the others out of the answers, then out of the floors.
    let mut index = ANSWERS_KEPT_MAX + 100;
    let mut sequence = 0;
    let mut speak = |kv: &mut MemoryKv, index: u64| {
        sequence += 1;
        apply(kv, index, &request(7_500, sequence, link("a", "blob"))).unwrap();
    };
    for _ in 0..60 {
        index += 1;
        speak(&mut kv, index);
    }
    assert_eq!(rows(&kv, keys::clients()), 50);
    index += CLIENTS_KEPT_ENTRIES;
    for _ in 0..120 {
        index += ANSWERS_KEPT_MAX;
        speak(&mut kv, index);
    }
    assert_eq!(rows(&kv, keys::clients()), 1);
    let floor = query::read::<_, ClientRecord>(&kv, &keys::client(7_500)).unwrap().unwrap().floor;
    assert!(floor >= 170, "{floor}");
}
