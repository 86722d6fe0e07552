//! What `where` is asked for: `repo:tag`, `repo@digest`, or a digest alone.

use std::{fmt, str::FromStr};

use crate::{
    Digest, Reference, RepoName, Tag,
    digest::InvalidDigest,
    name::{InvalidRepoName, InvalidTag},
};

/// An image or a blob, named within one cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A tag or manifest of a repository.
    Image(RepoName, Reference),
    /// Content by its digest, in whatever repository.
    Content(Digest),
}

/// The text is no target.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTarget {
    /// Neither a tag nor a digest.
    #[error("`{received}` names neither a tag nor a digest")]
    NoReference {
        /// What was received, shortened.
        received: String,
    },
    /// The repository's name is not one.
    #[error(transparent)]
    Repo(#[from] InvalidRepoName),
    /// The tag is not one.
    #[error(transparent)]
    Tag(#[from] InvalidTag),
    /// The digest is not one.
    #[error(transparent)]
    Digest(#[from] InvalidDigest),
}

/// Characters of a refused text that an error repeats.
const ECHO_CHARS_MAX: usize = 160;

impl FromStr for Target {
    type Err = InvalidTarget;

    /// `host:port/` in front, as image references have it, is passed over: the cluster that is
    /// asked is the one that is meant.
    fn from_str(text: &str) -> Result<Target, InvalidTarget> {
        // `sha256` could be a repository, but who writes `sha256:…` means a digest: one that is cut
        // short is to be told so.
        if ["sha256:", "sha512:"].iter().any(|algorithm| text.starts_with(algorithm)) {
            return Ok(Target::Content(text.parse()?));
        }
        let text = match text.split_once('/') {
            Some((host, rest)) if host.contains(':') && !host.contains('@') => rest,
            _ => text,
        };
        if let Some((repo, digest)) = text.split_once('@') {
            // A tag beside a digest says nothing more.
            let repo = repo.split_once(':').map_or(repo, |(repo, _)| repo);
            return Ok(Target::Image(repo.parse()?, Reference::Digest(digest.parse()?)));
        }
        let Some((repo, tag)) = text.split_once(':') else {
            let received = text.chars().take(ECHO_CHARS_MAX).collect();
            return Err(InvalidTarget::NoReference { received });
        };
        Ok(Target::Image(repo.parse()?, Reference::Tag(tag.parse::<Tag>()?)))
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Image(repo, Reference::Tag(tag)) => write!(f, "{repo}:{tag}"),
            Target::Image(repo, Reference::Digest(digest)) => write!(f, "{repo}@{digest}"),
            Target::Content(digest) => write!(f, "{digest}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SHA256: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn images_and_digests_are_told_apart() {
        let parsed = |text: &str| text.parse::<Target>().expect(text);
        assert!(matches!(parsed(SHA256), Target::Content(_)));
        assert_eq!(parsed("team/app:1.0").to_string(), "team/app:1.0");
        assert_eq!(parsed(&format!("app@{SHA256}")).to_string(), format!("app@{SHA256}"));
        assert_eq!(parsed(&format!("app:v1@{SHA256}")).to_string(), format!("app@{SHA256}"));
        assert_eq!(parsed("127.0.0.1:5000/team/app:1.0"), parsed("team/app:1.0"));
        assert_eq!(parsed("[::1]:5000/app:1.0"), parsed("app:1.0"));
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        let error = |text: &str| text.parse::<Target>().expect_err(text);
        assert!(matches!(error("app"), InvalidTarget::NoReference { .. }));
        assert!(matches!(error(""), InvalidTarget::NoReference { .. }));
        assert!(matches!(error("App:1"), InvalidTarget::Repo(_)));
        assert!(matches!(error("app:"), InvalidTarget::Tag(_)));
        assert!(matches!(error("app@sha256:0"), InvalidTarget::Digest(_)));
        assert!(matches!(error("sha256:0"), InvalidTarget::Digest(_)));
    }

    proptest! {
        #[test]
        fn no_text_panics_and_what_is_accepted_is_stable(
            text in r"([a-z:.]{0,6}/)?[a-z/]{0,8}(:[a-z0-9]{0,4})?(@sha256:[0-9a-f]{0,64})?|.{0,60}"
        ) {
            if let Ok(target) = text.parse::<Target>() {
                prop_assert_eq!(target.to_string().parse::<Target>().unwrap(), target);
            }
        }
    }
}
