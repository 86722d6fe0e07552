//! The failure domain of a node.

use serde_json::json;

use super::value::{Raw, Value, quoted};

/// The longest name of a zone, in bytes: a label of Kubernetes, so that a topology label fits.
const ZONE_BYTES_MAX: usize = 63;

/// A zone: letters, digits, dots, hyphens and underscores.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Zone(String);

impl Zone {
    /// Reads a name; `None` when it is not in the grammar.
    pub fn parse(text: &str) -> Option<Self> {
        let sign = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        let good = (1..=ZONE_BYTES_MAX).contains(&text.len()) && text.bytes().all(sign);
        good.then(|| Self(text.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Value for Zone {
    const EXPECTED: &'static str = "1 to 63 letters, digits, dots, hyphens and underscores";

    fn from_raw(raw: &Raw) -> Option<Self> {
        Self::parse(raw.text()?)
    }

    fn to_toml(&self) -> Option<String> {
        Some(quoted(&self.0))
    }

    fn schema() -> serde_json::Value {
        json!({ "type": "string", "pattern": "^[A-Za-z0-9._-]{1,63}$" })
    }
}
