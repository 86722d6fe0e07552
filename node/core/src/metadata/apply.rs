//! The one place where metadata changes.
//!
//! A command first looks, then writes: every check is made before the first row changes, so a
//! refusal leaves nothing behind, and what it writes it writes in the one transaction that the shell
//! commits with the log position. All of it follows from the rows and the request alone (no clock,
//! no configuration), so every replica comes to the same rows.
//!
//! What is true between any two commands (tests hold it):
//! - a tag points to a manifest of its repository;
//! - a repository has its row exactly while it holds a blob or a manifest;
//! - the rows that say a fact from the other side (holders, pointers, references) agree with it.
//!
//! A blob may be unlinked while a manifest of the repository needs it, as other registries allow. The
//! manifest stays and its pulls fail at that blob until it is pushed again; the manifest's references
//! stay too, so collection keeps the bytes. A push of the manifest is refused until the blob is back.
//! Likewise a child may be deleted under its index.
//!
//! Collection ([`crate::gc`]): what is condemned here is needed by no manifest, and nothing comes to
//! need it or to link it while it is. A link to it stays until the end, invisible.

use super::{
    command::{Command, Outcome, Refusal, Request},
    keys,
    kv::Kv,
    query::{self, QueryError},
    record::{LinkRecord, Record},
};
use crate::{
    Digest, RepoName,
    coordination::{self, Effects, Position},
    gc::GcEpoch,
};

mod dedupe;
mod gc;
mod manifest;
mod place;
mod repo;
mod tag;

#[cfg(test)]
mod tests;

pub use dedupe::{ANSWERS_KEPT_MAX, CLIENTS_KEPT_ENTRIES};

/// A command that could not be carried out: it fails exactly as a read does.
pub type ApplyError<E> = QueryError<E>;

/// Applies one request of the log entry at `index`.
///
/// A request that was applied before changes nothing and gets its first answer again, for as long as
/// that is kept ([`ANSWERS_KEPT_MAX`]), and [`Refusal::Expired`] afterwards. Positions must not fall
/// from call to call; the requests of an entry share one, gaps are fine. After an error the
/// transaction must be dropped.
pub fn apply<K: Kv>(
    kv: &mut K,
    index: u64,
    request: &Request,
) -> Result<Outcome, ApplyError<K::Error>> {
    apply_at(kv, Position { index, term: 0 }, request, &mut Effects::default())
}

/// As [`apply`], for a log that may hold [`Command::Coordinate`]: what such a command did beside its
/// outcome is added to `effects`. One that was applied before does nothing again.
pub fn apply_at<K: Kv>(
    kv: &mut K,
    position: Position,
    request: &Request,
    effects: &mut Effects,
) -> Result<Outcome, ApplyError<K::Error>> {
    if let Some(answer) = dedupe::answer(kv, request.id)? {
        return Ok(answer);
    }
    let place = place::next(kv, position.index)?;
    let outcome = match &request.command {
        Command::Coordinate(command) => {
            Outcome::Coordinated(coordination::apply(kv, position, command, effects)?)
        }
        command => match change(kv, place, command) {
            Ok(()) => Outcome::Done,
            Err(Stop::Refused(refusal)) => Outcome::Refused(refusal),
            Err(Stop::Failed(error)) => return Err(error),
        },
    };
    dedupe::remember(kv, place, request.id, &outcome)?;
    Ok(outcome)
}

fn change<K: Kv>(kv: &mut K, place: u64, command: &Command) -> Result<(), Stop<K::Error>> {
    match command {
        Command::LinkBlob { repo, digest, size, vg } => {
            link_blob(kv, place, repo, digest, *size, *vg)
        }
        Command::UnlinkBlob { repo, digest } => unlink_blob(kv, repo, digest),
        Command::PutManifest(push) => manifest::put(kv, place, push),
        Command::DeleteManifest { repo, digest, protected } => {
            manifest::delete(kv, repo, digest, protected)
        }
        Command::DeleteTag { repo, tag, precondition, protected } => {
            tag::delete(kv, repo, tag, precondition, protected)
        }
        // Not a change to tags: `apply_at` has seen to it.
        Command::Coordinate(_) => Ok(()),
        Command::Condemn { e, digests } => gc::condemn(kv, *e, digests),
        Command::CondemnAbort { e, digests } => gc::abort(kv, *e, digests),
        Command::CondemnFinish { e, digests } => gc::finish(kv, *e, digests),
    }
}

fn link_blob<K: Kv>(
    kv: &mut K,
    place: u64,
    repo: &RepoName,
    digest: &Digest,
    size: u64,
    vg: GcEpoch,
) -> Result<(), Stop<K::Error>> {
    gc::verify(kv, vg, [digest])?;
    let record = LinkRecord { size }.encode();
    put(kv, &keys::link(repo, digest), &record)?;
    put(kv, &keys::holder(digest, repo), &record)?;
    repo::ensure(kv, place, repo)
}

fn unlink_blob<K: Kv>(kv: &mut K, repo: &RepoName, digest: &Digest) -> Result<(), Stop<K::Error>> {
    repo::require(kv, repo)?;
    if query::link(kv, repo, digest)?.is_none() {
        return Err(Refusal::BlobUnknown { repo: repo.clone(), digest: *digest }.into());
    }
    remove(kv, &keys::link(repo, digest))?;
    remove(kv, &keys::holder(digest, repo))?;
    repo::drop_if_empty(kv, repo)
}

/// Why a change stopped.
enum Stop<E> {
    /// The command is refused; nothing was written.
    Refused(Refusal),
    /// The key space failed.
    Failed(ApplyError<E>),
}

impl<E> From<Refusal> for Stop<E> {
    fn from(refusal: Refusal) -> Self {
        Stop::Refused(refusal)
    }
}

impl<E> From<ApplyError<E>> for Stop<E> {
    fn from(error: ApplyError<E>) -> Self {
        Stop::Failed(error)
    }
}

fn put<K: Kv>(kv: &mut K, key: &[u8], value: &[u8]) -> Result<(), ApplyError<K::Error>> {
    kv.put(key, value).map_err(QueryError::Kv)
}

fn remove<K: Kv>(kv: &mut K, key: &[u8]) -> Result<(), ApplyError<K::Error>> {
    kv.delete(key).map_err(QueryError::Kv)
}
