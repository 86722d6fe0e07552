//! Every key of the coordination group's key space.
//!
//! | key                       | record          | answers                                   |
//! |---------------------------|-----------------|-------------------------------------------|
//! | `Z` path                  | `ZnodeRecord`   | the znode                                 |
//! | `K` parent `\0` name      | none            | which children does it have?              |
//! | `Y` session               | `SessionRecord` | does the session live?                    |
//! | `E` session path          | none            | which znodes end with it?                 |
//!
//! The group has a database of its own; beside these rows there are only those by which a retry is
//! told from a new request ([`crate::metadata::keys`]), whose letters are others. A path contains no
//! zero byte, a session is eight bytes, big-endian, so no two facts share a key.

use super::{command::SessionId, path::Path};

const ZNODE: u8 = b'Z';
const CHILD: u8 = b'K';
const SESSION: u8 = b'Y';
const EPHEMERAL: u8 = b'E';

/// The value of a row whose key says everything.
pub const MARK: &[u8] = &[];

/// A znode.
pub fn znode(path: Path<'_>) -> Vec<u8> {
    [&[ZNODE], path.as_str().as_bytes()].concat()
}

/// Prefix of the children of a znode; the name follows.
pub fn children_of(path: Path<'_>) -> Vec<u8> {
    [&[CHILD], path.as_str().as_bytes(), &[0]].concat()
}

/// A child of a znode.
pub fn child(parent: Path<'_>, name: &str) -> Vec<u8> {
    [&children_of(parent), name.as_bytes()].concat()
}

/// Prefix of all sessions; the id follows.
pub fn sessions() -> Vec<u8> {
    vec![SESSION]
}

/// A session.
pub fn session(session: SessionId) -> Vec<u8> {
    [&[SESSION][..], &session.0.to_be_bytes()].concat()
}

/// The session that ends a key.
pub(super) fn session_id(bytes: &[u8]) -> Option<SessionId> {
    Some(SessionId(u64::from_be_bytes(bytes.try_into().ok()?)))
}

/// Prefix of the znodes that end with a session; the path follows.
pub fn ephemerals_of(session: SessionId) -> Vec<u8> {
    [&[EPHEMERAL][..], &session.0.to_be_bytes()].concat()
}

/// A znode that ends with a session.
pub fn ephemeral(session: SessionId, path: Path<'_>) -> Vec<u8> {
    [&ephemerals_of(session), path.as_str().as_bytes()].concat()
}
