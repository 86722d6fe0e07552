//! The types a setting can have: how each is read, written and described.
//!
//! A value reaches us as TOML (typed) or as a variable (text only). [`Raw`] holds either, so that a
//! type says once what it accepts. Strict on purpose: a size or a duration without its unit is
//! refused, because nobody can see in a bare number what it counts.

use std::{fmt::Debug, net::SocketAddr, path::PathBuf};

use serde_json::json;

/// A value before it has a type.
#[derive(Clone, Debug, PartialEq)]
pub enum Raw {
    /// A TOML string.
    Text(String),
    /// A TOML integer.
    Integer(i128),
    /// A TOML boolean.
    Boolean(bool),
    /// A TOML array.
    List(Vec<Raw>),
    /// Any other TOML value: no setting takes one.
    Other,
    /// The text of a variable, or of a declaration.
    Untyped(String),
}

impl Raw {
    /// As text.
    pub fn text(&self) -> Option<&str> {
        match self {
            Raw::Text(text) | Raw::Untyped(text) => Some(text),
            _ => None,
        }
    }

    /// As an integer.
    pub fn integer(&self) -> Option<i128> {
        match self {
            Raw::Integer(integer) => Some(*integer),
            Raw::Untyped(text) => text.parse().ok(),
            _ => None,
        }
    }

    /// As a boolean.
    pub fn boolean(&self) -> Option<bool> {
        match self {
            Raw::Boolean(boolean) => Some(*boolean),
            Raw::Untyped(text) => text.parse().ok(),
            _ => None,
        }
    }

    /// As a list; in a variable its members stand between commas.
    pub fn list(&self) -> Option<Vec<Raw>> {
        match self {
            Raw::List(list) => Some(list.clone()),
            Raw::Untyped(text) if text.trim().is_empty() => Some(Vec::new()),
            Raw::Untyped(text) => {
                Some(text.split(',').map(|member| Raw::Untyped(member.trim().into())).collect())
            }
            _ => None,
        }
    }
}

/// A type of setting.
pub trait Value: Clone + Debug + PartialOrd {
    /// What may be written, as the end of the sentence "expected …".
    const EXPECTED: &'static str;

    /// Reads a value; `None` when it is not of this type.
    fn from_raw(raw: &Raw) -> Option<Self>;

    /// The value as TOML, `None` when it is absent. Reading it back gives the same value.
    fn to_toml(&self) -> Option<String>;

    /// Its JSON Schema, without description, default and range.
    fn schema() -> serde_json::Value;
}

impl Value for bool {
    const EXPECTED: &'static str = "true or false";

    fn from_raw(raw: &Raw) -> Option<Self> {
        raw.boolean()
    }

    fn to_toml(&self) -> Option<String> {
        Some(self.to_string())
    }

    fn schema() -> serde_json::Value {
        json!({ "type": "boolean" })
    }
}

macro_rules! whole_number {
    ($($type:ty),+) => {$(
        impl Value for $type {
            const EXPECTED: &'static str = "a whole number";

            fn from_raw(raw: &Raw) -> Option<Self> {
                // Beyond the type is beyond the range as well (every number declares one, inside its
                // type), and that error tells the bounds.
                let (min, max) = (Self::MIN as i128, Self::MAX as i128);
                Self::try_from(raw.integer()?.clamp(min, max)).ok()
            }

            fn to_toml(&self) -> Option<String> {
                Some(self.to_string())
            }

            fn schema() -> serde_json::Value {
                json!({ "type": "integer" })
            }
        }
    )+};
}
whole_number!(u8, u16, u32, u64, usize);

impl Value for PathBuf {
    const EXPECTED: &'static str = "a path that is not empty";

    fn from_raw(raw: &Raw) -> Option<Self> {
        raw.text().filter(|text| !text.is_empty() && !text.contains('\0')).map(Into::into)
    }

    fn to_toml(&self) -> Option<String> {
        Some(quoted(&self.to_string_lossy()))
    }

    fn schema() -> serde_json::Value {
        json!({ "type": "string", "minLength": 1 })
    }
}

impl Value for SocketAddr {
    const EXPECTED: &'static str =
        "an IP address and a port, such as \"127.0.0.1:5000\" or \"[::]:5000\"";

    fn from_raw(raw: &Raw) -> Option<Self> {
        raw.text()?.parse().ok()
    }

    fn to_toml(&self) -> Option<String> {
        Some(quoted(&self.to_string()))
    }

    fn schema() -> serde_json::Value {
        json!({ "type": "string", "pattern": r"^.+:[0-9]{1,5}$" })
    }
}

/// May be absent; an empty variable means absent.
impl<T: Value> Value for Option<T> {
    const EXPECTED: &'static str = T::EXPECTED;

    fn from_raw(raw: &Raw) -> Option<Self> {
        match raw {
            Raw::Untyped(text) if text.is_empty() => Some(None),
            raw => T::from_raw(raw).map(Some),
        }
    }

    fn to_toml(&self) -> Option<String> {
        self.as_ref().and_then(T::to_toml)
    }

    fn schema() -> serde_json::Value {
        T::schema()
    }
}

/// `text` as a TOML basic string.
pub fn quoted(text: &str) -> String {
    toml::Value::String(text.into()).to_string()
}
