//! When a pushed blob is acknowledged.

use serde_json::json;

use super::value::{Raw, Value, quoted};

/// When a push is acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Consistency {
    /// When W owners and R nodes in all hold the blob durably.
    #[default]
    Strong,
    /// When one owner holds it durably, and a durable record says who is to get it. The loss of that
    /// one disk within the lag loses the blob.
    Eventual,
}

const NAMES: [(&str, Consistency); 2] =
    [("strong", Consistency::Strong), ("eventual", Consistency::Eventual)];

impl Value for Consistency {
    const EXPECTED: &'static str = "\"strong\" or \"eventual\"";

    fn from_raw(raw: &Raw) -> Option<Self> {
        let text = raw.text()?;
        NAMES.iter().find(|(name, _)| *name == text).map(|(_, consistency)| *consistency)
    }

    fn to_toml(&self) -> Option<String> {
        NAMES.iter().find(|(_, consistency)| consistency == self).map(|(name, _)| quoted(name))
    }

    fn schema() -> serde_json::Value {
        json!({ "type": "string", "enum": NAMES.map(|(name, _)| name) })
    }
}
