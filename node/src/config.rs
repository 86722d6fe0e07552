//! Configuration: one TOML file, overridden by the environment, checked whole before anything starts.
//!
//! Raw text becomes typed and validated values in one pass ([`reader`]); what comes out is a tree of
//! plain structs, one per section of the file, which the rest of the node takes apart. A wrong value
//! stops the start with its name, its place, what was received and what is allowed; an unknown key
//! is an error with the key that was probably meant; all errors are told at once.
//!
//! Each key is declared once, in the file of its section: type, default, range and the sentence
//! that explains it. The reader, `config show`, the JSON Schema, the example file and the page for
//! operators all come from that declaration. (Deriving the reader with serde instead would stop at
//! the first error, forget where a value came from, and keep ranges and texts in second places.)
//!
//! Precedence: environment (`ATOLL__SECTION__KEY`), file, default.

pub mod address;
pub mod duration;
pub mod error;
pub mod host_port;
pub mod log_filter;
pub mod node_name;
pub mod place;
pub mod reader;
pub mod render;
pub mod schema;
pub mod secret;
pub mod section;
pub mod size;
pub mod source;
pub mod tag_pattern;
pub mod value;
pub mod zone;

mod conflicts;
mod consistency;

use std::{ffi::OsString, path::Path};

pub use consistency::Consistency;
pub use error::{ConfigError, ConfigErrors};
pub use host_port::HostPort;
pub use log_filter::LogFilter;
pub use node_name::NodeName;
pub use place::Place;
pub use reader::Entry;
pub use secret::Secret;
pub use section::{
    admin::Admin,
    cache::Cache,
    cluster::{Cluster, RingLayout, TlsPolicy},
    gc::Gc,
    http::Http,
    log::{Log, LogFormat},
    metadata::Metadata,
    node::Node,
    registry::Registry,
    repair::Repair,
    storage::Storage,
};
pub use size::ByteSize;
pub use tag_pattern::TagPattern;
pub use zone::Zone;

use reader::Reader;
use section::Section;
use source::{Document, Environment};

/// All settings of a node.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// `[node]`
    pub node: Node,
    /// `[http]`
    pub http: Http,
    /// `[cluster]`
    pub cluster: Cluster,
    /// `[admin]`
    pub admin: Admin,
    /// `[registry]`
    pub registry: Registry,
    /// `[storage]`
    pub storage: Storage,
    /// `[gc]`
    pub gc: Gc,
    /// `[cache]`
    pub cache: Cache,
    /// `[metadata]`
    pub metadata: Metadata,
    /// `[repair]`
    pub repair: Repair,
    /// `[log]`
    pub log: Log,
}

/// A valid configuration, and every key of it with its value and where that value came from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The settings.
    pub config: Config,
    /// Every key, in the order of the declarations.
    pub entries: Vec<Entry>,
}

impl Config {
    /// Reads the file, if one is named, and the variables that start with `ATOLL__`.
    ///
    /// # Errors
    /// Everything that is wrong, in the order of the file, then of the environment.
    pub fn load(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Loaded, ConfigErrors> {
        let document = match file {
            Some(path) => Document::read(path)?,
            None => Document::default(),
        };
        Self::from_sources(&document, Environment::select(environment))
    }

    /// Reads a configuration from text; `name` stands for the file in messages.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn parse(
        name: &str,
        text: &str,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Loaded, ConfigErrors> {
        Self::from_sources(&Document::parse(name, text)?, Environment::select(environment))
    }

    /// The defaults, with their declarations.
    pub fn defaults() -> Loaded {
        let (document, environment) = (Document::default(), Environment::default());
        let mut reader = Reader::new(&document, &environment);
        Loaded { config: Self::declare(&mut reader), entries: reader.finish().0 }
    }

    fn from_sources(document: &Document, environment: Environment) -> Result<Loaded, ConfigErrors> {
        let mut reader = Reader::new(document, &environment);
        let config = Self::declare(&mut reader);
        let (entries, mut errors) = reader.finish();
        // Rules between keys are asked of values that are right by themselves only: a default that
        // stands in for a wrong value would be blamed for what its reader never wrote.
        if errors.is_empty() {
            conflicts::check(&config, &entries, &mut errors);
        }
        if errors.is_empty() {
            Ok(Loaded { config, entries })
        } else {
            Err(ConfigErrors::in_order(errors))
        }
    }

    fn declare(reader: &mut Reader<'_>) -> Self {
        Self {
            node: Node::declare(reader),
            http: Http::declare(reader),
            cluster: Cluster::declare(reader),
            admin: Admin::declare(reader),
            registry: Registry::declare(reader),
            storage: Storage::declare(reader),
            gc: Gc::declare(reader),
            cache: Cache::declare(reader),
            metadata: Metadata::declare(reader),
            repair: Repair::declare(reader),
            log: Log::declare(reader),
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self::defaults().config
    }
}
