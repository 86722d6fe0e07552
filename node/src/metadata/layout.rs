//! Where the files are, and how the folder was founded.
//!
//! The number of groups decides which group owns a repository. It is written down before the first
//! group exists and compared on every start. Once all groups have been founded that is written down
//! too: from then on a missing file is a loss that stops the start, never an empty new beginning.

use std::{
    io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::error::{
    FileMissing, FoundingDamaged, GroupCountMismatch, GroupCountOutOfRange, OpenMetadataError,
};
use super::settings::{COORDINATION, GROUPS_MAX};
use crate::io::{
    Disk,
    disk::{self, unlink_if_there},
};

/// Version of the folder's layout.
const VERSION: u32 = 1;
/// A founding file is a few lines; more is not one.
const FOUNDING_BYTES_MAX: u64 = 4096;

/// The paths of one group.
///
/// ```text
/// metadata/
///   founding.toml               version, number of groups, founded?
///   coordination/               group 0, which coordinates the nodes
///   0/                          one folder per metadata group
///     log.redb                  entries, vote, last purged position (every commit durable)
///     state.redb                rows of the state machine, applied position, membership
///     *.new                     a database on its way to one of the names above
/// ```
#[derive(Clone, Debug)]
pub(super) struct GroupPaths {
    /// Which group.
    pub group: u16,
    /// The group's folder.
    pub folder: PathBuf,
    /// Its log.
    pub log: PathBuf,
    /// Its state.
    pub state: PathBuf,
}

impl GroupPaths {
    pub(super) fn new(group: u16) -> Self {
        let folder = root().join(match group {
            COORDINATION => "coordination".to_owned(),
            group => group.to_string(),
        });
        Self { group, log: folder.join("log.redb"), state: folder.join("state.redb"), folder }
    }

    /// A state that was received and is about to replace the other.
    pub(super) fn state_new(&self) -> PathBuf {
        self.state.with_extension("redb.new")
    }
}

/// How the folder was founded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Founding {
    version: u32,
    /// Number of groups.
    pub groups: u16,
    /// Did every metadata group get its files?
    pub complete: bool,
    /// Did the coordination group? Folders of nodes that were alone do not have one.
    #[serde(default)]
    pub coordination: bool,
}

fn root() -> PathBuf {
    PathBuf::from("metadata")
}

fn founding_path() -> PathBuf {
    root().join("founding.toml")
}

/// Reads how the folder was founded, or founds it with `groups`.
pub(super) fn found_or_check(disk: &dyn Disk, groups: u16) -> Result<Founding, OpenMetadataError> {
    if !(1..=GROUPS_MAX).contains(&groups) {
        return Err(GroupCountOutOfRange { asked: groups, max: GROUPS_MAX }.into());
    }
    disk::create_dir_all_durable(disk, &root())?;
    let Some(founding) = read(disk)? else {
        let founding = Founding { version: VERSION, groups, complete: false, coordination: false };
        write(disk, &founding)?;
        return Ok(founding);
    };
    if founding.groups != groups {
        return Err(GroupCountMismatch { recorded: founding.groups, asked: groups }.into());
    }
    Ok(founding)
}

/// Notes that every group has its files.
pub(super) fn complete(disk: &dyn Disk, founding: Founding) -> io::Result<()> {
    write(disk, &Founding { complete: true, coordination: true, ..founding })
}

/// Refuses to go on without a file that a complete folder has.
pub(super) fn require(disk: &dyn Disk, path: &Path) -> Result<(), OpenMetadataError> {
    match disk.file_len(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(FileMissing { path: path.to_owned() }.into())
        }
        Err(error) => Err(error.into()),
    }
}

fn read(disk: &dyn Disk) -> Result<Option<Founding>, OpenMetadataError> {
    let path = founding_path();
    let file = match disk.open_read(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let damaged = |reason: String| FoundingDamaged { path: path.clone(), reason };
    let len = file.len()?;
    if len > FOUNDING_BYTES_MAX {
        return Err(damaged(format!("{len} bytes long")).into());
    }
    let mut bytes = vec![0; usize::try_from(len).unwrap_or_default()];
    file.read_exact_at(&mut bytes, 0)?;
    let text = String::from_utf8(bytes).map_err(|error| damaged(error.to_string()))?;
    let founding: Founding = toml::from_str(&text).map_err(|error| damaged(error.to_string()))?;
    if founding.version != VERSION {
        return Err(damaged(format!("layout version {} is not known", founding.version)).into());
    }
    Ok(Some(founding))
}

fn write(disk: &dyn Disk, founding: &Founding) -> io::Result<()> {
    let text = toml::to_string(founding).map_err(io::Error::other)?;
    let path = founding_path();
    let fresh = path.with_extension("toml.new");
    unlink_if_there(disk, &fresh)?;
    let file = disk.create_new(&fresh)?;
    file.write_at(text.as_bytes(), 0)?;
    file.sync()?;
    disk.rename(&fresh, &path)?;
    disk.sync_dir(&root())
}
