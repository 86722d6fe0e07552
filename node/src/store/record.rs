//! The checkpoint record: what a restart needs to go on with an upload session.
//!
//! ```text
//! magic "ATOLSESS" | version, u16 little-endian | postcard of the record | crc32c of all before
//! ```
//! It is written anew each time and renamed into place, so a reader sees the old one or the new
//! one. The block checksums in it prove that the bytes on the disk are those that were received;
//! the hash is computed from them again, because its inner state has no stable form.

use std::{
    io,
    time::{Duration, SystemTime},
};

use atoll_core::{Algorithm, RepoName, route::UploadId};
use serde::{Deserialize, Serialize};

use crate::io::Disk;

use super::{
    error::{At, DiskFailure, StoreIo},
    paths::Paths,
    sums::BlockSums,
};

const MAGIC: &[u8; 8] = b"ATOLSESS";
const VERSION: u16 = 1;
/// The longest record that is read: block checksums of a blob of 1 TiB, and some.
const RECORD_BYTES_MAX: u64 = 128 << 20;

/// What is remembered of an upload session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) repo: RepoName,
    pub(crate) algorithm: Algorithm,
    /// Checksums of the durable bytes; their length is the offset.
    pub(crate) sums: BlockSums,
    /// When it was written, in milliseconds since 1970, for people who look at it.
    pub(crate) written_unix_ms: u64,
}

impl Record {
    pub(crate) fn new(
        repo: RepoName,
        algorithm: Algorithm,
        sums: BlockSums,
        now: SystemTime,
    ) -> Record {
        let since_1970 = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Record { repo, algorithm, sums, written_unix_ms: since_1970.as_millis() as u64 }
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        let mut bytes = postcard::to_extend(self, bytes)
            .expect("a record is names and numbers, and a vector takes any length");
        let sum = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&sum.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Record> {
        let (covered, sum) = bytes.split_last_chunk()?;
        if crc32c::crc32c(covered) != u32::from_le_bytes(*sum) {
            return None;
        }
        let (version, body) = covered.strip_prefix(MAGIC)?.split_first_chunk()?;
        if u16::from_le_bytes(*version) != VERSION {
            return None;
        }
        let record: Record = postcard::from_bytes(body).ok()?;
        record.sums.is_sane().then_some(record)
    }

    /// Writes the record durably in place of the one before.
    pub(crate) fn save(
        &self,
        disk: &dyn Disk,
        paths: &Paths,
        id: UploadId,
    ) -> Result<(), DiskFailure> {
        let (new, path) = (paths.record_new(id), paths.record(id));
        match disk.unlink(&new) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(StoreIo::new("remove", &new, error).into()),
        }
        let file = disk.create_new(&new).at("create", &new)?;
        file.write_at(&self.encode(), 0).at("write", &new)?;
        // Only the record is in doubt after this sync fails, and it is written anew every time.
        file.sync().at("sync", &new)?;
        disk.rename(&new, &path).at("rename into place", &path)?;
        Ok(disk.sync_dir(&paths.sessions()).at("sync", &paths.sessions())?)
    }

    /// Reads a record; `None` when it is no whole record.
    pub(crate) fn load(disk: &dyn Disk, paths: &Paths, id: UploadId) -> io::Result<Option<Record>> {
        let path = paths.record(id);
        let file = disk.open_read(&path)?;
        let len = file.len()?;
        if len > RECORD_BYTES_MAX {
            return Ok(None);
        }
        let mut bytes = vec![0; len as usize];
        file.read_exact_at(&mut bytes, 0)?;
        Ok(Record::decode(&bytes))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record(len: usize) -> Record {
        let mut sums = BlockSums::default();
        sums.update(&vec![3; len]);
        let now = SystemTime::UNIX_EPOCH + Duration::from_millis(1_234);
        Record::new("a/b".parse().unwrap(), Algorithm::Sha512, sums, now)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn records_come_back_and_flipped_ones_do_not(len in 0usize..300_000, bit in any::<u32>()) {
            let record = record(len);
            let mut bytes = record.encode();
            prop_assert_eq!(Record::decode(&bytes), Some(record));
            let bit = bit as usize % (bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(Record::decode(&bytes), None);
        }

        #[test]
        fn no_input_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(Record::decode(&bytes), None);
        }
    }
}
