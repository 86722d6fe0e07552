//! What the rows hold. See [`crate::metadata::record`] for how a record is written.

use serde::{Deserialize, Serialize};

use super::{
    command::SessionId,
    stat::{Stat, Zxid},
};
use crate::metadata::record::Record;

/// A znode.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZnodeRecord {
    /// The change that created it.
    pub czxid: Zxid,
    /// The change that last set its data.
    pub mzxid: Zxid,
    /// The change that last created or deleted a child.
    pub pzxid: Zxid,
    /// When it was created.
    pub ctime_ms: u64,
    /// When its data was last set.
    pub mtime_ms: u64,
    /// How often its data was set.
    pub version: i32,
    /// Children it has now.
    pub children: u32,
    /// Children it ever had: the number of the next sequential one.
    pub children_ever: u32,
    /// The session it ends with.
    pub owner: Option<SessionId>,
    /// Its data.
    #[serde(with = "super::octets")]
    pub data: Vec<u8>,
}

impl Record for ZnodeRecord {
    const KIND: &'static str = "znode";
}

impl ZnodeRecord {
    /// What is told of it.
    pub fn stat(&self) -> Stat {
        let lost = self.children_ever.wrapping_sub(self.children);
        Stat {
            czxid: self.czxid,
            mzxid: self.mzxid,
            pzxid: self.pzxid,
            ctime_ms: self.ctime_ms,
            mtime_ms: self.mtime_ms,
            version: self.version,
            // Wraps around, as ZooKeeper's does, after two thousand million changes.
            cversion: self.children_ever.wrapping_add(lost).cast_signed(),
            aversion: 0,
            ephemeral_owner: self.owner,
            data_length: u32::try_from(self.data.len()).unwrap_or(u32::MAX),
            num_children: self.children,
        }
    }
}

/// An open session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionRecord {
    /// Its time-out.
    pub timeout_ms: u64,
    /// The node that holds it; zero for others.
    pub owner: u16,
    /// When it was opened, on the clock of who asked for it.
    pub since_ms: u64,
}

impl Record for SessionRecord {
    const KIND: &'static str = "session";
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn records_round_trip(
            numbers: (u64, u64, u64, u64, u64),
            counts: (i32, u32, u32),
            owner: Option<u64>,
            data: Vec<u8>,
        ) {
            let znode = ZnodeRecord {
                czxid: Zxid(numbers.0),
                mzxid: Zxid(numbers.1),
                pzxid: Zxid(numbers.2),
                ctime_ms: numbers.3,
                mtime_ms: numbers.4,
                version: counts.0,
                children: counts.1,
                children_ever: counts.2,
                owner: owner.map(SessionId),
                data,
            };
            prop_assert_eq!(ZnodeRecord::decode(&znode.encode()), Ok(znode));
            let session = SessionRecord { timeout_ms: numbers.0, owner: 7, since_ms: numbers.1 };
            prop_assert_eq!(SessionRecord::decode(&session.encode()), Ok(session));
        }

        #[test]
        fn no_bytes_panic(mut bytes: Vec<u8>) {
            let _ = ZnodeRecord::decode(&bytes);
            bytes.insert(0, 1);
            let _ = ZnodeRecord::decode(&bytes).map(|znode| znode.stat());
            let _ = SessionRecord::decode(&bytes);
        }
    }

    /// The bytes of version 1, written down: they are on disks.
    #[test]
    fn the_format_is_what_it_was() {
        let znode = ZnodeRecord {
            czxid: Zxid(1),
            mzxid: Zxid(300),
            pzxid: Zxid(2),
            ctime_ms: 3,
            mtime_ms: 4,
            version: -1,
            children: 5,
            children_ever: 6,
            owner: Some(SessionId(7)),
            data: vec![8, 9],
        };
        assert_eq!(znode.encode(), [1, 1, 0xac, 2, 2, 3, 4, 1, 5, 6, 1, 7, 2, 8, 9]);
        let session = SessionRecord { timeout_ms: 300, owner: 1, since_ms: 2 };
        assert_eq!(session.encode(), [1, 0xac, 2, 1, 2]);
    }
}
