//! Repository names, tags and references, as the OCI distribution-spec writes them.
//!
//! A name is checked once, where it enters the node; from there on a value is right. Nothing is
//! normalised: what is not in the grammar is refused, so two texts never mean one repository.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::digest::{Digest, InvalidDigest, echo};

/// The longest repository name in bytes. Many clients limit host, `/` and name together to 255.
pub const REPO_NAME_BYTES_MAX: usize = 255;
/// The most path components of a repository name. 255 bytes allow 128 of them; the bound is its own
/// so that the length may grow without deep paths growing with it.
pub const REPO_NAME_COMPONENTS_MAX: usize = 128;
/// The longest tag in bytes (distribution-spec: `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`).
pub const TAG_BYTES_MAX: usize = 128;

const _: () = assert!(REPO_NAME_COMPONENTS_MAX <= REPO_NAME_BYTES_MAX.div_ceil(2));

/// The name of a repository: lower-case path components joined by `/`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepoName(Arc<str>);

/// A tag: a movable name for a manifest within a repository.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(Arc<str>);

/// What a manifest is asked for by. A text with a colon is a digest, any other a tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    /// By tag.
    Tag(Tag),
    /// By digest.
    Digest(Digest),
}

/// Is this one path component? `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_component(component: &str) -> bool {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = component.as_bytes();
    let (Some(&first), Some(&last)) = (bytes.first(), bytes.last()) else { return false };
    if !alphanumeric(first) || !alphanumeric(last) {
        return false;
    }
    bytes.split(|&byte| alphanumeric(byte)).all(|separator| match separator {
        b"" | b"." | b"_" | b"__" => true,
        dashes => dashes.iter().all(|&byte| byte == b'-'),
    })
}

impl FromStr for RepoName {
    type Err = InvalidRepoName;

    fn from_str(text: &str) -> Result<Self, InvalidRepoName> {
        let invalid = |reason| InvalidRepoName { received: echo(text), reason };
        if text.is_empty() {
            return Err(invalid(InvalidRepoNameReason::Empty));
        }
        if text.len() > REPO_NAME_BYTES_MAX {
            return Err(invalid(InvalidRepoNameReason::Long { found: text.len() }));
        }
        if text.split('/').count() > REPO_NAME_COMPONENTS_MAX {
            return Err(invalid(InvalidRepoNameReason::Deep));
        }
        match text.split('/').find(|component| !is_component(component)) {
            Some(component) => {
                Err(invalid(InvalidRepoNameReason::Component { component: echo(component) }))
            }
            None => Ok(RepoName(text.into())),
        }
    }
}

impl FromStr for Tag {
    type Err = InvalidTag;

    fn from_str(text: &str) -> Result<Self, InvalidTag> {
        let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let good = text.len() <= TAG_BYTES_MAX
            && text.bytes().next().is_some_and(word)
            && text.bytes().all(|byte| word(byte) || byte == b'.' || byte == b'-');
        if good { Ok(Tag(text.into())) } else { Err(InvalidTag { received: echo(text) }) }
    }
}

impl FromStr for Reference {
    type Err = InvalidReference;

    fn from_str(text: &str) -> Result<Self, InvalidReference> {
        if text.contains(':') {
            return Ok(Reference::Digest(text.parse()?));
        }
        Ok(Reference::Tag(text.parse()?))
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reference::Tag(tag) => tag.fmt(f),
            Reference::Digest(digest) => digest.fmt(f),
        }
    }
}

macro_rules! text_newtype {
    ($name:ident) => {
        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(de::Error::custom)
            }
        }
    };
}
text_newtype!(RepoName);
text_newtype!(Tag);

/// The text is not a repository name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{received}` is not a repository name: {reason}")]
pub struct InvalidRepoName {
    /// What was received, shortened.
    pub received: String,
    /// What is wrong with it.
    pub reason: InvalidRepoNameReason,
}

/// What is wrong with a repository name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRepoNameReason {
    /// There is no name.
    #[error("it is empty")]
    Empty,
    /// The name is too long.
    #[error("{found} bytes, at most {REPO_NAME_BYTES_MAX} are allowed")]
    Long {
        /// Length in bytes.
        found: usize,
    },
    /// The name has too many components.
    #[error("more than {REPO_NAME_COMPONENTS_MAX} path components")]
    Deep,
    /// A component breaks the grammar.
    #[error(
        "path component `{component}` must be lower-case letters and digits, joined by `.`, `_`, `__` or dashes"
    )]
    Component {
        /// The component.
        component: String,
    },
}

/// The text is not a tag.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{received}` is not a tag: 1 to {TAG_BYTES_MAX} letters, digits, `_`, `.` or `-`, the first a letter, a digit or `_`"
)]
pub struct InvalidTag {
    /// What was received, shortened.
    pub received: String,
}

/// The text is neither a tag nor a digest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidReference {
    /// It has a colon, so it was read as a digest.
    #[error(transparent)]
    Digest(#[from] InvalidDigest),
    /// It has no colon, so it was read as a tag.
    #[error(transparent)]
    Tag(#[from] InvalidTag),
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn accepts_the_names_the_grammar_allows() {
        for name in
            ["a", "0", "library/nginx", "a.b", "a_b", "a__b", "a-b", "a----b", "con", "nul/aux"]
        {
            assert!(name.parse::<RepoName>().is_ok(), "{name}");
        }
        let deep = vec!["a"; REPO_NAME_COMPONENTS_MAX].join("/");
        assert!(deep.parse::<RepoName>().is_ok());
    }

    #[test]
    fn refuses_the_names_the_grammar_does_not_allow() {
        let long = "a".repeat(REPO_NAME_BYTES_MAX + 1);
        for name in [
            "",
            "/",
            "/a",
            "a/",
            "a//b",
            "Foo/bar",
            "a___b",
            "a..b",
            "-a",
            "a-",
            "a/.b",
            "a._b",
            "a-_b",
            "..",
            "../etc",
            "a/../b",
            "%2e%2e",
            "a%2fb",
            "a\\b",
            "a b",
            "aux:",
            "é",
            "a\0",
            long.as_str(),
        ] {
            assert!(name.parse::<RepoName>().is_err(), "{name}");
        }
    }

    #[test]
    fn tags_follow_their_grammar() {
        for tag in ["latest", "1.0", "_x", "A-b.C_d", &"t".repeat(TAG_BYTES_MAX)] {
            assert!(tag.parse::<Tag>().is_ok(), "{tag}");
        }
        for tag in ["", ".a", "-a", "a/b", "a@b", "a:b", "a b", "é", &"t".repeat(TAG_BYTES_MAX + 1)]
        {
            assert!(tag.parse::<Tag>().is_err(), "{tag}");
        }
    }

    proptest! {
        #[test]
        fn every_name_of_the_grammar_is_accepted(
            name in "[a-z0-9]{1,5}((\\.|_|__|-{1,3})[a-z0-9]{1,5}){0,3}(/[a-z0-9]{1,5}((\\.|_|__|-{1,3})[a-z0-9]{1,5}){0,3}){0,4}"
        ) {
            prop_assume!(name.len() <= REPO_NAME_BYTES_MAX);
            let parsed = name.parse::<RepoName>().unwrap();
            prop_assert_eq!(parsed.as_str(), name);
        }

        #[test]
        fn no_text_panics(text: String) {
            let _ = text.parse::<RepoName>();
            let _ = text.parse::<Tag>();
            let _ = text.parse::<Reference>();
        }
    }
}
