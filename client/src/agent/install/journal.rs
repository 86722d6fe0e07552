//! What was there before.
//!
//! ```text
//! /var/lib/atoll-agent/install/manifest.json   the files that were written, and the folders made
//! /var/lib/atoll-agent/install/<n>             what the n-th file held before
//! ```
//!
//! The list is complete on the disk before a file is changed. So each listed file is found in one of
//! three states: as it was before, as it was written, or changed by somebody; only the last one is a
//! question to its owner.

use std::path::{Path, PathBuf};

use atoll_core::{Algorithm, Digest};
use serde::{Deserialize, Serialize};

use super::{
    Edit, InstallError, Program, Root,
    files::{self, Plain},
};

const FOLDER: &str = "/var/lib/atoll-agent/install";
/// The version of the list.
const VERSION: u32 = 1;

#[derive(Debug, Default, Serialize, Deserialize)]
struct Journal {
    version: u32,
    files: Vec<Entry>,
    /// Made on the way, the outermost first; absolute paths below the root.
    folders: Vec<PathBuf>,
    /// The number of the next file that is put aside.
    next: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Entry {
    program: Program,
    path: PathBuf,
    /// The digest of what was written.
    written: String,
    /// What was there; `None`: nothing.
    before: Option<Before>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Before {
    aside: u64,
    mode: u32,
    owner: (u32, u32),
}

/// How a listed file is found.
enum State {
    Before,
    Written,
    Changed,
}

fn list_path() -> PathBuf {
    Path::new(FOLDER).join("manifest.json")
}

fn aside_path(number: u64) -> PathBuf {
    Path::new(FOLDER).join(number.to_string())
}

fn digest(bytes: &[u8]) -> String {
    Digest::of(Algorithm::Sha256, bytes).to_string()
}

impl Journal {
    fn load(root: &Root) -> Result<Journal, InstallError> {
        let path = root.at(&list_path());
        let damaged = |why: String| InstallError::Journal { path: path.clone(), why };
        let Some(file) = files::read(&path)? else {
            return Ok(Journal { version: VERSION, ..Journal::default() });
        };
        let journal: Journal =
            serde_json::from_slice(&file.bytes).map_err(|error| damaged(error.to_string()))?;
        if journal.version != VERSION {
            return Err(damaged(format!("version {}, expected {VERSION}", journal.version)));
        }
        Ok(journal)
    }

    fn save(&self, root: &Root) -> Result<(), InstallError> {
        let text = serde_json::to_vec_pretty(self).unwrap_or_default();
        files::write(&root.at(&list_path()), &text, None)
    }

    fn find(&self, path: &Path) -> Option<&Entry> {
        self.files.iter().find(|entry| entry.path == path)
    }

    /// Notes a file before it is written.
    fn note(&mut self, root: &Root, edit: &Edit) -> Result<(), InstallError> {
        let written = digest(&edit.after);
        if let Some(entry) = self.files.iter_mut().find(|entry| entry.path == edit.path) {
            entry.written = written;
            return Ok(());
        }
        let place = root.at(&edit.path);
        self.note_folders(root, &place);
        let before = match files::read(&place)? {
            None => None,
            Some(file) => {
                let aside = self.next;
                self.next += 1;
                files::write(
                    &root.at(&aside_path(aside)),
                    &file.bytes,
                    Some(&Plain { mode: 0o600, ..file.clone() }),
                )?;
                Some(Before { aside, mode: file.mode, owner: file.owner })
            }
        };
        let (program, path) = (edit.program, edit.path.clone());
        self.files.push(Entry { program, path, written, before });
        Ok(())
    }

    fn note_folders(&mut self, root: &Root, place: &Path) {
        for folder in files::missing_folders(place) {
            let below = Path::new("/").join(folder.strip_prefix(&root.root).unwrap_or(&folder));
            if !self.folders.contains(&below) {
                self.folders.push(below);
            }
        }
    }
}

impl Entry {
    fn before(&self, root: &Root) -> Result<Option<Plain>, InstallError> {
        let Some(before) = &self.before else { return Ok(None) };
        let path = root.at(&aside_path(before.aside));
        let Some(file) = files::read(&path)? else {
            return Err(InstallError::Journal { path, why: "it is missing".to_owned() });
        };
        Ok(Some(Plain { bytes: file.bytes, mode: before.mode, owner: before.owner }))
    }

    fn state(&self, root: &Root) -> Result<State, InstallError> {
        let now = files::read(&root.at(&self.path))?;
        let before = self.before(root)?;
        if now == before {
            return Ok(State::Before);
        }
        let mode = before.as_ref().map(|before| before.mode);
        let is_ours = now.is_some_and(|now| {
            digest(&now.bytes) == self.written && mode.is_none_or(|mode| mode == now.mode)
        });
        Ok(if is_ours { State::Written } else { State::Changed })
    }

    fn put_back(&self, root: &Root) -> Result<(), InstallError> {
        let place = root.at(&self.path);
        match self.before(root)? {
            Some(before) => {
                files::make_folders(&place)?;
                files::write(&place, &before.bytes, Some(&before))
            }
            None => files::remove(&place),
        }
    }
}

/// Writes the files, after everything that is needed to take them back.
pub fn apply(root: &Root, edits: &[Edit]) -> Result<Vec<PathBuf>, InstallError> {
    let mut journal = Journal::load(root)?;
    for edit in edits {
        if let Some(entry) = journal.find(&edit.path)
            && matches!(entry.state(root)?, State::Changed)
        {
            return Err(InstallError::Changed { path: edit.path.clone() });
        }
        files::read(&root.at(&edit.path))?;
    }
    if edits.is_empty() {
        return Ok(Vec::new());
    }
    let list = root.at(&list_path());
    journal.note_folders(root, &list);
    files::make_folders(&list)?;
    for edit in edits {
        journal.note(root, edit)?;
    }
    journal.save(root)?;
    let mut written = Vec::new();
    for edit in edits {
        let place = root.at(&edit.path);
        files::make_folders(&place)?;
        let like = files::read(&place)?;
        files::write(&place, &edit.after, like.as_ref())?;
        written.push(edit.path.clone());
    }
    Ok(written)
}

/// Puts everything of these programs back that nobody changed since; with `force`, the rest too.
pub fn take_back(
    root: &Root,
    programs: &[Program],
    force: bool,
) -> Result<Vec<PathBuf>, InstallError> {
    let mut journal = Journal::load(root)?;
    let (ours, kept): (Vec<_>, Vec<_>) =
        journal.files.drain(..).partition(|entry| programs.contains(&entry.program));
    journal.files = kept;
    let (mut back, mut refused) = (Vec::new(), None);
    let mut done = Vec::new();
    for entry in ours {
        let outcome = match entry.state(root) {
            Ok(State::Before) => Ok(()),
            Ok(State::Changed) if !force => Err(InstallError::Changed { path: entry.path.clone() }),
            Ok(State::Written | State::Changed) => entry.put_back(root),
            Err(InstallError::NotPlain { .. }) if force => entry.put_back(root),
            Err(error) => Err(error),
        };
        match outcome {
            Ok(()) => {
                back.push(entry.path.clone());
                done.push(entry);
            }
            Err(error) => {
                refused.get_or_insert(error);
                journal.files.push(entry);
            }
        }
    }
    if journal.files.is_empty() {
        files::remove(&root.at(&list_path()))?;
    } else {
        journal.save(root)?;
    }
    for before in done.iter().filter_map(|entry| entry.before.as_ref()) {
        files::remove(&root.at(&aside_path(before.aside)))?;
    }
    // Folders with anything in them stay, those of other programs among them.
    journal.folders.iter().rev().for_each(|folder| files::remove_empty_folder(&root.at(folder)));
    refused.map_or(Ok(back), Err)
}

/// The listed files that somebody changed.
pub fn changed(root: &Root) -> Result<Vec<PathBuf>, InstallError> {
    let mut changed = Vec::new();
    for entry in Journal::load(root)?.files {
        if !matches!(entry.state(root)?, State::Written) {
            changed.push(entry.path);
        }
    }
    Ok(changed)
}

/// What the file held before the agent came.
pub fn original(root: &Root, path: &Path) -> Result<Option<Vec<u8>>, InstallError> {
    let journal = Journal::load(root)?;
    let Some(entry) = journal.find(path) else {
        return Ok(files::read(&root.at(path))?.map(|file| file.bytes));
    };
    match entry.state(root)? {
        State::Changed => Err(InstallError::Changed { path: path.to_owned() }),
        State::Before | State::Written => Ok(entry.before(root)?.map(|file| file.bytes)),
    }
}
