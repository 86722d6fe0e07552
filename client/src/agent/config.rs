//! What an agent is told: a file, over it the environment, over it the command line.

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use super::host;
use crate::{TlsSettings, endpoint};

/// The file that is read when none is named and this one is there.
pub const DEFAULT_FILE: &str = "/etc/atoll/agent.toml";
/// Where an agent listens unless told otherwise: beside the nodes' own ports, which begin at 5000.
pub const DEFAULT_LISTEN: &str = "127.0.0.1:5080";
/// The bound of the cache unless told otherwise: some dozens of images.
pub const DEFAULT_CACHE_BYTES: u64 = 10 << 30;
/// Below this a cache holds no layer worth the name.
const CACHE_BYTES_MIN: u64 = 1 << 20;

/// Settings from one source; `None` where it says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Nodes to start from, `HOST:PORT` each.
    pub registry: Option<Vec<String>>,
    /// Further names by which images name the registry, port included.
    pub names: Option<Vec<String>>,
    /// Do the nodes speak plain HTTP? On loopback they always do.
    pub plain_http: Option<bool>,
    /// PEM files with certificates to trust beside those of the system.
    pub ca_files: Option<Vec<PathBuf>>,
    /// Where to listen: on loopback.
    pub listen: Option<String>,
    /// The folder of the cache.
    pub cache_dir: Option<PathBuf>,
    /// Its bound, such as `10GiB`.
    pub cache_bytes: Option<String>,
}

/// A whole configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// Nodes to start from.
    pub registry: Vec<String>,
    /// All names of the registry, those nodes included.
    pub names: Vec<String>,
    /// How nodes are spoken to.
    pub tls: TlsSettings,
    /// Where to listen.
    pub listen: SocketAddr,
    /// The folder of the cache.
    pub cache_dir: PathBuf,
    /// Its bound in bytes.
    pub cache_bytes: u64,
}

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {}: {cause}", .path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// Why not.
        #[source]
        cause: io::Error,
    },
    /// The file is not what it should be.
    #[error("{}: {cause}", .path.display())]
    Syntax {
        /// Which one.
        path: PathBuf,
        /// What is wrong where.
        #[source]
        cause: Box<toml::de::Error>,
    },
    /// A value is not allowed.
    #[error("`{key}` is `{received}`; {allowed}")]
    Value {
        /// Which setting.
        key: &'static str,
        /// What it is.
        received: String,
        /// What it may be.
        allowed: String,
    },
}

impl Config {
    /// Does this registry itself speak plain HTTP?
    pub fn is_plain(&self, registry: &str) -> bool {
        let endpoint = endpoint::Endpoint::parse(registry, self.tls.insecure_http);
        endpoint.is_ok_and(|endpoint| !endpoint.tls)
    }
}

impl Settings {
    /// Reads a file. Without `path` the usual one, which need not be there.
    ///
    /// # Errors
    /// It cannot be read, or says something unknown.
    pub fn load(path: Option<&Path>) -> Result<Settings, ConfigError> {
        let (file, is_named) = (path.unwrap_or(Path::new(DEFAULT_FILE)), path.is_some());
        let failed = |cause| ConfigError::File { path: file.to_owned(), cause };
        match host::read_file(file).map_err(failed)? {
            Some(bytes) => Settings::parse(&String::from_utf8_lossy(&bytes)).map_err(|cause| {
                ConfigError::Syntax { path: file.to_owned(), cause: Box::new(cause) }
            }),
            None if is_named => Err(failed(io::ErrorKind::NotFound.into())),
            None => Ok(Settings::default()),
        }
    }

    /// Reads the text of a file.
    ///
    /// # Errors
    /// It is no TOML, or says something unknown.
    pub fn parse(text: &str) -> Result<Settings, toml::de::Error> {
        toml::from_str(text)
    }

    /// These settings, and where they say nothing those of `below`.
    #[must_use]
    pub fn over(self, below: Settings) -> Settings {
        Settings {
            registry: self.registry.or(below.registry),
            names: self.names.or(below.names),
            plain_http: self.plain_http.or(below.plain_http),
            ca_files: self.ca_files.or(below.ca_files),
            listen: self.listen.or(below.listen),
            cache_dir: self.cache_dir.or(below.cache_dir),
            cache_bytes: self.cache_bytes.or(below.cache_bytes),
        }
    }

    /// Checks everything. `cache_dir` is the folder where none is set.
    ///
    /// # Errors
    /// A value is missing or not allowed.
    pub fn check(self, cache_dir: impl FnOnce() -> PathBuf) -> Result<Config, ConfigError> {
        let wrong = |key, received: &str, allowed: &str| ConfigError::Value {
            key,
            received: received.to_owned(),
            allowed: allowed.to_owned(),
        };
        let registry = self.registry.unwrap_or_default();
        if registry.is_empty() {
            let allowed = "name at least one node of the registry, HOST:PORT (--registry)";
            return Err(wrong("registry", "", allowed));
        }
        for name in registry.iter().chain(self.names.iter().flatten()) {
            if !is_host_and_port(name) {
                let allowed = "it must be HOST:PORT as in an image reference, without a scheme";
                return Err(wrong("registry", name, allowed));
            }
        }
        let listen = self.listen.as_deref().unwrap_or(DEFAULT_LISTEN);
        let allowed = "it must be an address on loopback, such as 127.0.0.1:5080";
        let listen = listen
            .parse()
            .ok()
            .and_then(|listen| super::guard::loopback(listen).ok())
            .ok_or_else(|| wrong("listen", listen, allowed))?;
        let cache_bytes = match &self.cache_bytes {
            None => DEFAULT_CACHE_BYTES,
            Some(text) => {
                parse_bytes(text).filter(|bytes| *bytes >= CACHE_BYTES_MIN).ok_or_else(|| {
                    wrong("cache_bytes", text, "it must be at least 1MiB, such as 10GiB")
                })?
            }
        };
        let mut names = self.names.unwrap_or_default();
        names.extend(registry.iter().cloned());
        let cache_dir = self.cache_dir.unwrap_or_else(cache_dir);
        let insecure_http = self.plain_http.unwrap_or(false);
        let tls = TlsSettings { ca_files: self.ca_files.unwrap_or_default(), insecure_http };
        Ok(Config { registry, names, tls, listen, cache_dir, cache_bytes })
    }
}

fn is_host_and_port(name: &str) -> bool {
    let parsed: Result<http::uri::Authority, _> = name.parse();
    parsed.is_ok_and(|name| {
        name.port_u16().is_some_and(|port| port > 0) && !name.as_str().contains('@')
    })
}

/// `10GiB`, `512MiB`, `1000000`.
fn parse_bytes(text: &str) -> Option<u64> {
    const UNITS: [(&str, u32); 5] = [("", 0), ("KiB", 10), ("MiB", 20), ("GiB", 30), ("TiB", 40)];
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let (_, shift) = UNITS.iter().find(|(name, _)| *name == unit.trim())?;
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<Config, String> {
        let settings = Settings::parse(text).map_err(|error| error.to_string())?;
        settings.check(|| "/cache".into()).map_err(|error| error.to_string())
    }

    #[test]
    fn little_has_to_be_said() {
        let config = check("registry = [\"reef-1:5000\"]\nnames = [\"registry.example:443\"]");
        let config = config.expect("a configuration");
        assert_eq!(config.listen.to_string(), DEFAULT_LISTEN);
        assert_eq!(config.names, ["registry.example:443", "reef-1:5000"]);
        assert_eq!((config.cache_dir, config.cache_bytes), ("/cache".into(), 10 << 30));
    }

    #[test]
    fn what_is_wrong_is_named_with_what_is_allowed() {
        for (text, part) in [
            ("", "at least one node"),
            ("registry = []", "at least one node"),
            ("registry = [\"http://a:1\"]", "HOST:PORT"),
            ("registry = [\"a\"]", "HOST:PORT"),
            ("registry = [\"u@a:1\"]", "HOST:PORT"),
            ("registry = [\"a:1\"]\nlisten = \"0.0.0.0:5080\"", "loopback"),
            ("registry = [\"a:1\"]\ncache_bytes = \"5\"", "1MiB"),
            ("registry = [\"a:1\"]\ncache_bytes = \"10GB\"", "10GiB"),
            ("registri = [\"a:1\"]", "unknown field"),
        ] {
            let error = check(text).expect_err(text);
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn the_command_line_is_above_the_file() {
        let file = Settings::parse("registry = [\"a:1\"]\ncache_bytes = \"2MiB\"").expect("TOML");
        let line = Settings { registry: Some(vec!["b:2".to_owned()]), ..Settings::default() };
        let both = line.over(file);
        assert_eq!(both.registry, Some(vec!["b:2".to_owned()]));
        assert_eq!(both.cache_bytes.as_deref(), Some("2MiB"));
        assert_eq!(parse_bytes("3 GiB"), Some(3 << 30));
        assert_eq!(parse_bytes("99999999999TiB"), None);
    }
}
