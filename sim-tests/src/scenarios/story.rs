//! The stories that crashes cut short: what a client does, step by step, until it gets no answer.

use crate::{
    draw::Draw,
    history::Manifest,
    linear::Guard,
    workload::{
        content::{self, Blob},
        push::Upload,
        user::{Answer, User},
    },
};

/// A story.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Story {
    /// Blobs in every way, then an image.
    Push,
    /// A tag moves, with and without conditions.
    TagMove,
    /// A tag, a manifest, a blob are deleted.
    Delete,
    /// An upload in numbered chunks, gone on with after the crash.
    SessionResume,
    /// Nothing but the first start of a node.
    FirstStart,
}

const REPO: &str = "team/app";

/// A story ends with the first step that is not acknowledged.
struct CutShort;

/// Goes on only when the step was acknowledged.
fn done(answer: Answer) -> Result<(), CutShort> {
    if answer == Answer::Done { Ok(()) } else { Err(CutShort) }
}

impl Story {
    /// What it is called.
    pub const fn name(self) -> &'static str {
        match self {
            Story::Push => "push",
            Story::TagMove => "tag-move",
            Story::Delete => "delete",
            Story::SessionResume => "session-resume",
            Story::FirstStart => "first-start",
        }
    }

    /// What it does, in a line.
    pub const fn about(self) -> &'static str {
        match self {
            Story::Push => "power cut in a push of blobs (4 ways) and a manifest with tags",
            Story::TagMove => "power cut while a tag moves, with and without conditions",
            Story::Delete => "power cut while a tag, a manifest and a blob are deleted",
            Story::SessionResume => "power cut in a chunked upload, which then goes on",
            Story::FirstStart => "power cut in the first start of a node",
        }
    }

    /// What happens before the crash may come.
    pub async fn prepare(self, user: &mut User, draw: &mut Draw) {
        for tag in ["v1", "v2", "v3"] {
            user.book.lock().declare_tag(REPO, tag);
        }
        match self {
            Story::Push | Story::SessionResume | Story::FirstStart => {}
            Story::TagMove | Story::Delete => {
                let _ = images(user, draw).await;
            }
        }
    }

    /// The part in which the crash comes.
    pub async fn act(self, user: &mut User, draw: &mut Draw) {
        // The end of a story needs no telling: the book has it all.
        let _ = match self {
            Story::Push => push(user, draw).await,
            Story::TagMove => tag_move(user).await,
            Story::Delete => delete(user).await,
            Story::SessionResume => session_resume(user, draw).await,
            Story::FirstStart => Ok(()),
        };
    }
}

async fn push(user: &mut User, draw: &mut Draw) -> Result<(), CutShort> {
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
async fn images(user: &mut User, draw: &mut Draw) -> Result<(), CutShort> {
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

async fn tag_move(user: &mut User) -> Result<(), CutShort> {
    let (_, one, two) = pushed(user).ok_or(CutShort)?;
    done(user.push_manifest(REPO, &two, &["v1"], Guard::Any).await)?;
    done(user.push_manifest(REPO, &one, &["v1"], Guard::Is(two.digest)).await)?;
    // Refused: it points elsewhere by now.
    user.push_manifest(REPO, &two, &["v1"], Guard::Is(two.digest)).await;
    done(user.push_manifest(REPO, &one, &["v2", "v3"], Guard::Present).await)?;
    done(user.push_manifest(REPO, &two, &["v1", "v2"], Guard::Any).await)
}

async fn delete(user: &mut User) -> Result<(), CutShort> {
    let (blob, one, two) = pushed(user).ok_or(CutShort)?;
    done(user.delete_tag(REPO, "v1").await)?;
    done(user.delete_manifest(REPO, &two.digest).await)?;
    done(user.push_manifest(REPO, &one, &["v2"], Guard::Absent).await)?;
    done(user.delete_manifest(REPO, &one.digest).await)?;
    done(user.delete_blob(REPO, &blob.digest).await)
}

async fn session_resume(user: &mut User, draw: &mut Draw) -> Result<(), CutShort> {
    let blob = content::blob(draw, 170_000);
    done(user.push_in_chunks(REPO, &blob, 45_000).await)
}
