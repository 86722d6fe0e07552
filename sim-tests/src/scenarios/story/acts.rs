//! The stories, step by step.

use std::{path::PathBuf, time::Duration};

use atoll_core::{Digest, digest::Algorithm};

use super::{CutShort, REPO, Stage, done};
use crate::{
    history::Manifest,
    linear::Guard,
    nemesis::READY,
    workload::{
        content::{self, Blob},
        push::Upload,
        user::User,
    },
};

/// Pushes of [`compact`]: several times the snapshot interval of these nodes.
const MANY: u64 = 20;

/// How long a node may take to stop whose disk may be dark.
const STOP: Duration = Duration::from_secs(60);

type Played = Result<(), CutShort>;

pub(super) async fn push(stage: &mut Stage<'_>) -> Played {
    let Stage { user, draw, .. } = stage;
    let blobs = [
        content::blob(draw, 700),
        content::blob(draw, 100_000),
        content::blob(draw, 90_000),
        content::blob(draw, 300_000),
    ];
    let ways = [Upload::PostPut, Upload::Streamed, Upload::Chunked(40_000), Upload::Single];
    for (blob, how) in blobs.iter().zip(ways) {
        done(user.push_blob(REPO, blob, how).await)?;
    }
    let image = content::manifest(&blobs, "first", None);
    done(user.push_manifest(REPO, &image, &["v1", "v2"], Guard::Any).await)?;
    // The same blob once more: the copy that is there is replaced.
    done(user.push_blob(REPO, &blobs[0], Upload::PostPut).await)?;
    let note = content::manifest(&blobs[..1], "note", Some(&image));
    done(user.push_manifest(REPO, &note, &[], Guard::Any).await)
}

/// Two images, tagged `v1`, and `v2` and `v3`.
pub(super) async fn images(stage: &mut Stage<'_>) -> Played {
    let Stage { user, draw, .. } = stage;
    let blob = content::blob(draw, 2_000);
    done(user.push_blob(REPO, &blob, Upload::PostPut).await)?;
    for (serial, tags) in [("one", &["v1"][..]), ("two", &["v2", "v3"])] {
        let image = content::manifest(std::slice::from_ref(&blob), serial, None);
        done(user.push_manifest(REPO, &image, tags, Guard::Any).await)?;
    }
    Ok(())
}

/// What [`images`] pushed.
fn pushed(user: &User) -> Option<(Blob, Manifest, Manifest)> {
    let book = user.book.lock();
    let by_serial = |serial: &str| {
        let is_it = |manifest: &&Manifest| {
            manifest.bytes.windows(serial.len()).any(|window| window == serial.as_bytes())
        };
        book.manifests.values().find(is_it).cloned()
    };
    let (one, two) = (by_serial("\"one\"")?, by_serial("\"two\"")?);
    let digest = *one.blobs.first()?;
    let bytes = book.contents.get(&digest)?.clone();
    Some((Blob { digest, bytes }, one, two))
}

pub(super) async fn tag_move(stage: &mut Stage<'_>) -> Played {
    let user = &mut *stage.user;
    let (_, one, two) = pushed(user).ok_or(CutShort)?;
    done(user.push_manifest(REPO, &two, &["v1"], Guard::Any).await)?;
    done(user.push_manifest(REPO, &one, &["v1"], Guard::Is(two.digest)).await)?;
    // Refused: it points elsewhere by now.
    user.push_manifest(REPO, &two, &["v1"], Guard::Is(two.digest)).await;
    done(user.push_manifest(REPO, &one, &["v2", "v3"], Guard::Present).await)?;
    done(user.push_manifest(REPO, &two, &["v1", "v2"], Guard::Any).await)
}

pub(super) async fn delete(stage: &mut Stage<'_>) -> Played {
    let user = &mut *stage.user;
    let (blob, one, two) = pushed(user).ok_or(CutShort)?;
    done(user.delete_tag(REPO, "v1").await)?;
    done(user.delete_manifest(REPO, &two.digest).await)?;
    done(user.push_manifest(REPO, &one, &["v2"], Guard::Absent).await)?;
    done(user.delete_manifest(REPO, &one.digest).await)?;
    done(user.delete_blob(REPO, &blob.digest).await)
}

pub(super) async fn session_resume(stage: &mut Stage<'_>) -> Played {
    let blob = content::blob(stage.draw, 170_000);
    done(stage.user.push_in_chunks(REPO, &blob, 45_000).await)
}

/// Each ends with bytes in the last request; the second under an algorithm that it did not announce,
/// so that the file is read once more.
pub(super) async fn chunked_finish(stage: &mut Stage<'_>) -> Played {
    for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
        let bytes = stage.draw.bytes(150_000);
        let blob = Blob { digest: Digest::of(algorithm, &bytes), bytes };
        done(stage.user.push_ending_with_bytes(REPO, &blob, 60_000).await)?;
        let image = content::manifest(std::slice::from_ref(&blob), "finished", None);
        done(stage.user.push_manifest(REPO, &image, &["v1"], Guard::Any).await)?;
    }
    Ok(())
}

pub(super) async fn mount(stage: &mut Stage<'_>) -> Played {
    let user = &mut *stage.user;
    let (blob, one, _) = pushed(user).ok_or(CutShort)?;
    done(user.mount("other/app", REPO, &blob.digest).await)?;
    done(user.push_manifest("other/app", &one, &["v1"], Guard::Any).await)?;
    done(user.delete_blob(REPO, &blob.digest).await)?;
    done(user.mount("third", "other/app", &blob.digest).await)?;
    done(user.delete_blob("other/app", &blob.digest).await)?;
    done(user.mount(REPO, "third", &blob.digest).await)
}

pub(super) async fn referrers(stage: &mut Stage<'_>) -> Played {
    let user = &mut *stage.user;
    let (blob, one, two) = pushed(user).ok_or(CutShort)?;
    let about = |subject, serial| content::manifest(std::slice::from_ref(&blob), serial, subject);
    let signed = about(Some(&one), "signature");
    done(user.push_manifest(REPO, &signed, &[], Guard::Any).await)?;
    // About something that is itself about something.
    let noted = about(Some(&signed), "note");
    done(user.push_manifest(REPO, &noted, &["v3"], Guard::Any).await)?;
    // The subject goes, and what refers to it stays; then it comes back.
    done(user.delete_manifest(REPO, &one.digest).await)?;
    let other = about(Some(&two), "other");
    done(user.push_manifest(REPO, &other, &[], Guard::Any).await)?;
    done(user.push_manifest(REPO, &one, &["v1"], Guard::Any).await)?;
    done(user.delete_manifest(REPO, &signed.digest).await)
}

pub(super) async fn compact(stage: &mut Stage<'_>) -> Played {
    let user = &mut *stage.user;
    let (_, one, two) = pushed(user).ok_or(CutShort)?;
    for turn in 0..MANY {
        let manifest = if turn % 2 == 0 { &two } else { &one };
        let tags = [["v1"], ["v2"], ["v3"]][(turn % 3) as usize];
        if turn % 5 == 4 {
            done(user.delete_tag(REPO, tags[0]).await)?;
        }
        done(user.push_manifest(REPO, manifest, &tags, Guard::Any).await)?;
    }
    Ok(())
}

/// A blob with a flipped bit in its last block.
pub(super) async fn damage(stage: &mut Stage<'_>) -> Played {
    let Stage { user, draw, machine } = stage;
    let blob = content::blob(draw, 150_000);
    done(user.push_blob(REPO, &blob, Upload::PostPut).await)?;
    let hex = blob.digest.hex();
    let path = PathBuf::from(format!("blobs/sha256/{}/{hex}/data", &hex[..2]));
    machine.device.rot(&path, 140_000, 3).map_err(|_| CutShort)?;
    user.book.lock().damaged.insert(blob.digest);
    Ok(())
}

pub(super) async fn heal(stage: &mut Stage<'_>) -> Played {
    let user = &mut *stage.user;
    let damaged = user.book.lock().damaged.first().copied().ok_or(CutShort)?;
    let bytes = user.book.lock().contents.get(&damaged).cloned().ok_or(CutShort)?;
    // Not answered whole: the copy is set aside.
    user.pull_blob(REPO, &damaged, None).await;
    let blob = Blob { digest: damaged, bytes };
    done(user.push_blob(REPO, &blob, Upload::PostPut).await)?;
    user.book.lock().damaged.remove(&damaged);
    done(user.pull_blob(REPO, &damaged, None).await)
}

/// Something of everything.
pub(super) async fn fill(stage: &mut Stage<'_>) -> Played {
    push(stage).await?;
    let blob = content::blob(stage.draw, 100_000);
    // Four chunks of five: the upload is not over.
    done(stage.user.begin_and_leave(REPO, &blob, 25_000).await)
}

pub(super) async fn fill_and_kill(stage: &mut Stage<'_>) -> Played {
    fill(stage).await?;
    stage.machine.kill().await;
    Ok(())
}

pub(super) async fn restart(stage: &mut Stage<'_>) -> Played {
    stage.machine.restart();
    stage.machine.wait_ready(READY).await.map_err(|_| CutShort)
}

pub(super) async fn shutdown(stage: &mut Stage<'_>) -> Played {
    stage.machine.stop(STOP).await.map_err(|_| CutShort)
}
