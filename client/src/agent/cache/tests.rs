#![allow(clippy::disallowed_methods, reason = "tests look at the disk themselves")]

use std::{fs, path::PathBuf, sync::atomic::AtomicUsize};

use atoll_core::Algorithm;
use bytes::Bytes;
use http_body_util::BodyExt as _;

use super::*;
use crate::agent::{fetch::Missed, refusal::Refusal};

fn digest(content: &[u8]) -> Digest {
    Digest::of(Algorithm::Sha256, content)
}

async fn put(cache: &Cache, content: &[u8]) -> Content {
    let draft = cache.draft(digest(content), content.len() as u64).await;
    let draft = draft.expect("a draft").expect("room");
    let (front, back) = content.split_at(content.len() / 2);
    // In any order.
    draft.write(front.len() as u64, Bytes::copy_from_slice(back)).await.expect("written");
    draft.write(0, Bytes::copy_from_slice(front)).await.expect("written");
    draft.publish().await.expect("right content")
}

async fn read(content: Content) -> Result<Bytes, String> {
    let size = content.size();
    let body = content.body(0..size).collect().await;
    body.map(|body| body.to_bytes()).map_err(|error| error.to_string())
}

fn files(root: &Path) -> Vec<PathBuf> {
    ["blobs/sha256", "drafts"]
        .iter()
        .flat_map(|folder| fs::read_dir(root.join(folder)).expect("a folder"))
        .map(|entry| entry.expect("an entry").path())
        .collect()
}

fn pseudo_random(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..length).map(|_| next()).collect()
}

#[tokio::test]
async fn content_comes_back_and_survives_a_restart() {
    let root = tempfile::tempdir().expect("a folder");
    let content = pseudo_random(700_000, 1);
    {
        let cache = Cache::open(root.path(), 1 << 20).await.expect("opened");
        assert!(Cache::open(root.path(), 1 << 20).await.is_err(), "the folder is taken");
        assert!(cache.get(&digest(&content)).await.is_none());
        assert_eq!(read(put(&cache, &content).await).await, Ok(Bytes::from(content.clone())));
    }
    let cache = Cache::open(root.path(), 1 << 20).await.expect("opened again");
    let found = cache.get(&digest(&content)).await.expect("still there");
    let piece = found.clone().body(5..300_000).collect().await.expect("read").to_bytes();
    assert_eq!(piece, content[5..300_000]);
    assert_eq!(read(found).await, Ok(Bytes::from(content)));
}

#[tokio::test]
async fn wrong_content_gets_no_name_and_leaves_nothing() {
    let root = tempfile::tempdir().expect("a folder");
    let cache = Cache::open(root.path(), 100).await.expect("opened");
    let draft = cache.draft(digest(b"right"), 5).await.expect("a draft").expect("room");
    draft.write(0, Bytes::from_static(b"wrong")).await.expect("written");
    assert!(draft.write(3, Bytes::from_static(b"xyz")).await.is_err(), "behind the end");
    assert!(matches!(draft.publish().await, Err(draft::PublishError::Wrong { .. })));
    let short = cache.draft(digest(b"right"), 5).await.expect("a draft").expect("room");
    short.write(0, Bytes::from_static(b"righ")).await.expect("written");
    assert!(short.publish().await.is_err(), "a byte is missing");
    assert!(cache.get(&digest(b"right")).await.is_none());
    assert_eq!(files(root.path()), Vec::<PathBuf>::new());
    assert_eq!(cache.figures().bytes, 0);
    // The room came back.
    assert!(cache.draft(digest(b"x"), 100).await.expect("a draft").is_some());
}

#[tokio::test]
async fn a_file_that_was_changed_while_the_agent_was_away_is_thrown_away() {
    let root = tempfile::tempdir().expect("a folder");
    let content = pseudo_random(1000, 2);
    for damage in [&content[..999], b"", &[0; 1000]] {
        let path = {
            let cache = Cache::open(root.path(), 1 << 20).await.expect("opened");
            put(&cache, &content).await;
            files(root.path()).remove(0)
        };
        fs::write(&path, damage).expect("damaged");
        let cache = Cache::open(root.path(), 1 << 20).await.expect("opened again");
        assert!(cache.get(&digest(&content)).await.is_none(), "{} bytes", damage.len());
        assert!(!path.exists());
        assert_eq!(cache.figures().damaged, 1);
        assert_eq!(read(put(&cache, &content).await).await, Ok(Bytes::from(content.clone())));
    }
}

#[tokio::test]
async fn a_file_that_is_changed_under_a_running_agent_never_arrives_whole() {
    let root = tempfile::tempdir().expect("a folder");
    let cache = Cache::open(root.path(), 1 << 20).await.expect("opened");
    let content = pseudo_random(600_000, 3);
    put(&cache, &content).await;
    let path = files(root.path()).remove(0);
    let mut damaged = content.clone();
    damaged[1] ^= 1;
    fs::write(&path, &damaged).expect("damaged");
    let found = cache.get(&digest(&content)).await.expect("its length is right");
    assert!(read(found).await.expect_err("kept back").contains("damaged"));
    assert!(cache.get(&digest(&content)).await.is_none(), "thrown away");
    assert!(!path.exists());
}

#[tokio::test]
async fn the_bound_holds_and_the_oldest_goes() {
    let root = tempfile::tempdir().expect("a folder");
    let cache = Cache::open(root.path(), 2500).await.expect("opened");
    let contents: Vec<_> = (0..4).map(|seed| pseudo_random(1000, 10 + seed)).collect();
    let first = put(&cache, &contents[0]).await;
    put(&cache, &contents[1]).await;
    assert!(cache.get(&digest(&contents[0])).await.is_some(), "used again");
    put(&cache, &contents[2]).await;
    assert!(cache.get(&digest(&contents[1])).await.is_none(), "the oldest went");
    assert_eq!(files(root.path()).len(), 2);
    put(&cache, &contents[3]).await;
    assert!(cache.get(&digest(&contents[0])).await.is_none());
    assert_eq!(read(first).await, Ok(Bytes::from(contents[0].clone())), "who reads, reads on");
    assert!(cache.draft(digest(b"large"), 2501).await.expect("asked").is_none(), "never fits");
    assert_eq!(cache.figures().evicted, 2);
    drop(cache);
    let smaller = Cache::open(root.path(), 1500).await.expect("opened with less");
    assert_eq!(smaller.figures().bytes, 1000);
    assert_eq!(files(root.path()).len(), 1);
}

#[tokio::test]
async fn callers_that_miss_together_fetch_once() {
    let root = tempfile::tempdir().expect("a folder");
    let cache = Cache::open(root.path(), 1 << 20).await.expect("opened");
    let (flights, fetched) = (Flights::default(), Arc::new(AtomicUsize::new(0)));
    let content: &'static [u8] = b"one for all";
    let callers: Vec<_> = (0..50)
        .map(|_| {
            let (flights, cache, fetched) = (flights.clone(), cache.clone(), fetched.clone());
            tokio::spawn(async move {
                let fetch = move || async move {
                    fetched.fetch_add(1, Ordering::Relaxed);
                    tokio::task::yield_now().await;
                    Ok(put(&cache, content).await)
                };
                flights.join(digest(content), fetch).await
            })
        })
        .collect();
    let mut begun = 0;
    for caller in callers {
        let (own, landed) = caller.await.expect("no panic");
        begun += usize::from(own);
        assert_eq!(read(landed.expect("fetched")).await, Ok(Bytes::from_static(content)));
    }
    assert_eq!((begun, fetched.load(Ordering::Relaxed)), (1, 1));
}

#[tokio::test]
async fn a_fetch_that_failed_or_panicked_does_not_block_the_next() {
    let flights = Flights::default();
    let failed = flights.join(digest(b"a"), || async { Err(Missed::NoPlace) }).await;
    assert_eq!(failed.1.expect_err("failed"), Missed::NoPlace);
    let broken = flights.join(digest(b"a"), || async { panic!("a bug") }).await;
    assert!(broken.1.is_err());
    let denied = Missed::Refused(Refusal::denied("other"));
    let (answer, asked) =
        (denied.clone(), flights.join(digest(b"a"), || async { Err(denied) }).await);
    assert!(asked.0, "begun anew");
    assert_eq!(asked.1.expect_err("refused"), answer);
}
