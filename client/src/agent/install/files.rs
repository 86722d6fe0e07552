//! Files of the machine, read and written whole, with their mode and owner.
#![allow(clippy::disallowed_methods, reason = "the agent is never simulated")]

use std::{
    fs::{self, File, Permissions},
    io::{self, Write as _},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown},
    path::{Path, PathBuf},
};

use super::InstallError;

/// The mode of files that are made anew: programs of other users read them.
const NEW_MODE: u32 = 0o644;

/// A file as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plain {
    /// Its content.
    pub bytes: Vec<u8>,
    /// Who may do what.
    pub mode: u32,
    /// Whose it is.
    pub owner: (u32, u32),
}

/// Reads a file; `None` when there is none.
pub fn read(path: &Path) -> Result<Option<Plain>, InstallError> {
    let failed = |cause| InstallError::File { doing: "cannot read", path: path.to_owned(), cause };
    let facts = match fs::symlink_metadata(path) {
        Ok(facts) => facts,
        Err(error) if is_missing(&error) => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    if !facts.is_file() {
        return Err(InstallError::NotPlain { path: path.to_owned() });
    }
    let bytes = fs::read(path).map_err(failed)?;
    let mode = facts.permissions().mode() & 0o7777;
    Ok(Some(Plain { bytes, mode, owner: (facts.uid(), facts.gid()) }))
}

/// Puts `bytes` in place of a file in one step. Mode and owner are those of `like`, if given.
pub fn write(path: &Path, bytes: &[u8], like: Option<&Plain>) -> Result<(), InstallError> {
    let failed = |cause| InstallError::File { doing: "cannot write", path: path.to_owned(), cause };
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".atoll-new");
    let beside = path.with_file_name(name);
    let written = (|| {
        let mut file = File::create(&beside)?;
        file.write_all(bytes)?;
        if let Some((uid, gid)) = like.map(|like| like.owner) {
            let facts = file.metadata()?;
            if (facts.uid(), facts.gid()) != (uid, gid) {
                chown(&beside, Some(uid), Some(gid))?;
            }
        }
        // After the owner: a change of owner takes bits away.
        file.set_permissions(Permissions::from_mode(like.map_or(NEW_MODE, |like| like.mode)))?;
        file.sync_all()?;
        fs::rename(&beside, path)?;
        sync_folder(path)
    })();
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written.map_err(failed)
}

/// Removes a file; gone is gone.
pub fn remove(path: &Path) -> Result<(), InstallError> {
    let failed =
        |cause| InstallError::File { doing: "cannot remove", path: path.to_owned(), cause };
    match fs::remove_file(path) {
        Err(error) if !is_missing(&error) => Err(failed(error)),
        _ => sync_folder(path)
            .or_else(|error| if is_missing(&error) { Ok(()) } else { Err(failed(error)) }),
    }
}

/// The folders above `path` that are missing, the outermost first.
pub fn missing_folders(path: &Path) -> Vec<PathBuf> {
    let above = path.ancestors().skip(1);
    let mut missing: Vec<_> =
        above.take_while(|folder| !folder.exists()).map(Path::to_owned).collect();
    missing.reverse();
    missing
}

/// Makes the folders above `path`.
pub fn make_folders(path: &Path) -> Result<(), InstallError> {
    let folder = path.parent().unwrap_or(path);
    fs::create_dir_all(folder).map_err(|cause| InstallError::File {
        doing: "cannot make",
        path: folder.to_owned(),
        cause,
    })
}

/// Removes a folder if nothing is in it.
pub fn remove_empty_folder(path: &Path) {
    // Somebody else's file may be there by now: then it stays.
    let _ = fs::remove_dir(path);
}

fn sync_folder(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}
