//! What is logged: a level, and exceptions by module.
//!
//! The text is checked here, against the few forms we support, before it reaches the filter: the
//! filter itself takes a misspelt level for the name of a module and then logs far too much.

use std::fmt;

use serde_json::json;

use super::value::{Raw, Value, quoted};

/// The levels, from the least talkative.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// The longest filter in bytes; nobody lists more modules by hand.
const LOG_FILTER_BYTES_MAX: usize = 1024;

/// A filter such as `info` or `info,openraft=warn,atoll_node::store=debug`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogFilter(String);

impl LogFilter {
    /// Reads a filter; `None` when it is not in the grammar.
    pub fn parse(text: &str) -> Option<Self> {
        let good = text.len() <= LOG_FILTER_BYTES_MAX && text.split(',').all(is_directive);
        good.then(|| Self(text.into()))
    }

    /// The text, as the filter of the subscriber reads it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// `level` or `module::path=level`.
fn is_directive(directive: &str) -> bool {
    let level = match directive.split_once('=') {
        None => directive,
        Some((module, level)) if is_module(module) => level,
        Some(_) => return false,
    };
    LEVELS.contains(&level)
}

fn is_module(path: &str) -> bool {
    path.split("::").all(|part| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    })
}

impl fmt::Display for LogFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Value for LogFilter {
    const EXPECTED: &'static str =
        "off, error, warn, info, debug or trace, with exceptions such as \"info,openraft=warn\"";

    fn from_raw(raw: &Raw) -> Option<Self> {
        Self::parse(raw.text()?)
    }

    fn to_toml(&self) -> Option<String> {
        Some(quoted(&self.0))
    }

    fn schema() -> serde_json::Value {
        json!({
            "type": "string",
            "pattern": "^(([A-Za-z0-9_:]+=)?(off|error|warn|info|debug|trace))\
                (,([A-Za-z0-9_:]+=)?(off|error|warn|info|debug|trace))*$"
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_level_is_no_module() {
        for text in ["info", "off", "info,openraft=warn", "warn,atoll_node::store=debug"] {
            assert!(LogFilter::parse(text).is_some(), "{text}");
        }
        for text in ["", "inof", "INFO", "info,", "info,openraft", "=info", "a::=info", "a=b=info"]
        {
            assert!(LogFilter::parse(text).is_none(), "{text}");
        }
    }
}
