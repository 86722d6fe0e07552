//! `[log]`: what the node writes to standard error.

use serde_json::json;

use super::section;
use crate::config::{
    LogFilter,
    value::{Raw, Value, quoted},
};

section! {
    /// What the node writes to standard error.
    Log = "log";

    /// The least severe level that is written, with exceptions by module. The Raft library narrates
    /// each of its steps, and every message that fails while a node is away as an error; the node
    /// says by itself who leads and what has stopped.
    level: LogFilter = "info,openraft=off";

    /// Form of a line: `text` for people, `json` for machines, `auto` for text on a terminal and
    /// JSON elsewhere.
    format: LogFormat = "auto";
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

const FORMATS: [(&str, LogFormat); 3] =
    [("auto", LogFormat::Auto), ("json", LogFormat::Json), ("text", LogFormat::Text)];

impl Value for LogFormat {
    const EXPECTED: &'static str = "\"auto\", \"json\" or \"text\"";

    fn from_raw(raw: &Raw) -> Option<Self> {
        let text = raw.text()?;
        FORMATS.iter().find(|(name, _)| *name == text).map(|(_, format)| *format)
    }

    fn to_toml(&self) -> Option<String> {
        FORMATS.iter().find(|(_, format)| format == self).map(|(name, _)| quoted(name))
    }

    fn schema() -> serde_json::Value {
        json!({ "type": "string", "enum": FORMATS.map(|(name, _)| name) })
    }
}
