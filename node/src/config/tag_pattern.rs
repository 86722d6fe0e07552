//! Patterns for tags, and optionally for the repositories they are in.
//!
//! `*` stands for any text, also none. A pattern without a colon is about tags in every repository
//! (`v*`); with one, the part before it is about the repository (`prod/*:v*`), where `*` crosses
//! slashes. No other sign is special, so every tag can be written as it is.

use atoll_core::{metadata::command::matches_pattern, name::RepoName};
use serde_json::json;

use super::value::{Raw, Value, quoted};

/// The longest pattern in bytes: the longest repository name, a colon, the longest tag.
const TAG_PATTERN_BYTES_MAX: usize = 255 + 1 + 128;

/// A pattern for tags.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TagPattern {
    repository: String,
    tag: String,
}

impl TagPattern {
    /// Reads a pattern; `None` when it has a sign that no name and no tag can have.
    pub fn parse(text: &str) -> Option<Self> {
        let (repository, tag) = text.split_once(':').unwrap_or(("*", text));
        let sign = |byte: u8| byte.is_ascii_alphanumeric() || b"._-*".contains(&byte);
        let good = text.len() <= TAG_PATTERN_BYTES_MAX
            && !repository.is_empty()
            && !tag.is_empty()
            && tag.bytes().all(sign)
            && repository.bytes().all(|byte| sign(byte) || byte == b'/');
        good.then(|| Self { repository: repository.into(), tag: tag.into() })
    }

    /// What it says about the tags of `repository`: a pattern for tags alone; `None` when the
    /// repository is not meant.
    pub fn tags_of(&self, repository: &RepoName) -> Option<String> {
        matches_pattern(&self.repository, repository.as_str()).then(|| self.tag.clone())
    }
}

impl Value for Vec<TagPattern> {
    const EXPECTED: &'static str =
        "a list of tag patterns, such as [\"v*\", \"prod/*:release-*\"] (a variable: v*,prod/*:r*)";

    fn from_raw(raw: &Raw) -> Option<Self> {
        raw.list()?.iter().map(|member| TagPattern::parse(member.text()?)).collect()
    }

    fn to_toml(&self) -> Option<String> {
        let members = self.iter().map(|pattern| match pattern.repository.as_str() {
            "*" => quoted(&pattern.tag),
            repository => quoted(&format!("{repository}:{}", pattern.tag)),
        });
        Some(format!("[{}]", members.collect::<Vec<_>>().join(", ")))
    }

    fn schema() -> serde_json::Value {
        json!({
            "type": "array",
            "items": { "type": "string", "pattern": "^([A-Za-z0-9._*/-]+:)?[A-Za-z0-9._*-]+$" }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, repository: &str, tag: &str) -> bool {
        let pattern = TagPattern::parse(pattern).expect("well formed");
        let tags = pattern.tags_of(&repository.parse().expect("well formed"));
        tags.is_some_and(|tags| matches_pattern(&tags, tag))
    }

    #[test]
    fn a_pattern_names_tags_and_may_name_repositories() {
        assert!(matches("latest", "a/b", "latest"));
        assert!(!matches("latest", "a/b", "latest2"));
        assert!(matches("v*", "a/b", "v1.0"));
        assert!(matches("*", "a/b", "anything"));
        assert!(matches("prod/*:v*", "prod/team/app", "v1"));
        assert!(!matches("prod/*:v*", "test/app", "v1"));
        assert!(!matches("prod/*:v*", "prod/app", "latest"));
    }

    #[test]
    fn what_no_tag_can_match_is_refused() {
        for text in ["", ":v1", "a:", "a b", "v[0-9]", "a:b:c", "tag/with/slash", "ü"] {
            assert_eq!(TagPattern::parse(text), None, "{text:?}");
        }
    }
}
