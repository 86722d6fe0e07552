//! What must be true after everything: a scan of all that was ever acknowledged, and a new push.

use std::{collections::BTreeSet, str::FromStr, time::Duration};

use atoll_core::Digest;
use futures_util::future::join_all;
use tokio::time::Instant;

use crate::{
    cluster::{Machine, fleet::Fleet},
    draw::Draw,
    history::{Book, Key, Kind},
    linear::Guard,
    workload::{
        content,
        push::Upload,
        user::{Answer, User},
    },
};

/// Reads everything that anybody ever pushed and checks every promise; answers what is broken.
pub async fn judge(user: &mut User) -> Vec<String> {
    judge_all(std::slice::from_mut(user), Duration::ZERO).await
}

/// As [`judge`] for a cluster, where a user at each node asks, all at the same time: every node answers
/// for everything, within so much time.
pub async fn judge_fleet(fleet: &Fleet, book: &Book, within: Duration) -> Vec<String> {
    let user = |machine: Machine| {
        User::new(format!("oracle at {}", machine.name()), machine.http, book.clone())
    };
    let mut users: Vec<User> = fleet.machines().into_iter().map(user).collect();
    judge_all(&mut users, within).await
}

async fn judge_all(users: &mut [User], within: Duration) -> Vec<String> {
    if let Some(first) = users.first_mut() {
        first.resume_all().await;
    }
    let keys = users.first().map(|user| user.book.lock().keys()).unwrap_or_default();
    join_all(users.iter_mut().map(|user| async {
        scan(user, &keys, within).await;
        goes_on(user).await;
    }))
    .await;
    let Some(first) = users.first() else { return Vec::new() };
    let mut book = first.book.lock();
    book.check_registers();
    std::mem::take(&mut book.violations)
}

/// P1 and P3: reads every register over HTTP. All faults are over, so everything is answered,
/// except what lost its only copy.
async fn scan(user: &mut User, keys: &[Key], within: Duration) {
    let deadline = Instant::now() + within;
    let in_touch = Instant::now() + GOES_ON_WITHIN;
    let mut there = BTreeSet::new();
    for key in keys {
        let (answer, digest, is_excused) = loop {
            let (answer, digest) = read(user, key).await;
            let is_excused = is_excused(user, digest.as_ref());
            let until = match answer {
                Answer::Done | Answer::Refused(_) => break (answer, digest, is_excused),
                Answer::Stale => in_touch,
                Answer::Unknown => deadline,
            };
            if is_excused || Instant::now() >= until {
                break (answer, digest, is_excused);
            }
            tokio::time::sleep(ASK_AGAIN).await;
        };
        let mut book = user.book.lock();
        if answer == Answer::Done {
            book.present.extend(digest);
            there.insert(key.clone());
        }
        if answer == Answer::Unknown && !is_excused {
            book.violation(format!("{key} cannot be read after all faults ended"));
        }
        if answer == Answer::Stale {
            book.violation(format!("{key}: the node is out of touch after all faults ended"));
        }
    }
    wholeness(user, &there);
    let mut repos: Vec<&str> = keys.iter().map(|key| key.repo.as_str()).collect();
    repos.dedup();
    let subjects: BTreeSet<Digest> = {
        let book = user.book.lock();
        book.manifests.values().filter_map(|manifest| manifest.subject).collect()
    };
    for repo in repos {
        user.list_tags(repo).await;
        for subject in &subjects {
            user.list_referrers(repo, subject).await;
        }
    }
}

/// What is there, and which content that is.
async fn read(user: &mut User, key: &Key) -> (Answer, Option<Digest>) {
    let Key { repo, kind, name } = key;
    match (kind, Digest::from_str(name)) {
        (Kind::Tag, _) => user.pull_tag(repo, name).await,
        (Kind::Manifest, Ok(digest)) => (user.pull_manifest(repo, &digest).await, Some(digest)),
        (Kind::Blob, Ok(digest)) => (user.pull_blob(repo, &digest, None).await, Some(digest)),
        // No other name is ever written down.
        (_, Err(error)) => panic!("{key} has no digest: {error}"),
    }
}

fn is_excused(user: &User, digest: Option<&Digest>) -> bool {
    let book = user.book.lock();
    match digest {
        Some(digest) => book.damaged.contains(digest),
        // A tag that cannot be read may point to a damaged manifest.
        None => !book.damaged.is_empty(),
    }
}

/// P4: a tag leads to a manifest, a manifest to all its blobs, unless someone deleted those. Nobody
/// changes anything any more, so what the scan found is what there is.
fn wholeness(user: &User, there: &BTreeSet<Key>) {
    let mut book = user.book.lock();
    let mut missing = Vec::new();
    for key in there.iter().filter(|key| key.kind == Kind::Manifest) {
        let Ok(digest) = Digest::from_str(&key.name) else { continue };
        let manifest = book.manifests.get(&digest);
        for blob in manifest.iter().flat_map(|manifest| &manifest.blobs) {
            let register = Key::blob(&key.repo, blob);
            let is_excused = book.was_ever_cleared(&register) || book.damaged.contains(blob);
            if !is_excused && !there.contains(&register) {
                missing.push(format!("{key} is there without its blob {blob}"));
            }
        }
    }
    book.violations.append(&mut missing);
}

/// Pause before what cannot be read is asked for again.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// When a node that hears the others again must do its work: a session must open first, and a
/// connection that was begun over a cut link be given up.
const GOES_ON_WITHIN: Duration = Duration::from_secs(10);

/// The registry still does its work: a new push succeeds in time and can be pulled.
async fn goes_on(user: &mut User) {
    let mut draw = Draw::new(user.book.lock().tick(), 0x60e5_0000);
    let blob = content::blob(&mut draw, 5_000);
    let manifest = content::manifest(std::slice::from_ref(&blob), "after all", None);
    let deadline = Instant::now() + GOES_ON_WITHIN;
    let answers = loop {
        let answers = [
            user.push_blob("after", &blob, Upload::Streamed).await,
            user.push_manifest("after", &manifest, &["all"], Guard::Any).await,
            user.pull_tag("after", "all").await.0,
            user.pull_blob("after", &blob.digest, None).await,
        ];
        // Where blobs are collected soon, one may be gone before its manifest comes; with a manifest it
        // stays.
        let collects = user.book.lock().collects;
        let is_gone = collects && matches!(answers[1], Answer::Refused(_));
        let is_answered = |answer: &Answer| matches!(answer, Answer::Done | Answer::Refused(_));
        let is_over = answers.iter().all(is_answered) && !is_gone;
        if is_over || Instant::now() >= deadline {
            break answers;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    let mut book = user.book.lock();
    book.present.extend([blob.digest, manifest.digest]);
    if answers != [Answer::Done; 4] {
        book.violation(format!("a new push after all faults: {answers:?}"));
    }
}
