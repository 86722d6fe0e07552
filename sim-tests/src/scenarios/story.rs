//! The stories that crashes cut short: what a client does, step by step, until it gets no answer.

mod acts;

use self::acts::{
    chunked_finish, compact, delete, heal, mount, push, referrers, session_resume, tag_move,
};
use crate::{
    cluster::Machine,
    draw::Draw,
    workload::user::{Answer, User},
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
    /// Uploads whose last chunk comes with the end, one of them under another algorithm.
    ChunkedFinish,
    /// A blob is mounted into other repositories, and deleted where it came from.
    Mount,
    /// Manifests that refer to another come and go.
    Referrers,
    /// So many changes that the log is shortened several times.
    Compact,
    /// A damaged copy is found by a reader and healed by a push.
    Heal,
    /// Nothing but the first start of a node.
    FirstStart,
    /// A node with everything in it was killed and starts again.
    Restart,
    /// A node with everything in it stops in order.
    Shutdown,
}

/// The repository of the stories.
pub const REPO: &str = "team/app";

/// A story ends with the first step that is not acknowledged.
struct CutShort;

/// Goes on only when the step was acknowledged.
fn done(answer: Answer) -> Result<(), CutShort> {
    if answer == Answer::Done { Ok(()) } else { Err(CutShort) }
}

/// Who takes part.
pub struct Stage<'a> {
    /// The machine whose disk is cut.
    pub machine: &'a Machine,
    /// Its only user.
    pub user: &'a mut User,
    /// What sizes and bytes are drawn from.
    pub draw: &'a mut Draw,
}

impl Story {
    /// All of them.
    pub const ALL: [Story; 12] = [
        Story::Push,
        Story::TagMove,
        Story::Delete,
        Story::SessionResume,
        Story::ChunkedFinish,
        Story::Mount,
        Story::Referrers,
        Story::Compact,
        Story::Heal,
        Story::FirstStart,
        Story::Restart,
        Story::Shutdown,
    ];

    /// What it is called.
    pub const fn name(self) -> &'static str {
        match self {
            Story::Push => "push",
            Story::TagMove => "tag-move",
            Story::Delete => "delete",
            Story::SessionResume => "session-resume",
            Story::ChunkedFinish => "chunked-finish",
            Story::Mount => "mount",
            Story::Referrers => "referrers",
            Story::Compact => "compact",
            Story::Heal => "heal",
            Story::FirstStart => "first-start",
            Story::Restart => "restart",
            Story::Shutdown => "shutdown",
        }
    }

    /// What it does, in a line.
    pub const fn about(self) -> &'static str {
        match self {
            Story::Push => "power cut in a push of blobs (4 ways) and a manifest with tags",
            Story::TagMove => "power cut while a tag moves, with and without conditions",
            Story::Delete => "power cut while a tag, a manifest and a blob are deleted",
            Story::SessionResume => "power cut in a chunked upload, which then goes on",
            Story::ChunkedFinish => "power cut where uploads end, one hashed anew at the end",
            Story::Mount => "power cut while a blob is mounted, and deleted where it came from",
            Story::Referrers => "power cut while referrers of an image come and go",
            Story::Compact => "power cut while the metadata log is shortened, again and again",
            Story::Heal => "power cut while a damaged copy is set aside and pushed anew",
            Story::FirstStart => "power cut in the first start of a node",
            Story::Restart => "power cut while a node that was killed starts again",
            Story::Shutdown => "power cut while a node stops in order",
        }
    }

    /// What happens before the crash may come.
    pub async fn prepare(self, stage: &mut Stage<'_>) {
        for tag in ["v1", "v2", "v3"] {
            stage.user.book.lock().declare_tag(REPO, tag);
        }
        // What is not acknowledged without any fault is found by the run that is not cut.
        let _ = match self {
            Story::Push | Story::SessionResume | Story::ChunkedFinish | Story::FirstStart => Ok(()),
            Story::TagMove | Story::Delete => acts::images(stage).await,
            Story::Mount | Story::Referrers | Story::Compact => acts::images(stage).await,
            Story::Heal => acts::damage(stage).await,
            Story::Restart => acts::fill_and_kill(stage).await,
            Story::Shutdown => acts::fill(stage).await,
        };
    }

    /// The part in which the crash comes.
    pub async fn act(self, stage: &mut Stage<'_>) {
        // The end of a story needs no telling: the book has it all.
        let _ = match self {
            Story::Push => push(stage).await,
            Story::TagMove => tag_move(stage).await,
            Story::Delete => delete(stage).await,
            Story::SessionResume => session_resume(stage).await,
            Story::ChunkedFinish => chunked_finish(stage).await,
            Story::Mount => mount(stage).await,
            Story::Referrers => referrers(stage).await,
            Story::Compact => compact(stage).await,
            Story::Heal => heal(stage).await,
            Story::FirstStart => Ok(()),
            Story::Restart => acts::restart(stage).await,
            Story::Shutdown => acts::shutdown(stage).await,
        };
    }
}
