//! The name of a node: what it is called in logs, in the cluster's registry of nodes, on dashboards.

use std::fmt;

use serde_json::json;

use super::value::{Raw, Value, quoted};

/// The longest name, in bytes: a DNS label, so that a host name or pod name fits as it is.
const NODE_NAME_BYTES_MAX: usize = 63;

/// A node's name: lower-case letters, digits and hyphens, a hyphen at neither end.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeName(String);

impl NodeName {
    /// Reads a name; `None` when it is not in the grammar.
    pub fn parse(text: &str) -> Option<Self> {
        let word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let (first, last) = (text.bytes().next()?, text.bytes().last()?);
        let good = text.len() <= NODE_NAME_BYTES_MAX
            && word(first)
            && word(last)
            && text.bytes().all(|byte| word(byte) || byte == b'-');
        good.then(|| Self(text.into()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Value for NodeName {
    const EXPECTED: &'static str =
        "1 to 63 lower-case letters, digits and hyphens, with no hyphen at either end";

    fn from_raw(raw: &Raw) -> Option<Self> {
        Self::parse(raw.text()?)
    }

    fn to_toml(&self) -> Option<String> {
        Some(quoted(&self.0))
    }

    fn schema() -> serde_json::Value {
        json!({ "type": "string", "pattern": "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_dns_label() {
        let longest = "n".repeat(63);
        for text in ["n", "node1", "rack-2-node-17", "0", &longest] {
            assert_eq!(NodeName::parse(text).expect("a name").as_str(), text);
        }
        let longer = "n".repeat(64);
        for text in ["", "-n", "n-", "Node", "n_1", "n.1", "nöde", &longer] {
            assert_eq!(NodeName::parse(text), None, "{text:?}");
        }
    }
}
