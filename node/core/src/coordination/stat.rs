//! What is known of a znode beside its data.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::command::SessionId;

/// The number of a change: its position in the log. Larger is later.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Zxid(pub u64);

impl fmt::Display for Zxid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// A znode's status, field by field as ZooKeeper has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stat {
    /// The change that created it.
    pub czxid: Zxid,
    /// The change that last set its data.
    pub mzxid: Zxid,
    /// The change that last created or deleted a child.
    pub pzxid: Zxid,
    /// When it was created, in milliseconds since 1970, on the clock of who asked for it.
    pub ctime_ms: u64,
    /// When its data was last set, likewise.
    pub mtime_ms: u64,
    /// How often its data was set.
    pub version: i32,
    /// How often a child was created or deleted.
    pub cversion: i32,
    /// How often its access list was set: never, there is none.
    pub aversion: i32,
    /// The session it ends with; none for a persistent znode.
    pub ephemeral_owner: Option<SessionId>,
    /// Bytes of data.
    pub data_length: u32,
    /// Children it has now.
    pub num_children: u32,
}
