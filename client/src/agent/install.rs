//! Tells docker, containerd and podman of the agent, and takes it back byte for byte.
//!
//! What is to be written is planned first, from what is there; a plan can be shown (`--dry-run`) or
//! applied. Before the first byte is changed, what was there is put aside with a list of it all
//! (`journal`), so that a crash at any moment leaves something `uninstall` can undo. A file that
//! somebody changed since is not touched without `--force`: the change would be lost.
//!
//! Files of programs are edited as text and read back as TOML, never written anew: comments and order
//! are their owner's.

mod containerd;
mod diff;
mod docker;
mod files;
mod journal;
mod podman;

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

pub use self::{containerd::config_paths, docker::advice, podman::FILE as PODMAN_FILE};

/// A program that is told of the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Program {
    /// docker needs no file: see [`advice`].
    Docker,
    /// containerd, also under Kubernetes.
    Containerd,
    /// podman, buildah, skopeo, CRI-O.
    Podman,
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Program::Docker => "docker",
            Program::Containerd => "containerd",
            Program::Podman => "podman",
        })
    }
}

/// What to tell them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// The registry by every name that images have for it, `HOST:PORT`.
    pub registries: Vec<String>,
    /// The agent, `127.0.0.1:5080`.
    pub agent: String,
    /// Does the registry itself speak plain HTTP?
    pub is_plain: bool,
}

/// A file as it is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Edit {
    program: Program,
    /// Below the root, with a slash in front.
    path: PathBuf,
    after: Vec<u8>,
}

/// What an installation writes and says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    edits: Vec<Edit>,
    /// What the user has to know or do.
    pub notes: Vec<String>,
}

/// Why nothing was done.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// A file cannot be read or written.
    #[error("{doing} {}: {cause}", .path.display())]
    File {
        /// What was being done.
        doing: &'static str,
        /// With what.
        path: PathBuf,
        /// Why it failed.
        #[source]
        cause: io::Error,
    },
    /// The file is a link, perhaps into a place that is not ours to write.
    #[error("{} is no plain file; name the agent in it by hand, or make it one", .path.display())]
    NotPlain {
        /// Which one.
        path: PathBuf,
    },
    /// The file cannot be edited safely.
    #[error("{}: {why}", .path.display())]
    NotEditable {
        /// Which one.
        path: PathBuf,
        /// What is in the way, and what to do.
        why: String,
    },
    /// Somebody changed the file since.
    #[error(
        "{} was changed since the installation; undo that change, or lose it with --force",
        .path.display()
    )]
    Changed {
        /// Which one.
        path: PathBuf,
    },
    /// The list of what was installed is damaged.
    #[error("{} is damaged: {why}", .path.display())]
    Journal {
        /// Where it is.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

/// The file system that is changed: `/`, or a folder that stands for it.
#[derive(Clone, Debug)]
pub struct Root {
    root: PathBuf,
}

impl Root {
    /// Everything lies below `root`.
    pub fn new(root: impl Into<PathBuf>) -> Root {
        Root { root: root.into() }
    }

    /// Where the file with this absolute path is.
    pub fn at(&self, path: &Path) -> PathBuf {
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// What to write for these programs.
    ///
    /// # Errors
    /// A file that is there cannot be read or edited safely.
    pub fn plan(&self, programs: &[Program], wish: &Wish) -> Result<Plan, InstallError> {
        let mut plan = Plan::default();
        for program in programs {
            match program {
                Program::Docker => plan.notes.extend(docker::advice(wish)),
                Program::Containerd => containerd::plan(self, wish, &mut plan)?,
                Program::Podman => podman::plan(self, wish, &mut plan),
            }
        }
        Ok(plan)
    }

    /// Shows what a plan changes.
    ///
    /// # Errors
    /// A file that is there cannot be read.
    pub fn show(&self, plan: &Plan) -> Result<String, InstallError> {
        let mut text = String::new();
        for edit in &plan.edits {
            let before = files::read(&self.at(&edit.path))?.map(|file| file.bytes);
            text.push_str(&diff::of(&edit.path, before.as_deref(), &edit.after));
        }
        Ok(text)
    }

    /// Carries a plan out; answers the files it wrote.
    ///
    /// # Errors
    /// See [`InstallError`]. What was written until then can be taken back.
    pub fn install(&self, plan: &Plan) -> Result<Vec<PathBuf>, InstallError> {
        journal::apply(self, &plan.edits)
    }

    /// Takes back what was installed for these programs; answers the files it put back.
    ///
    /// # Errors
    /// A file was changed since (not with `force`), or cannot be written. What could be put back has
    /// been; the rest can be tried again.
    pub fn uninstall(
        &self,
        programs: &[Program],
        force: bool,
    ) -> Result<Vec<PathBuf>, InstallError> {
        journal::take_back(self, programs, force)
    }

    /// The files that were installed and are not any more what was written.
    ///
    /// # Errors
    /// The list cannot be read.
    pub fn changed(&self) -> Result<Vec<PathBuf>, InstallError> {
        journal::changed(self)
    }

    /// What a file held before the agent came; what it holds, if the agent did not write it.
    fn original(&self, path: &Path) -> Result<Option<Vec<u8>>, InstallError> {
        journal::original(self, path)
    }
}

#[cfg(test)]
mod tests;
