//! What watchers are told.

use serde::{Deserialize, Serialize};

use super::stat::Zxid;

/// Something happened to a znode. What it is like now must be read: an event carries no data.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Event {
    /// Which change it was. Zero from a server that does not say.
    pub zxid: Zxid,
    /// What happened.
    pub kind: EventKind,
    /// To which znode.
    pub path: String,
}

/// What happened to a znode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum EventKind {
    /// It came into being.
    Created,
    /// It is gone.
    Deleted,
    /// Its data was set, perhaps to what it was.
    DataChanged,
    /// A child was created or deleted.
    ChildrenChanged,
}
