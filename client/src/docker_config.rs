//! Logins, where docker and podman keep them.
//!
//! Who has logged in with docker is logged in here, and the other way round: the same files, the same
//! credential helpers. For a registry the helper that `credHelpers` names is asked, else the one of
//! `credsStore`, else what stands in `auths`; the first file that knows the registry wins. A change is
//! made to docker's file only, leaves all other fields as they are, and appears whole or not at all.
//!
//! There is no store of our own: one more place with passwords in it is one more place to lose them.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use crate::local_files;

mod document;
mod entry;
mod helper;
mod places;

use document::Document;
use entry::Entry;
pub use entry::Login;
use helper::Helper;
pub use helper::HelperError;
pub use places::places;

/// The longest configuration in bytes; a long one has a hundred kilobytes.
const CONFIG_BYTES_MAX: u64 = 4 << 20;
/// Secrets are for their owner.
const CONFIG_MODE: u32 = 0o600;

/// The logins of whoever calls.
#[derive(Clone, Debug)]
pub struct DockerConfig {
    places: Vec<PathBuf>,
}

/// Where a login went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// A credential helper has it: the program's name.
    Helper(String),
    /// It stands in this file, not encrypted.
    Plain(PathBuf),
}

/// One file, as it is now.
struct Config {
    path: PathBuf,
    document: Document,
}

impl DockerConfig {
    /// The files at `places`; the first is the one to write to. See [`places()`].
    pub fn new(places: Vec<PathBuf>) -> DockerConfig {
        DockerConfig { places }
    }

    /// The login for the registry `host[:port]`; `None` when nobody has logged in there.
    ///
    /// # Errors
    /// A file cannot be read or understood, or a helper failed.
    pub async fn login(&self, registry: &str) -> Result<Option<Login>, DockerConfigError> {
        for path in &self.places {
            let Some(config) = Config::read(path)? else { continue };
            if let Some(helper) = config.helper(registry)?
                && let Some(login) = helper.get(registry).await?
            {
                return Ok(Some(login));
            }
            if let Some(login) = config.entry(registry)? {
                return Ok(Some(login));
            }
        }
        Ok(None)
    }

    /// Keeps a login for the registry `host[:port]`, and says where.
    ///
    /// # Errors
    /// As for reading, or the file cannot be written.
    pub async fn store(&self, registry: &str, login: &Login) -> Result<Kept, DockerConfigError> {
        let path = self.places.first().ok_or(DockerConfigError::NoPlace)?;
        let empty = || Config { path: path.clone(), document: Document::default() };
        let mut config = Config::read(path)?.unwrap_or_else(empty);
        // With a helper an empty entry stands there, as docker has it: `auths` says where one is
        // logged in, the helper how.
        let (kept, entry) = match config.helper(registry)? {
            Some(helper) => {
                helper.store(registry, login).await?;
                (Kept::Helper(helper.program().to_owned()), Entry::default())
            }
            None => (Kept::Plain(path.clone()), Entry::of(login)),
        };
        config.set_entry(registry, &entry)?;
        config.write()?;
        Ok(kept)
    }

    /// Forgets the login for the registry `host[:port]`, in every place; answers whether there was one.
    ///
    /// # Errors
    /// As for [`DockerConfig::store`].
    pub async fn erase(&self, registry: &str) -> Result<bool, DockerConfigError> {
        let mut found = false;
        for path in &self.places {
            let Some(mut config) = Config::read(path)? else { continue };
            if let Some(helper) = config.helper(registry)? {
                found |= helper.get(registry).await?.is_some();
                helper.erase(registry).await?;
            }
            if config.remove_entries(registry)? {
                found = true;
                config.write()?;
            }
        }
        Ok(found)
    }
}

impl Config {
    fn read(path: &Path) -> Result<Option<Config>, DockerConfigError> {
        let at = |error| DockerConfigError::Read { path: path.to_path_buf(), error };
        let Some(text) = local_files::read(path, CONFIG_BYTES_MAX).map_err(at)? else {
            return Ok(None);
        };
        let document = Document::parse(&text).map_err(|error| strange(path, &error))?;
        Ok(Some(Config { path: path.to_path_buf(), document }))
    }

    fn write(&self) -> Result<(), DockerConfigError> {
        let at = |error| DockerConfigError::Write { path: self.path.clone(), error };
        if let Some(folder) = self.path.parent() {
            local_files::make_folder(folder).map_err(at)?;
        }
        let text = self.document.text(0) + "\n";
        local_files::write(&self.path, text.as_bytes(), CONFIG_MODE).map_err(at)
    }

    fn field<T: serde::de::DeserializeOwned + Default>(
        &self,
        name: &str,
    ) -> Result<T, DockerConfigError> {
        let value = self.document.get(name).map_err(|error| strange(&self.path, &error))?;
        Ok(value.unwrap_or_default())
    }

    /// The helper that keeps the login for a registry.
    fn helper(&self, registry: &str) -> Result<Option<Helper>, DockerConfigError> {
        let helpers: BTreeMap<String, String> = self.field("credHelpers")?;
        let store: String = self.field("credsStore")?;
        let name = helpers.get(registry).unwrap_or(&store);
        if name.is_empty() { Ok(None) } else { Ok(Some(Helper::named(name)?)) }
    }

    fn entry(&self, registry: &str) -> Result<Option<Login>, DockerConfigError> {
        let auths: Document = self.field("auths")?;
        // The plain name first: it is how entries are written today.
        let others = auths.names().filter(|name| host_of(name) == registry);
        let names: Vec<&str> =
            auths.names().filter(|name| *name == registry).chain(others).collect();
        for name in names {
            let entry: Entry =
                auths.get(name).map_err(|error| strange(&self.path, &error))?.unwrap_or_default();
            let login = entry.login().map_err(|reason| DockerConfigError::Entry {
                path: self.path.clone(),
                registry: name.to_owned(),
                reason,
            })?;
            if login.is_some() {
                return Ok(login);
            }
        }
        Ok(None)
    }

    fn set_entry(&mut self, registry: &str, entry: &Entry) -> Result<(), DockerConfigError> {
        let mut auths: Document = self.field("auths")?;
        let entry = serde_json::to_vec(entry).and_then(|text| Document::parse(&text));
        let value = entry.and_then(|entry| entry.raw(2));
        auths.set(registry, value.map_err(|error| strange(&self.path, &error))?);
        self.set_auths(&auths)
    }

    fn remove_entries(&mut self, registry: &str) -> Result<bool, DockerConfigError> {
        let mut auths: Document = self.field("auths")?;
        let is_meant = |name: &&str| *name == registry || host_of(name) == registry;
        let names: Vec<String> = auths.names().filter(is_meant).map(str::to_owned).collect();
        for name in &names {
            auths.remove(name);
        }
        if !names.is_empty() {
            self.set_auths(&auths)?;
        }
        Ok(!names.is_empty())
    }

    fn set_auths(&mut self, auths: &Document) -> Result<(), DockerConfigError> {
        let value = auths.raw(1).map_err(|error| strange(&self.path, &error))?;
        self.document.set("auths", value);
        Ok(())
    }
}

/// The host of a key of `auths` that was written as an address, such as `https://host:5000/v2/`.
fn host_of(key: &str) -> &str {
    match key.split_once("://") {
        Some((_, rest)) => rest.split('/').next().unwrap_or(rest),
        // A path without a scheme is podman's: the login holds below it only, which is not asked here.
        None => key,
    }
}

fn strange(path: &Path, error: &serde_json::Error) -> DockerConfigError {
    // The message of the parser can repeat what stands there, and secrets stand there.
    let (line, column) = (error.line(), error.column());
    DockerConfigError::Content { path: path.to_path_buf(), line, column }
}

/// The logins cannot be read or kept.
#[derive(Debug, thiserror::Error)]
pub enum DockerConfigError {
    /// There is nowhere to write to.
    #[error("no place for logins is known: set HOME or DOCKER_CONFIG")]
    NoPlace,
    /// A file cannot be read.
    #[error("cannot read `{}`: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// A file cannot be written.
    #[error("cannot write `{}`: {error}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// A file is not what docker writes.
    #[error("`{}` is not a configuration of docker: look at line {line}, column {column}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// Where it stops making sense, inside the field that is read.
        line: usize,
        /// As `line`.
        column: usize,
    },
    /// A login is not what docker writes.
    #[error("the login for `{registry}` in `{}` cannot be used: {reason}; log in again", path.display())]
    Entry {
        /// The file.
        path: PathBuf,
        /// The registry, as it stands there.
        registry: String,
        /// Why.
        reason: String,
    },
    /// A helper failed.
    #[error(transparent)]
    Helper(#[from] HelperError),
}

#[cfg(test)]
mod tests;
