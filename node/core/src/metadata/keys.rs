//! Every key of the key space.
//!
//! | key                                          | record                | answers                               |
//! |----------------------------------------------|-----------------------|---------------------------------------|
//! | `R` repo                                     | `RepoRecord`          | does it exist? catalog                |
//! | `L` repo `\0` digest                         | `LinkRecord`          | is the blob visible here?             |
//! | `H` digest repo                              | `LinkRecord`          | where is the blob visible?            |
//! | `M` repo `\0` digest                         | `ManifestRecord`      | the manifest                          |
//! | `T` repo `\0` tag                            | `TagRecord`           | where does the tag point? tag list    |
//! | `P` repo `\0` digest tag                     | none                  | which tags point here?                |
//! | `S` repo `\0` subject digest                 | `ReferrerRecord`      | what refers to the subject?           |
//! | `F` digest repo `\0` manifest                | none                  | which manifests need this content?    |
//! | `D` client sequence                          | `DedupeRecord`        | was this request applied?             |
//! | `A` place                                    | `AgeRecord`           | whose answer is the oldest?           |
//! | `N`                                          | `PlaceRecord`         | which place had the last request?     |
//! | `C` client                                   | `ClientRecord`        | what was forgotten of the client?     |
//! | `G`                                          | `GcRecord`            | which collection was the last?        |
//! | `X` digest                                   | `CondemnedRecord`     | is the blob condemned, and by which?  |
//!
//! The order of keys is the order of what they are made of, and no two facts share a key: a name
//! ends with a zero byte, which no name contains and which sorts before every byte that one may
//! contain (so `a` comes before `a-b`, and the rows of `a` hold none of `a-b`); a digest is one byte
//! for the algorithm and as many as the algorithm has; numbers are big-endian. A text that ends
//! the key needs no end mark.
//!
//! `H`, `P` and `F` say what `L`, `T` and `M` say, seen from the other side. They exist so that no
//! question scans a repository, and so that what would be a counter is a set of rows: applying a
//! command twice cannot count twice.

use std::str::FromStr;

use crate::{Algorithm, Digest, RepoName, Tag, metadata::command::RequestId};

const REPO: u8 = b'R';
const LINK: u8 = b'L';
const HOLDER: u8 = b'H';
const MANIFEST: u8 = b'M';
const TAG: u8 = b'T';
const POINTER: u8 = b'P';
const REFERRER: u8 = b'S';
const REFERENCE: u8 = b'F';
const DEDUPE: u8 = b'D';
const AGE: u8 = b'A';
const PLACE: u8 = b'N';
const CLIENT: u8 = b'C';
const GC: u8 = b'G';
const CONDEMNED: u8 = b'X';

/// The value of a row whose key says everything.
pub const MARK: &[u8] = &[];

/// Prefix of all repositories.
pub fn repos() -> Vec<u8> {
    Key::new(REPO).0
}

/// A repository.
pub fn repo(repo: &RepoName) -> Vec<u8> {
    Key::new(REPO).text(repo.as_str()).0
}

/// Prefix of the blobs visible in a repository.
pub fn links_of(repo: &RepoName) -> Vec<u8> {
    Key::new(LINK).repo(repo).0
}

/// A blob visible in a repository.
pub fn link(repo: &RepoName, digest: &Digest) -> Vec<u8> {
    Key::new(LINK).repo(repo).digest(digest).0
}

/// Prefix of all blobs that are visible anywhere.
pub fn holders() -> Vec<u8> {
    Key::new(HOLDER).0
}

/// Prefix of the repositories in which a blob is visible.
pub fn holders_of(digest: &Digest) -> Vec<u8> {
    Key::new(HOLDER).digest(digest).0
}

/// A repository in which a blob is visible.
pub fn holder(digest: &Digest, repo: &RepoName) -> Vec<u8> {
    Key::new(HOLDER).digest(digest).text(repo.as_str()).0
}

/// Prefix of the manifests of a repository.
pub fn manifests_of(repo: &RepoName) -> Vec<u8> {
    Key::new(MANIFEST).repo(repo).0
}

/// A manifest.
pub fn manifest(repo: &RepoName, digest: &Digest) -> Vec<u8> {
    Key::new(MANIFEST).repo(repo).digest(digest).0
}

/// Prefix of the tags of a repository.
pub fn tags_of(repo: &RepoName) -> Vec<u8> {
    Key::new(TAG).repo(repo).0
}

/// A tag.
pub fn tag(repo: &RepoName, tag: &Tag) -> Vec<u8> {
    Key::new(TAG).repo(repo).text(tag.as_str()).0
}

/// Prefix of the tags that point to a manifest.
pub fn pointers_to(repo: &RepoName, digest: &Digest) -> Vec<u8> {
    Key::new(POINTER).repo(repo).digest(digest).0
}

/// A tag that points to a manifest.
pub fn pointer(repo: &RepoName, digest: &Digest, tag: &Tag) -> Vec<u8> {
    Key::new(POINTER).repo(repo).digest(digest).text(tag.as_str()).0
}

/// Prefix of the manifests that refer to a subject.
pub fn referrers_of(repo: &RepoName, subject: &Digest) -> Vec<u8> {
    Key::new(REFERRER).repo(repo).digest(subject).0
}

/// A manifest that refers to a subject.
pub fn referrer(repo: &RepoName, subject: &Digest, digest: &Digest) -> Vec<u8> {
    Key::new(REFERRER).repo(repo).digest(subject).digest(digest).0
}

/// Prefix of the manifests that need some content.
pub fn references_to(digest: &Digest) -> Vec<u8> {
    Key::new(REFERENCE).digest(digest).0
}

/// A manifest that needs some content.
pub fn reference(digest: &Digest, repo: &RepoName, manifest: &Digest) -> Vec<u8> {
    Key::new(REFERENCE).digest(digest).repo(repo).digest(manifest).0
}

/// The answer to a request.
pub fn dedupe(request: RequestId) -> Vec<u8> {
    Key::new(DEDUPE).bytes(&request.client.to_be_bytes()).bytes(&request.sequence.to_be_bytes()).0
}

/// Prefix of all requests by age.
pub fn ages() -> Vec<u8> {
    Key::new(AGE).0
}

/// The request at a place.
pub fn age(place: u64) -> Vec<u8> {
    Key::new(AGE).bytes(&place.to_be_bytes()).0
}

/// The place of the last request.
pub fn place() -> Vec<u8> {
    Key::new(PLACE).0
}

/// Prefix of all clients.
pub fn clients() -> Vec<u8> {
    Key::new(CLIENT).0
}

/// What is left of a client.
pub fn client(client: u128) -> Vec<u8> {
    Key::new(CLIENT).bytes(&client.to_be_bytes()).0
}

/// The newest collection.
pub fn gc() -> Vec<u8> {
    Key::new(GC).0
}

/// Prefix of all condemned blobs.
pub fn all_condemned() -> Vec<u8> {
    Key::new(CONDEMNED).0
}

/// A condemned blob.
pub fn condemned(digest: &Digest) -> Vec<u8> {
    Key::new(CONDEMNED).digest(digest).0
}

/// The first key after all that start with `prefix`; none when there is no such key.
pub fn prefix_end(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|&byte| byte != u8::MAX)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}

/// The name that ends a key.
pub(super) fn text<T: FromStr>(bytes: &[u8]) -> Option<T> {
    std::str::from_utf8(bytes).ok()?.parse().ok()
}

/// The digest that ends a key.
pub(super) fn whole_digest(bytes: &[u8]) -> Option<Digest> {
    let (&code, hash) = bytes.split_first()?;
    Digest::from_bytes(algorithm(code)?, hash)
}

/// The digest that begins `bytes`, and the name after it.
pub(super) fn digest_and_text<T: FromStr>(bytes: &[u8]) -> Option<(Digest, T)> {
    let len = algorithm(*bytes.first()?)?.len_bytes();
    let (digest, name) = bytes.split_at_checked(1 + len)?;
    Some((whole_digest(digest)?, text(name)?))
}

/// The byte of an algorithm. On disk for ever; in the order of [`Algorithm`], so that keys sort as
/// digests do.
fn algorithm_code(algorithm: Algorithm) -> u8 {
    match algorithm {
        Algorithm::Sha256 => 1,
        Algorithm::Sha512 => 2,
    }
}

fn algorithm(code: u8) -> Option<Algorithm> {
    Algorithm::ALL.into_iter().find(|&algorithm| algorithm_code(algorithm) == code)
}

/// A key under construction.
struct Key(Vec<u8>);

impl Key {
    fn new(kind: u8) -> Key {
        let mut bytes = Vec::with_capacity(128);
        bytes.push(kind);
        Key(bytes)
    }

    fn bytes(mut self, bytes: &[u8]) -> Key {
        self.0.extend_from_slice(bytes);
        self
    }

    fn text(self, text: &str) -> Key {
        self.bytes(text.as_bytes())
    }

    fn repo(self, repo: &RepoName) -> Key {
        self.text(repo.as_str()).bytes(&[0])
    }

    fn digest(self, digest: &Digest) -> Key {
        self.bytes(&[algorithm_code(digest.algorithm())]).bytes(digest.as_bytes())
    }
}

#[cfg(test)]
mod tests;
