//! What must be true after everything: a scan of all that was ever acknowledged, and a new push.

use atoll_core::Digest;
use std::str::FromStr;

use crate::{
    draw::Draw,
    history::{Key, Kind},
    linear::Guard,
    workload::{
        content,
        push::Upload,
        user::{Answer, User},
    },
};

/// Reads everything that anybody ever pushed and checks every promise; answers what is broken.
pub async fn judge(user: &mut User) -> Vec<String> {
    user.resume_all().await;
    scan(user).await;
    wholeness(user).await;
    goes_on(user).await;
    let mut book = user.book.lock();
    book.check_registers();
    std::mem::take(&mut book.violations)
}

/// As [`judge`] for a cluster, where each of the users asks a node of its own: every node answers
/// for everything.
pub async fn judge_all(users: &mut [User]) -> Vec<String> {
    if let Some(first) = users.first_mut() {
        first.resume_all().await;
    }
    for user in users.iter_mut() {
        scan(user).await;
        wholeness(user).await;
        goes_on(user).await;
    }
    let Some(first) = users.first() else { return Vec::new() };
    let mut book = first.book.lock();
    book.check_registers();
    std::mem::take(&mut book.violations)
}

/// P1 and P3: reads every register over HTTP. All faults are over, so everything is answered,
/// except what lost its only copy.
async fn scan(user: &mut User) {
    let keys = user.book.lock().keys();
    for Key { repo, kind, name } in keys {
        let (answer, digest) = match (kind, Digest::from_str(&name)) {
            (Kind::Tag, _) => user.pull_tag(&repo, &name).await,
            (Kind::Manifest, Ok(digest)) => {
                (user.pull_manifest(&repo, &digest).await, Some(digest))
            }
            (Kind::Blob, Ok(digest)) => (user.pull_blob(&repo, &digest, None).await, Some(digest)),
            (_, Err(_)) => continue,
        };
        let mut book = user.book.lock();
        let is_excused = match digest {
            Some(digest) => book.damaged.contains(&digest),
            // A tag that cannot be read may point to a damaged manifest.
            None => !book.damaged.is_empty(),
        };
        if answer == Answer::Unknown && !is_excused {
            book.violation(format!("{kind:?} {repo}/{name} cannot be read after all faults ended"));
        }
    }
    let mut repos: Vec<String> = user.book.lock().keys().into_iter().map(|key| key.repo).collect();
    repos.dedup();
    for repo in repos {
        user.list_tags(&repo).await;
    }
}

/// P4: a tag leads to a manifest, a manifest to all its blobs, unless someone deleted those.
async fn wholeness(user: &mut User) {
    let keys = user.book.lock().keys();
    for key in keys.iter().filter(|key| key.kind == Kind::Manifest) {
        let Ok(digest) = Digest::from_str(&key.name) else { continue };
        if user.pull_manifest(&key.repo, &digest).await != Answer::Done {
            continue;
        }
        let blobs = user.book.lock().manifests.get(&digest).map(|manifest| manifest.blobs.clone());
        for blob in blobs.unwrap_or_default() {
            let register = Key::blob(&key.repo, &blob);
            let is_excused = {
                let book = user.book.lock();
                book.was_ever_cleared(&register) || book.damaged.contains(&blob)
            };
            if !is_excused && user.pull_blob(&key.repo, &blob, None).await != Answer::Done {
                user.book.lock().violation(format!("{key} is there without its blob {blob}"));
            }
        }
    }
}

/// The registry still does its work: a new push succeeds and can be pulled.
async fn goes_on(user: &mut User) {
    let mut draw = Draw::new(user.book.lock().tick(), 0x60e5_0000);
    let blob = content::blob(&mut draw, 5_000);
    let manifest = content::manifest(std::slice::from_ref(&blob), "after all", None);
    let answers = [
        user.push_blob("after", &blob, Upload::Streamed).await,
        user.push_manifest("after", &manifest, &["all"], Guard::Any).await,
        user.pull_tag("after", "all").await.0,
        user.pull_blob("after", &blob.digest, None).await,
    ];
    if answers != [Answer::Done; 4] {
        user.book.lock().violation(format!("a new push after all faults: {answers:?}"));
    }
}
