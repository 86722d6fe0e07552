//! Where everything of the store lies on the disk. No other file builds a path.
//!
//! ```text
//! uploads/<uuid>/data            bytes received so far of one session, or of one whole push
//! sessions/<uuid>                checkpoint record of a session that survives a restart
//! sessions/<uuid>.new            the same, while it is being written
//! blobs/<alg>/<xx>/<hex>/data    a verified blob: content, then a trailer with checksums;
//!                                <xx> = the first two digits of <hex>
//! quarantine/<alg>-<hex>-<n>/data    a copy that failed its checksum
//! inventory.redb                 which blobs there are; made anew from them when it is lost
//! inventory.unreadable           an inventory that could not be read
//! ```
//!
//! A blob becomes visible by one rename of its folder, from `uploads/<uuid>` to
//! `blobs/<alg>/<xx>/<hex>`, and invisible by one rename into `quarantine/`. The 256 shard folders
//! of each algorithm exist from the first start on, so that publishing never creates parents.
//!
//! Names on the disk are read back strictly: what this file would not have written is a
//! stranger's, and left alone.

use std::path::{Path, PathBuf};

use atoll_core::{Algorithm, Digest, route::UploadId};

/// The name of the one file in an upload's or a blob's folder.
const DATA: &str = "data";
/// Ending of a record that is not complete yet.
const RECORD_NEW: &str = ".new";

/// Builds the paths of one store, relative to the data folder.
#[derive(Clone, Debug)]
pub(crate) struct Paths {
    root: PathBuf,
}

impl Paths {
    pub(crate) fn new(root: PathBuf) -> Paths {
        Paths { root }
    }

    /// The folder that holds everything.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn uploads(&self) -> PathBuf {
        self.root.join("uploads")
    }

    pub(crate) fn upload(&self, id: UploadId) -> PathBuf {
        self.uploads().join(id.to_string())
    }

    pub(crate) fn upload_data(&self, id: UploadId) -> PathBuf {
        data_in(&self.upload(id))
    }

    pub(crate) fn sessions(&self) -> PathBuf {
        self.root.join("sessions")
    }

    pub(crate) fn record(&self, id: UploadId) -> PathBuf {
        self.sessions().join(id.to_string())
    }

    pub(crate) fn record_new(&self, id: UploadId) -> PathBuf {
        self.sessions().join(format!("{id}{RECORD_NEW}"))
    }

    /// The folder that holds the shard folders of `algorithm`.
    pub(crate) fn shards(&self, algorithm: Algorithm) -> PathBuf {
        self.root.join("blobs").join(algorithm.name())
    }

    pub(crate) fn shard(&self, digest: &Digest) -> PathBuf {
        self.shards(digest.algorithm()).join(shard_name(digest.as_bytes()[0]))
    }

    pub(crate) fn blob(&self, digest: &Digest) -> PathBuf {
        self.shard(digest).join(digest.hex())
    }

    pub(crate) fn blob_data(&self, digest: &Digest) -> PathBuf {
        data_in(&self.blob(digest))
    }

    pub(crate) fn inventory(&self) -> PathBuf {
        self.root.join("inventory.redb")
    }

    pub(crate) fn quarantine(&self) -> PathBuf {
        self.root.join("quarantine")
    }

    pub(crate) fn quarantined(&self, digest: &Digest, copy: u32) -> PathBuf {
        let name = format!("{}-{}-{copy}", digest.algorithm(), digest.hex());
        self.quarantine().join(name)
    }
}

/// The name of the shard folder of digests that begin with `byte`.
pub(crate) fn shard_name(byte: u8) -> String {
    format!("{byte:02x}")
}

/// The data file in the folder of an upload, a blob or a quarantined copy.
pub(crate) fn data_in(folder: &Path) -> PathBuf {
    folder.join(DATA)
}

/// What an entry of `sessions/` is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RecordName {
    /// A complete record.
    Whole(UploadId),
    /// One whose writing was interrupted.
    Unfinished(UploadId),
}

/// Reads the name of an entry of `uploads/`.
pub(crate) fn parse_upload(name: &str) -> Option<UploadId> {
    name.parse().ok()
}

/// Reads the name of an entry of `sessions/`.
pub(crate) fn parse_record(name: &str) -> Option<RecordName> {
    match name.strip_suffix(RECORD_NEW) {
        Some(id) => id.parse().ok().map(RecordName::Unfinished),
        None => name.parse().ok().map(RecordName::Whole),
    }
}

/// Reads the name of an entry of `quarantine/`: which blob, which copy.
pub(crate) fn parse_quarantined(name: &str) -> Option<(Digest, u32)> {
    let (digest, copy) = name.rsplit_once('-')?;
    let (algorithm, hex) = digest.split_once('-')?;
    let digest = format!("{algorithm}:{hex}").parse().ok()?;
    Some((digest, copy.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths() -> Paths {
        Paths::new(PathBuf::from("store"))
    }

    #[test]
    fn the_tree_is_the_one_in_the_picture() {
        let digest = Digest::of(Algorithm::Sha256, b"");
        let hex = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let blob = format!("store/blobs/sha256/e3/{hex}/data");
        assert_eq!(paths().blob_data(&digest), Path::new(&blob));
        let id = UploadId::from_bytes([0; 16]);
        let upload = format!("store/uploads/{id}/data");
        assert_eq!(paths().upload_data(id), Path::new(&upload));
        assert_eq!(
            paths().shard(&digest),
            paths().shards(Algorithm::Sha256).join(shard_name(0xe3))
        );
    }

    #[test]
    fn names_are_read_back_and_strangers_are_not() {
        for algorithm in Algorithm::ALL {
            let digest = Digest::of(algorithm, b"x");
            let path = paths().quarantined(&digest, 7);
            let name = path.file_name().unwrap().to_str().unwrap();
            assert_eq!(parse_quarantined(name), Some((digest, 7)));
        }
        let id = UploadId::from_bytes([9; 16]);
        assert_eq!(parse_upload(&id.to_string()), Some(id));
        assert_eq!(parse_record(&id.to_string()), Some(RecordName::Whole(id)));
        assert_eq!(parse_record(&format!("{id}.new")), Some(RecordName::Unfinished(id)));
        for stranger in ["", "lost+found", "sha256-zz-1", "sha256--", "x.new"] {
            assert_eq!(parse_upload(stranger), None);
            assert_eq!(parse_record(stranger), None);
            assert_eq!(parse_quarantined(stranger), None);
        }
    }
}
