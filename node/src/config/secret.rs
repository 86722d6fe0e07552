//! A setting that must not show: in a log, in `config show`, in an error.

use std::{fmt, io, path::Path};

use serde_json::json;

use super::value::{Raw, Value, quoted};

/// The longest secret, in bytes.
const SECRET_BYTES_MAX: usize = 4096;

/// A text that is never printed.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Secret(String);

impl Secret {
    /// A secret of this text, without white space around it; `None` when nothing is left.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        (!text.is_empty() && text.len() <= SECRET_BYTES_MAX).then(|| Self(text.to_owned()))
    }

    /// The secret in a file.
    ///
    /// # Errors
    /// The file cannot be read, or holds no secret.
    #[allow(clippy::disallowed_methods, reason = "a file of the operator, outside the data folder")]
    pub fn read(path: &Path) -> io::Result<Self> {
        let text = std::fs::read_to_string(path)?;
        let none = || io::Error::new(io::ErrorKind::InvalidData, "it holds no secret");
        Self::parse(&text).ok_or_else(none)
    }

    /// The text, for whoever uses it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Value for Secret {
    const EXPECTED: &'static str = "a secret text";

    fn from_raw(raw: &Raw) -> Option<Self> {
        Self::parse(raw.text()?)
    }

    /// What `config show` prints: that there is one.
    fn to_toml(&self) -> Option<String> {
        Some(quoted("…"))
    }

    fn schema() -> serde_json::Value {
        json!({ "type": "string", "minLength": 1 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_shown_nowhere() {
        let secret = Secret::parse(" hush\n").expect("a secret");
        assert_eq!(secret.reveal(), "hush");
        let shown = format!("{secret:?}{}", secret.to_toml().expect("something"));
        assert!(!shown.contains("hush"));
    }
}
